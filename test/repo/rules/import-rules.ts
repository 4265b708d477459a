/**
 * Who may know whom: data flows one way through the rooms, and so do imports.
 *
 *     lib ← telemetry, gpu-identity, config/schema ← codec, admission, journal
 *         ← listener, writers, agent ← daemon (and what it is composed of) ← cli, main
 */
import path from 'node:path';
import { maskSource, type SourceFile } from './source-text.ts';

export interface Import {
  readonly from: string;
  /** A path in the repository, or the name of a package or built-in module. */
  readonly to: string;
  readonly isPackage: boolean;
}

const IMPORT =
  /(?<![.\w])(?:from\s+|import\s+|import\s*\(\s*)'([^'\n]+)'|\bnew URL\('(\.[^'\n]+\.ts)'/g;

/** What a file imports; relative ones as paths in the repository, others as they are. */
export function importsOf({ path: from, text }: SourceFile): Import[] {
  const { codeAndStrings } = maskSource(text);
  return [...codeAndStrings.matchAll(IMPORT)].map((match) => {
    const target = match[1] ?? match[2] ?? '';
    if (!target.startsWith('.')) return { from, to: target, isPackage: true };
    return { from, to: path.posix.join(path.posix.dirname(from), target), isPackage: false };
  });
}

/** Files at the top that are not part of the composition root. */
const TOP_FILES = ['telemetry', 'gpu-identity', 'main'];

/** The part of the program a file belongs to: a room, or what it is at the top. */
export function partOf(file: string): string {
  if (file === 'src/config/schema.ts' || file === 'src/config/socket-address.ts') return 'schema';
  const [top, room = '', ...rest] = file.split('/');
  if (top !== 'src') return top ?? '';
  if (rest.length > 0) return room;
  const name = room.replace(/\.ts$/, '');
  return TOP_FILES.includes(name) ? name : 'daemon';
}

const BASE = ['lib', 'telemetry', 'gpu-identity', 'schema'];
const FRONT = [...BASE, 'codec', 'admission', 'journal'];
const ROOMS = [...FRONT, 'listener', 'writers', 'config', 'observability'];

/** What each part may import, beside itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  telemetry: [],
  'gpu-identity': ['telemetry'],
  types: [],
  schema: ['lib'],
  config: ['lib', 'schema'],
  codec: BASE,
  admission: BASE,
  journal: BASE,
  observability: ['lib'],
  listener: [...BASE, 'codec'],
  agent: [...BASE, 'codec'],
  writers: BASE,
  daemon: ROOMS,
  cli: [...ROOMS, 'daemon'],
  main: ['cli', 'config', 'lib'],
};

/** Single files that a part may import of a room it does not know otherwise. */
const EXCEPTIONS: readonly { readonly from: RegExp; readonly to: RegExp; readonly why: string }[] =
  [
    {
      from: /^src\/writers\//,
      to: /^src\/journal\/(journal-reader|record|environment|cursors|format)[\w-]*\.ts$/,
      why: 'writers read the journal from threads of their own',
    },
    {
      from: /^src\/writers\//,
      to: /^src\/codec\/series-table\.ts$/,
      why: 'the journal keeps series tables as they were encoded',
    },
    {
      from: /^src\/agent\/(main|command-line)\.ts$/,
      to: /^src\/(observability\/logger|config\/environment|cli\/[\w-]+)\.ts$/,
      why: 'the agent is a program of its own',
    },
  ];

/** Imports that go the wrong way. */
export function wrongDirections(file: SourceFile): string[] {
  const from = partOf(file.path);
  const allowed = MAY_IMPORT[from];
  if (allowed === undefined) return [`${file.path} belongs to no known part: ${from}`];
  return importsOf(file)
    .filter(({ isPackage }) => !isPackage)
    .filter(({ to }) => {
      const part = partOf(to);
      if (part === from || allowed.includes(part)) return false;
      return !EXCEPTIONS.some((one) => one.from.test(file.path) && one.to.test(to));
    })
    .map(({ to }) => `${file.path} must not import ${to}`);
}

/** Imports that are not spelt as they should be. */
export function misspeltImports(file: SourceFile): string[] {
  const { codeAndStrings } = maskSource(file.text);
  return [...codeAndStrings.matchAll(IMPORT)]
    .map((match) => match[1] ?? match[2] ?? '')
    .filter((target) => (target.startsWith('.') ? !target.endsWith('.ts') : isBareBuiltin(target)))
    .map(
      (target) => `${file.path} imports '${target}': relative ends in .ts, built-in begins node:`,
    );
}

const BUILTINS = [
  'fs',
  'path',
  'os',
  'crypto',
  'net',
  'dgram',
  'http',
  'child_process',
  'util',
  'url',
];

function isBareBuiltin(target: string): boolean {
  return BUILTINS.includes(target.split('/')[0] ?? '');
}

/** Circles of imports, each as the files on it. */
export function importCycles(files: readonly SourceFile[]): string[] {
  const graph = new Map(files.map((file) => [file.path, importsOf(file).map(({ to }) => to)]));
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (file: string, trail: readonly string[]) => {
    const seen = trail.indexOf(file);
    if (seen >= 0) cycles.push([...trail.slice(seen), file].join(' → '));
    if (seen >= 0 || done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...trail, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  return cycles;
}
