/**
 * From the text of the file and the environment to a `Config`, or to everything that is wrong with
 * them: five mistakes should not take five starts to find. Pure.
 *
 * Order of precedence: overriding variable, file, default of the schema.
 */
import type { z } from 'zod';
import {
  type ConfigKey,
  type ConfigSection,
  describeConfig,
  describeSections,
  COLLECTOR_KEYS,
  type ConfigKeys,
} from './describe-config.ts';
import type { Environment } from './environment.ts';
import { type Interpretation, interpretFileValue, interpretOverride } from './interpret-value.ts';
import { nearestName } from './nearest-name.ts';
import { type Config, configSchema } from './schema.ts';
import { type BrokenLaw, brokenLaws } from './validate.ts';
import { parseYamlSource, type YamlEntry } from './yaml-source.ts';

/**
 * A file with so many is no configuration: it is looked at no further. Finding out what each key
 * was meant to be would take minutes.
 */
const PROBLEMS_MAX = 200;

export interface ConfigProblem {
  /** `config.yaml:12`, or the variable, or the file where no line is to blame. */
  readonly where: string;
  /** `server.listen_addr`; '' where no key is to blame. */
  readonly key: string;
  /** A sentence that names the key, the value and what is allowed; never a secret. */
  readonly message: string;
}

export type ReadResult<T = Config> =
  | { readonly ok: true; readonly config: T }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/** The configuration file, already read. */
export interface ConfigText {
  /** As the operator spelt its path; for messages. */
  readonly name: string;
  readonly text: string;
}

/** One program's configuration: its keys, and what must hold between them. */
export interface ConfigFormat<T> extends ConfigKeys {
  readonly schema: z.ZodType<T>;
  readonly brokenLaws: (config: T) => readonly BrokenLaw[];
}

export const COLLECTOR_FORMAT: ConfigFormat<Config> = {
  ...COLLECTOR_KEYS,
  schema: configSchema,
  brokenLaws,
};

/** The collector's configuration, as `readFormat` reads it. */
export function readConfig(file: ConfigText | undefined, environment: Environment): ReadResult {
  return readFormat(COLLECTOR_FORMAT, file, environment);
}

/**
 * Without `file` the defaults and the overrides alone. The result is frozen through and through.
 */
export function readFormat<T>(
  format: ConfigFormat<T>,
  file: ConfigText | undefined,
  environment: Environment,
): ReadResult<T> {
  const draft = new Draft(format, file?.name ?? 'the defaults');
  readOverrides(draft, format.overridePrefix, environment);
  if (file !== undefined) readFile(draft, file, environment);
  const parsed = format.schema.safeParse(draft.values);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) draft.reportIssue(issue);
  } else {
    for (const law of format.brokenLaws(parsed.data)) {
      draft.report(draft.placeOf(law.keys), law.keys[0] ?? '', law.message);
    }
  }
  if (draft.problems.length > 0 || !parsed.success) {
    const problems = draft.problems.toSorted((a, b) => lineNumber(a) - lineNumber(b));
    return { ok: false, problems };
  }
  return { ok: true, config: deepFreeze(parsed.data) };
}

/** Problems in the order of the file, those without a line first. */
function lineNumber(problem: ConfigProblem): number {
  return Number(/:(\d+)$/.exec(problem.where)?.[1] ?? 0);
}

/** What has been read so far, and where each value came from. */
class Draft {
  readonly keys: readonly ConfigKey[];
  readonly sections: readonly ConfigSection[];
  readonly values: Record<string, unknown> = {};
  readonly problems: ConfigProblem[] = [];
  readonly #source: string;
  readonly #places = new Map<string, string>();
  readonly #spellings = new Map<string, string>();
  readonly #failed = new Set<string>();

  constructor(format: ConfigKeys, source: string) {
    this.keys = describeConfig(format);
    this.sections = describeSections(format);
    this.#source = source;
  }

  report(where: string, key: string, message: string): void {
    this.problems.push({ where, key, message });
  }

