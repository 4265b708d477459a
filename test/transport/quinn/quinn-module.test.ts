/** The committed module belongs to the committed sources. CI builds it anew as well (.ci/run). */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { expect, test } from 'vitest';
import { packageFile } from '../../../src/lib/package-root.ts';

interface Record {
  readonly sources: string;
  readonly wasm: string;
}

const WASM = packageFile('src/transport/quinn/quinn.wasm');

test('quinn.wasm was built from native/quinn as it stands', async () => {
  const record = JSON.parse(fs.readFileSync(`${WASM}.json`, 'utf8')) as Record;
  const build = packageFile('native/quinn/build.mjs');
  const { sourcesSha256 } = (await import(build)) as { sourcesSha256: () => string };
  const wasm = createHash('sha256').update(fs.readFileSync(WASM)).digest('hex');
  expect(record).toEqual({ sources: sourcesSha256(), wasm });
});

test('NOTICE names crates of the committed versions', () => {
  const lock = fs.readFileSync(packageFile('native/quinn/Cargo.lock'), 'utf8');
  const locked = [...lock.matchAll(/^name = "(.+)"\nversion = "(.+)"$/gm)].map(
    ([, name, version]) => `${name} ${version}`,
  );
  const notice = fs.readFileSync(packageFile('NOTICE'), 'utf8');
  const named = [...notice.matchAll(/^ {2}([\w-]+ \d[^:]*): \S/gm)].map(([, crate]) => crate);
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter((crate) => !locked.includes(crate ?? ''))).toEqual([]);
  const text = named.join('\n');
  for (const crate of ['quinn-proto', 'rustls', 'ring']) expect(text).toContain(`${crate} `);
});
