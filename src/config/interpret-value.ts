/**
 * From the spelling of one value to what the schema checks: references to the environment are
 * replaced, and a text key takes its value as text, so that `org: 42` needs no quotes.
 */
import type { ConfigKey } from './describe-config.ts';
import type { Environment } from './environment.ts';
import { hidePasswords } from './hide-passwords.ts';
import { substituteVariables } from './substitute-variables.ts';
import { parseYamlValue, type YamlValue } from './yaml-source.ts';

export type Interpretation =
  /** `spelling` is fit to be printed: as the operator wrote it, secrets hidden. */
  | { readonly ok: true; readonly value: unknown; readonly spelling: string }
  /** `what` completes the sentence "the key …". */
  | { readonly ok: false; readonly what: string };

/** A value of the file. */
export function interpretFileValue(
  key: ConfigKey,
  value: YamlValue,
  environment: Environment,
): Interpretation {
  switch (value.kind) {
    case 'empty':
      return { ok: false, what: `has no value, but must be ${key.allowed}` };
    case 'scalar':
      return interpretScalar(key, value, environment);
    case 'list':
      return interpretList(key, value.items, environment);
    case 'map':
      return { ok: false, what: `is a section here, but must be ${key.allowed}` };
    case 'other':
      return { ok: false, what: `is ${value.what} here, but must be ${key.allowed}` };
  }
}

/** A value of an overriding variable; references in it are not replaced. */
export function interpretOverride(key: ConfigKey, text: string): Interpretation {
  if (key.type === 'text') return { ok: true, value: text, spelling: printable(key, text) };
  const interpreted = interpretFileValue(key, parseYamlValue(text), {});
  return interpreted.ok ? { ...interpreted, spelling: printable(key, text) } : interpreted;
}

function interpretScalar(
  key: ConfigKey,
  scalar: Extract<YamlValue, { kind: 'scalar' }>,
  environment: Environment,
): Interpretation {
  const spelling = printable(key, scalar.value === scalar.source ? scalar.source : scalar.value);
  if (typeof scalar.value !== 'string') {
    const value = key.type === 'text' ? scalar.source : scalar.value;
    return { ok: true, value, spelling };
  }
  const substituted = substituteVariables(scalar.value, environment);
  if (!substituted.ok) return substituted;
  if (!substituted.changed || scalar.quoted || key.type === 'text') {
    return { ok: true, value: substituted.text, spelling };
  }
  // `metrics_port: ${PORT}` means the number that the variable spells.
  const replaced = parseYamlValue(substituted.text);
  const value = replaced.kind === 'scalar' ? replaced.value : substituted.text;
  return { ok: true, value, spelling };
}

function interpretList(
  key: ConfigKey,
  items: readonly YamlValue[],
  environment: Environment,
): Interpretation {
  if (key.type !== 'list of texts') {
    return { ok: false, what: `is a list here, but must be ${key.allowed}` };
  }
  const texts: string[] = [];
  for (const item of items) {
    if (item.kind !== 'scalar') {
      return { ok: false, what: `holds something that is no text; it must be ${key.allowed}` };
    }
    const substituted = substituteVariables(item.source, environment);
    if (!substituted.ok) return substituted;
    texts.push(substituted.text);
  }
  return { ok: true, value: texts, spelling: printable(key, texts) };
}

const SPELLING_CHARS_MAX = 120;

function printable(key: ConfigKey, value: unknown): string {
  if (key.secret) return '(hidden)';
  const text = typeof value === 'string' ? JSON.stringify(hidePasswords(value)) : stringify(value);
  return text.length <= SPELLING_CHARS_MAX ? text : `${text.slice(0, SPELLING_CHARS_MAX)}…`;
}

function stringify(value: unknown): string {
  return JSON.stringify(value) ?? String(value);
}