  /** Takes a value of a key; a later one for the same key is ignored. */
  take(key: ConfigKey, where: string, interpreted: Interpretation): void {
    if (this.#places.has(key.path)) return;
    this.#places.set(key.path, where);
    if (!interpreted.ok) {
      this.#failed.add(key.path);
      this.report(where, key.path, `${key.path} ${interpreted.what}`);
      return;
    }
    this.#spellings.set(key.path, interpreted.spelling);
    if (key.section === '') this.values[key.name] = interpreted.value;
    else this.openSection(key.section, where)[key.name] = interpreted.value;
  }

  has(key: ConfigKey): boolean {
    return this.#places.has(key.path);
  }

  openSection(section: string, where: string): Record<string, unknown> {
    if (!this.#places.has(section)) this.#places.set(section, where);
    this.values[section] ??= {};
    return this.values[section] as Record<string, unknown>;
  }

  /** Where the first of `paths` that was given came from. */
  placeOf(paths: readonly string[]): string {
    const given = paths.find((path) => this.#places.has(path));
    return (given && this.#places.get(given)) ?? this.#source;
  }

  reportIssue(issue: z.core.$ZodIssue): void {
    const path = issue.path.slice(0, 2).join('.');
    const key = this.keys.find((candidate) => candidate.path === path);
    if (this.#failed.has(path)) return;
    if (key === undefined) {
      this.report(this.#source, path, `${path} ${issue.message}`);
      return;
    }
    const spelling = this.#spellings.get(path);
    const message =
      spelling === undefined
        ? `${path} is missing; it must be ${key.allowed}`
        : `${path} is ${spelling}, but must be ${key.allowed}`;
    this.#failed.add(path);
    this.report(this.placeOf([path, key.section]), path, message);
  }
}

function readOverrides(draft: Draft, prefix: string, environment: Environment): void {
  for (const name of Object.keys(environment).sort()) {
    const text = environment[name];
    if (text === undefined || !name.startsWith(prefix) || isServiceLink(name, prefix)) continue;
    const key = draft.keys.find((candidate) => candidate.variable === name);
    if (key !== undefined) {
      draft.take(key, `environment variable ${name}`, interpretOverride(key, text));
      continue;
    }
    const variables = draft.keys.map((candidate) => candidate.variable);
    const message = `${name} overrides no key${suggestion(nearestName(name, variables))}`;
    draft.report('environment', '', message);
  }
}

/**
 * Kubernetes gives every container variables named after the services of its namespace, and a
 * service called telemetry-collector is likely.
 */
function isServiceLink(name: string, prefix: string): boolean {
  return /^(SERVICE_(HOST|PORT)|PORT)(_[A-Z0-9_]+)?$/.test(name.slice(prefix.length));
}

function readFile(draft: Draft, file: ConfigText, environment: Environment): void {
  const { root, syntaxErrors } = parseYamlSource(file.text);
  for (const error of syntaxErrors.slice(0, PROBLEMS_MAX)) {
    draft.report(`${file.name}:${error.line}`, '', error.message);
  }
  if (root.kind === 'empty' || syntaxErrors.some((error) => error.fatal)) return;
  if (root.kind !== 'map') {
    draft.report(`${file.name}:1`, '', 'the file must consist of sections with keys');
    return;
  }
  for (const entry of root.entries) {
    const where = `${file.name}:${entry.line}`;
    const section = draft.sections.find(({ name }) => name === entry.key);
    if (section === undefined) readEntry(draft, '', entry, file.name, environment);
    else if (entry.value.kind === 'map') {
      draft.openSection(section.name, where);
      for (const child of entry.value.entries) {
        readEntry(draft, section.name, child, file.name, environment);
      }
    } else if (entry.value.kind !== 'empty') {
      const message = `${section.name} is a section: its keys go below it, indented`;
      draft.report(where, section.name, message);
    }
  }
}

function readEntry(
  draft: Draft,
  section: string,
  entry: YamlEntry,
  fileName: string,
  environment: Environment,
): void {
  const where = `${fileName}:${entry.line}`;
  if (draft.problems.length >= PROBLEMS_MAX) return;
  const key = draft.keys.find(
    (candidate) => candidate.section === section && candidate.name === entry.key,
  );
  if (key === undefined) {
    const path = section === '' ? entry.key : `${section}.${entry.key}`;
    const meant = meantKey(draft, section, entry.key);
    draft.report(where, path, `${path} is not a known key${suggestion(meant)}`);
  } else if (!draft.has(key)) {
    draft.take(key, where, interpretFileValue(key, entry.value, environment));
  }
}

/** A near name in the same section, else the same name in another one, else anything near. */
function meantKey(draft: Draft, section: string, name: string): string | undefined {
  const siblings = draft.keys.filter((key) => key.section === section);
  const names = siblings.map((key) => key.name);
  if (section === '') names.push(...draft.sections.map((candidate) => candidate.name));
  const near = nearestName(name, names);
  if (near !== undefined) return section === '' ? near : `${section}.${near}`;
  const elsewhere = draft.keys.find((key) => key.name === name);
  if (elsewhere !== undefined) return elsewhere.path;
  const nearElsewhere = nearestName(name, [...new Set(draft.keys.map((key) => key.name))]);
  return draft.keys.find((key) => key.name === nearElsewhere)?.path;
}

function suggestion(name: string | undefined): string {
  return name === undefined ? '' : `; did you mean ${name}?`;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}
