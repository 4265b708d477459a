/**
 * The configuration file as text: which line says what. The shape is fixed (a map of sections of
 * single values), so the walk is bounded whatever the file contains; aliases, tags and deeper
 * nesting become a problem of the key they belong to.
 */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
} from 'yaml';
import { errorMessage } from '../lib/errors.ts';

/** One `key: value` of the file. */
export interface YamlEntry {
  readonly key: string;
  /** Counted from 1. */
  readonly line: number;
  readonly value: YamlValue;
}

export type YamlValue =
  | { readonly kind: 'empty' }
  /** `source` is the value as it is spelt, without quotes. */
  | {
      readonly kind: 'scalar';
      readonly value: unknown;
      readonly source: string;
      readonly quoted: boolean;
    }
  | { readonly kind: 'list'; readonly items: readonly YamlValue[] }
  | { readonly kind: 'map'; readonly entries: readonly YamlEntry[] }
  | { readonly kind: 'other'; readonly what: string };

export interface YamlSource {
  readonly root: YamlValue;
  readonly syntaxErrors: readonly YamlSyntaxError[];
}

export interface YamlSyntaxError {
  readonly line: number;
  readonly message: string;
  /** The rest of the file means nothing; otherwise only this line does. */
  readonly fatal: boolean;
}

/** Deeper than any configuration; what is below is not looked at. */
const DEPTH_MAX = 4;

/** Parses a whole file; syntax errors are returned, never thrown. */
export function parseYamlSource(text: string): YamlSource {
  const lines = new LineCounter();
  const document = tryParse(text, lines);
  if (typeof document === 'string') {
    const syntaxErrors = [{ line: 1, message: document, fatal: true }];
    return { root: { kind: 'empty' }, syntaxErrors };
  }
  const syntaxErrors = [...document.errors, ...document.warnings].map((error) => ({
    line: lines.linePos(error.pos[0]).line,
    message: error.code === 'DUPLICATE_KEY' ? 'this key was given before' : error.message,
    fatal: error.code !== 'DUPLICATE_KEY',
  }));
  return { root: toValue(document.contents, lines, DEPTH_MAX), syntaxErrors };
}

/** The parser recurses, so that a few kilobytes of nesting are deeper than the stack. */
function tryParse(text: string, lines: LineCounter): Document.Parsed | string {
  try {
    return parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: false });
  } catch (error) {
    if (error instanceof RangeError) return 'the file is nested too deeply to be read';
    return `the file cannot be read: ${errorMessage(error)}`;
  }
}

function toValue(node: unknown, lines: LineCounter, depth: number): YamlValue {
  if (node === null || node === undefined) return { kind: 'empty' };
  if (isAlias(node)) return { kind: 'other', what: 'an alias' };
  if (isScalar(node)) {
    if (node.value === null) return { kind: 'empty' };
    const quoted = node.type !== undefined && node.type !== 'PLAIN';
    const source = quoted ? String(node.value) : (node.source ?? String(node.value));
    return { kind: 'scalar', value: node.value, source, quoted };
  }
  if (depth === 0) return { kind: 'other', what: 'a nested value' };
  if (isSeq(node)) {
    return { kind: 'list', items: node.items.map((item) => toValue(item, lines, depth - 1)) };
  }
  if (!isMap(node)) return { kind: 'other', what: 'not a value' };
  const entries = node.items.map((pair) => ({
    key: isScalar(pair.key) ? String(pair.key.value) : '?',
    line: lineOf(pair.key, lines),
    value: toValue(pair.value, lines, depth - 1),
  }));
  return { kind: 'map', entries };
}

function lineOf(node: unknown, lines: LineCounter): number {
  const range = (node as Node | null)?.range;
  return range ? lines.linePos(range[0]).line : 1;
}

/** What one scalar or flow list on its own means, for values that come from the environment. */
export function parseYamlValue(text: string): YamlValue {
  const { root, syntaxErrors } = parseYamlSource(text);
  return syntaxErrors.length === 0 ? root : { kind: 'other', what: 'not valid YAML' };
}
