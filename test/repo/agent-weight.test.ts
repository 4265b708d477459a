import path from 'node:path';
import { expect, it } from 'vitest';
import { sourceFiles } from './rules/repo-files.ts';

const IMPORT = /^import (?!type )(?:[^;']*from )?'([^']+)';/gm;

/** Packages that are loaded when a file is, by way of what it imports itself. */
function packagesOf(start: string): Set<string> {
  const texts = new Map(sourceFiles('src').map((file) => [file.path, file.text]));
  const packages = new Set<string>();
  const pending = [start];
  const seen = new Set(pending);
  for (const file of pending) {
    // Types leave nothing behind, and `await import()` waits until it is asked.
    const imports = (texts.get(file) ?? '').matchAll(IMPORT);
    for (const [, target = ''] of imports) {
      if (target.startsWith('node:')) continue;
      if (!target.startsWith('.')) {
        packages.add(target);
        continue;
      }
      const next = path.posix.join(path.posix.dirname(file), target);
      if (!seen.has(next)) pending.push(next);
      seen.add(next);
    }
  }
  return packages;
}

it('an agent with options alone loads no native code, no schema and no HTTP framework', () => {
  const packages = packagesOf('src/agent/main.ts');
  expect(packages).toContain('commander');
  for (const heavy of ['lmdb', '@matrixai/quic', 'zod', 'yaml', 'fastify', 'prom-client']) {
    expect(packages).not.toContain(heavy);
  }
  // The same look at a program that needs them finds them.
  expect(packagesOf('src/agent/load-agent-config.ts')).toContain('zod');
  expect(packagesOf('src/collector/daemon.ts')).toContain('lmdb');
});
