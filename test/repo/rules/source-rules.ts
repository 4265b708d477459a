/**
 * What code may not say, and where.
 */
import { lineAt, maskSource, type SourceFile } from './source-text.ts';

interface Ban {
  readonly what: string;
  readonly pattern: RegExp;
  /** Where the pattern is looked for; default: code alone, without comments and strings. */
  readonly within?: 'text' | 'codeAndStrings';
  readonly applies: (path: string) => boolean;
}

const inSrc = (path: string) => path.startsWith('src/');
const inTests = (path: string) => path.startsWith('test/');
const isNot =
  (...paths: string[]) =>
  (path: string) =>
    inSrc(path) && !paths.includes(path);

const BANS: readonly Ban[] = [
  {
    what: 'time that does not come from a Clock',
    pattern: /\b(Date\.now|performance\.now|process\.hrtime)\b|\bnew Date\(\)/g,
    applies: isNot('src/lib/clock.ts'),
  },
  {
    what: 'a timer that does not come from a Clock',
    pattern: /(?<![\w.#])(setTimeout|setInterval)\b|node:timers/g,
    applies: isNot('src/lib/clock.ts'),
  },
  {
    what: 'the environment outside src/config/',
    pattern: /\bprocess\.env\b/g,
    applies: (path) => inSrc(path) && !path.startsWith('src/config/'),
  },
  {
    what: 'a signal handler outside a main.ts',
    pattern: /\bprocess\s*\.\s*(on|once|addListener)\(/g,
    applies: (path) => inSrc(path) && !path.endsWith('/main.ts'),
  },
  {
    what: 'the end of the process outside a main.ts',
    pattern: /\bprocess\.(exit\b|exitCode\s*=)/g,
    applies: (path) => inSrc(path) && !path.endsWith('/main.ts'),
  },
  { what: 'console', pattern: /\bconsole\s*\./g, applies: () => true },
  {
    what: 'a default export',
    pattern: /\bexport\s+default\b/g,
    applies: (path) => path !== 'vitest.config.ts' && !path.endsWith('.d.ts'),
  },
  { what: 'a barrel', pattern: /\bexport\s+(type\s+)?(\*|\{[^}]*\})\s*from\b/g, applies: inSrc },
  { what: 'any', pattern: /(:|\bas|<|,|\|)\s*any\b(?!\s*[(:=])/g, applies: () => true },
  { what: 'state of a module', pattern: /^(export )?(let|var)\s/gm, applies: inSrc },
  {
    what: 'an order to look away',
    pattern: new RegExp(`@ts-(${'ignore|nocheck|expect-error'})|biome-${'ignore'}`, 'g'),
    within: 'text',
    applies: () => true,
  },
  {
    what: 'a test that does not run',
    pattern: /\b(it|test|describe)\.(skip|only|todo)\b/g,
    applies: inTests,
  },
  {
    what: 'a program of ours outside test/system/',
    pattern: /\/run-cli\.ts'|\/scenario\.ts'|'dist\/src\/\w+\/main\.js'/g,
    within: 'codeAndStrings',
    applies: (path) => /^test\/(?!system\/|helpers\/|repo\/).*\.test\.ts$/.test(path),
  },
];

/** Everything in a file that is banned there. */
export function bannedCode(file: SourceFile): string[] {
  const masked = { ...maskSource(file.text), text: file.text };
  return BANS.filter((ban) => ban.applies(file.path)).flatMap((ban) => {
    const searched = masked[ban.within ?? 'code'];
    return [...searched.matchAll(ban.pattern)].map(
      (match) =>
        `${file.path}:${lineAt(searched, match.index)} has ${ban.what}: ${match[0].trim()}`,
    );
  });
}

/** A file begins by saying what it is for. */
export function missingHeader({ path, text }: SourceFile): string[] {
  return /^(#!.*\n)?\/\*\*(\n \*)? \S/.test(text)
    ? []
    : [`${path} does not begin with a docstring`];
}

/**
 * Exported functions and classes say what they do. The one that a file is named after is what the
 * file's own docstring is about, so it may stand without.
 */
export function undocumentedExports({ path, text }: SourceFile): string[] {
  const declaration = /^export (?:async )?(?:function\*?|class)\s+(\w+)/gm;
  const fileName = (path.split('/').at(-1) ?? '').replace(/\.ts$/, '').replaceAll('-', '');
  return [...text.matchAll(declaration)]
    .filter((match) => !text.slice(0, match.index).endsWith('*/\n'))
    .filter((match) => (match[1] ?? '').replace(/^create/, '').toLowerCase() !== fileName)
    .map((match) => `${path}:${lineAt(text, match.index)} exports ${match[1]} without a docstring`);
}

/** Paths that exist only where the code was written. */
export function machinePaths({ path, text }: SourceFile): string[] {
  const places = [
    ['', 'work', ''],
    ['', 'root', ''],
    ['', 'tmp', 'bash_jobs'],
  ];
  return places
    .map((parts) => parts.join('/'))
    .filter((place) => new RegExp(`(^|[^\\w.*)-])${place}`, 'm').test(text))
    .map((place) => `${path} mentions ${place}`);
}
