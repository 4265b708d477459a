import { describe, expect, it } from 'vitest';
import {
  importCycles,
  importsOf,
  misspeltImports,
  partOf,
  wrongDirections,
} from './rules/import-rules.ts';
import { PROGRAM_FOLDERS, sourceFiles } from './rules/repo-files.ts';

describe('imports', () => {
  it('go one way through the rooms', () => {
    expect(sourceFiles('src').flatMap(wrongDirections)).toEqual([]);
  });

  it('never go round in a circle', () => {
    expect(importCycles(sourceFiles(...PROGRAM_FOLDERS))).toEqual([]);
  });

  it('are spelt with .ts and node:', () => {
    expect(sourceFiles(...PROGRAM_FOLDERS, 'test').flatMap(misspeltImports)).toEqual([]);
  });

  it('name files that exist', () => {
    const files = sourceFiles(...PROGRAM_FOLDERS);
    const known = new Set(files.map((file) => file.path));
    const missing = files
      .flatMap(importsOf)
      .filter(({ to }) => to.startsWith('src/') && !known.has(to))
      .map(({ from, to }) => `${from} imports ${to}`);
    expect(missing).toEqual([]);
  });
});

describe('the rules of imports', () => {
  const file = (path: string, ...targets: string[]) => ({
    path,
    text: targets.map((target) => `import { a } from '${target}';\n`).join(''),
  });

  it('find every kind of import', () => {
    const text = [
      "import { a,\n  b } from './a.ts';",
      "import type { c } from './b.ts';",
      "import './c.ts';",
      "const d = await import('./d.ts');",
      "new Worker(new URL('./e.ts', import.meta.url));",
      "import x from 'package';",
      "// import './not.ts';",
      "Buffer.from('text')",
    ].join('\n');
    const found = importsOf({ path: 'src/room/x.ts', text }).map(({ to }) => to);
    const local = ['a', 'b', 'c', 'd', 'e'].map((name) => `src/room/${name}.ts`);
    expect(found).toEqual([...local, 'package']);
  });

  it('know rooms and single files', () => {
    expect(partOf('src/journal/cursor.ts')).toBe('journal');
    expect(partOf('src/journal/lmdb/journal.ts')).toBe('journal/lmdb');
    expect(partOf('src/transport/quiche/quiche-endpoint.ts')).toBe('transport/quiche');
    expect(partOf('src/collector/writers/parquet/file.ts')).toBe('collector/writers');
    expect(partOf('src/collector/daemon.ts')).toBe('collector');
    expect(partOf('src/domain/telemetry.ts')).toBe('domain');
    expect(partOf('src/agent/sources/host-source.ts')).toBe('agent');
    expect(partOf('src/config/schema.ts')).toBe('schema');
    expect(partOf('src/config/load-config.ts')).toBe('config');
    expect(partOf('src/observability/metrics.ts')).toBe('metrics');
    expect(partOf('src/observability/registry.ts')).toBe('observability');
    expect(partOf('trials/fuzz/main.ts')).toBe('trials');
  });

  it('notice imports against the stream', () => {
    const wrong = [
      file('src/lib/clock.ts', '../domain/telemetry.ts'),
      file('src/codec/a.ts', '../collector/admission/b.ts'),
      file('src/codec/a.ts', '../config/load-config.ts'),
      file('src/journal/lmdb/a.ts', '../../codec/b.ts'),
      file('src/collector/listener/a.ts', '../../journal/b.ts'),
      file('src/collector/listener/a.ts', '../../transport/quiche/quiche-endpoint.ts'),
      file('src/collector/writers/a.ts', '../../journal/lmdb/journal.ts'),
      file('src/collector/health/a.ts', '../../journal/lmdb/journal.ts'),
      file('src/collector/cli/check-config.ts', '../../journal/lmdb/journal.ts'),
      file('src/collector/admission/a.ts', '../../observability/registry.ts'),
      file('src/collector/daemon.ts', '../agent/agent-loop.ts'),
      file('src/collector/daemon.ts', '../../trials/harness/daemon-process.ts'),
      file('src/client/client.ts', '../observability/logger.ts'),
      file('src/client/client.ts', '../transport/quiche/quiche-endpoint.ts'),
      file('src/agent/run-agent.ts', '../transport/quiche/quiche-endpoint.ts'),
      file('src/agent/main.ts', '../collector/cli/program.ts'),
      file('src/collector/cli/a.ts', '../../../test/helpers/b.ts'),
      file('src/attic/a.ts', '../lib/clock.ts'),
    ];
    for (const one of wrong) expect(wrongDirections(one), one.path).toHaveLength(1);
  });

  it('allow imports with the stream and the named exceptions', () => {
    const right = [
      file(
        'src/collector/listener/a.ts',
        './b.ts',
        '../../codec/c.ts',
        '../../lib/d.ts',
        'node:fs',
      ),
      file('src/collector/writers/writer-worker.ts', '../../journal/lmdb/journal-reader.ts'),
      file('src/collector/writers/parquet/a.ts', '../../../warehouse/columns.ts', '../writer.ts'),
      file('src/agent/main.ts', '../client/client.ts'),
      file('src/agent/main.ts', '../transport/quiche/quiche-endpoint.ts'),
      file('src/collector/daemon.ts', './listener/listener.ts', '../config/paths.ts'),
    ];
    expect(right.flatMap(wrongDirections)).toEqual([]);
  });

  it('notice circles', () => {
    const cycles = importCycles([
      file('src/a.ts', './b.ts'),
      file('src/b.ts', './c.ts'),
      file('src/c.ts', './b.ts'),
      file('src/d.ts', './a.ts', './c.ts'),
    ]);
    expect(cycles).toEqual(['src/b.ts → src/c.ts → src/b.ts']);
  });

  it('notice how imports are spelt', () => {
    expect(misspeltImports(file('src/a.ts', './b.js', './c', 'fs', 'fs/promises'))).toHaveLength(4);
    expect(misspeltImports(file('src/a.ts', './b.ts', 'node:fs', 'urlpattern'))).toEqual([]);
  });
});
