/**
 * Who may know whom: programs stand on shared rooms, data flows one way, and so do imports.
 *
 *     lib ← domain ← config, codec, transport, journal, warehouse ← client, feed ← programs
 *
 * Programs never import each other. Only composition roots name what is behind a seam.
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

/** Rooms that stand inside another one: the collector's own, and what is behind a seam. */
const INNER_ROOMS =
  /^src\/(collector\/[\w-]+|gateway\/[\w-]+|journal\/lmdb|transport\/(?:quinn|tls|quiche))\//;

/** What of src/config/ every part may know: the settings' types. */
const SCHEMA_FILES = /^src\/config\/(?:(?:gateway-)?schema|schema-parts|socket-address)\.ts$/;

/** The part of the program a file belongs to: a room, `collector` for its root, or a folder. */
export function partOf(file: string): string {
  if (SCHEMA_FILES.test(file)) return 'schema';
  if (file === 'src/observability/metrics.ts') return 'metrics';
  const inner = INNER_ROOMS.exec(file)?.[1];
  if (inner !== undefined) return inner;
  const [top = '', room = ''] = file.split('/');
  return top === 'src' ? room : top;
}

const BASE = ['lib', 'domain', 'schema', 'metrics'];
const SHARED = [
  ...BASE,
  'config',
  'codec',
  'transport',
  'journal',
  'warehouse',
  'observability',
  'feed',
];

/** What each part may import, beside itself. Programs are not in anybody's list. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  domain: ['lib'],
  schema: ['lib'],
  metrics: [],
  config: BASE,
  codec: BASE,
  transport: ['lib'],
  'transport/quiche': ['lib', 'transport'],
  'transport/quinn': ['lib', 'transport'],
  'transport/tls': ['lib', 'transport'],
  journal: BASE,
  'journal/lmdb': [...BASE, 'journal'],
  warehouse: BASE,
  observability: ['lib', 'metrics'],
  client: [...BASE, 'codec', 'transport'],
  feed: [...BASE, 'codec'],
  agent: [...BASE, 'config', 'client', 'transport', 'observability'],
  'collector/listener': [...BASE, 'codec', 'transport'],
  'collector/admission': BASE,
  'collector/conformance': [...BASE, 'codec', 'transport'],
  'collector/ingest': [...BASE, 'codec', 'journal', 'collector/admission'],
  'collector/writers': [...BASE, 'journal', 'warehouse'],
  'collector/feed': [...BASE, 'codec', 'journal', 'feed'],
  'collector/health': [...BASE, 'codec', 'journal', 'observability', 'collector/writers'],
  'collector/repair': [...BASE, 'warehouse', 'collector/writers'],
  collector: [
    ...SHARED,
    'collector/admission',
    'collector/cli',
    'collector/feed',
    'collector/health',
    'collector/ingest',
    'collector/listener',
    'collector/writers',
  ],
  'gateway/access': BASE,
  'gateway/fleet': [...BASE, 'feed', 'gateway/access'],
  'gateway/tail': BASE,
  'gateway/live': [...BASE, 'gateway/access', 'gateway/tail'],
  gateway: [
    ...BASE,
    'config',
    'feed',
    'observability',
    'gateway/access',
    'gateway/cli',
    'gateway/fleet',
    'gateway/http',
    'gateway/live',
    'gateway/tail',
  ],
  'gateway/cli': [...BASE, 'config', 'gateway/access'],
  'gateway/query': [...BASE, 'gateway/access', 'gateway/live', 'gateway/tail'],
  'gateway/http': [
    ...BASE,
    'config',
    'observability',
    'gateway/access',
    'gateway/fleet',
    'gateway/live',
    'gateway/query',
    'gateway/tail',
  ],
  'collector/cli': [
    ...SHARED,
    'collector',
    'collector/conformance',
    'collector/listener',
    'collector/repair',
    'collector/writers',
  ],
};

/** Single files that may name what is behind a seam, or a part they do not know otherwise. */
const EXCEPTIONS: readonly { readonly from: RegExp; readonly to: RegExp; readonly why: string }[] =
  [
    {
      from: /^src\/collector\/(daemon|writers\/writer-worker|feed\/feed-worker|cli\/journal-commands)\.ts$/,
      to: /^src\/journal\/lmdb\//,
      why: 'composition roots choose the journal; its own commands look inside it',
    },
    {
      from: /^src\/(collector\/(daemon|quic-stack|cli\/run-conformance)|agent\/main)\.ts$/,
      to: /^src\/transport\/(quiche\/quiche|quinn\/quinn|tls\/tls)-endpoint\.ts$/,
      why: 'composition roots choose the transport',
    },
    {
      from: /^src\/collector\/writers\/writer-worker\.ts$/,
      to: /^src\/codec\/series-table\.ts$/,
      why: 'the journal keeps series tables as they were encoded',
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
