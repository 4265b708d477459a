/**
 * The label list of the Prometheus text format, `a="x",b="y"`: the text between the braces of a
 * sample, and in the `labels_raw` column of a DCGM export.
 */
import type { LabelPair } from './source-labels.ts';

export const MAX_LABELS = 200;

export interface LabelList {
  readonly labels: readonly LabelPair[];
  /** A quoted name without a value, as `{"metric.name",a="x"}` has it; '' where there is none. */
  readonly quotedName: string;
  /** Where reading stopped: at the closing brace, or at the end of the text. */
  readonly end: number;
}

const KEY = /[a-zA-Z_][a-zA-Z0-9_.]*/y;
const BLANK = /[ \t\r\n]*/y;

/**
 * Reads labels from `start` up to a `}` or the end of `text`. Returns what is wrong as a string: a
 * key twice, a missing quote, anything between the labels.
 */
export function parseLabelList(text: string, start = 0): LabelList | string {
  const labels = new Map<string, string>();
  let quotedName = '';
  let at = skipBlanks(text, start);
  while (at < text.length && text[at] !== '}') {
    const key = readKey(text, at);
    if (key === undefined) return 'label name expected';
    at = skipBlanks(text, key.end);
    if (text[at] === '=') {
      const value = readQuoted(text, skipBlanks(text, at + 1));
      if (value === undefined) return 'label value is not quoted';
      if (labels.has(key.text)) return 'label twice';
      labels.set(key.text, value.text);
      if (labels.size > MAX_LABELS) return 'too many labels';
      at = skipBlanks(text, value.end);
    } else if (key.quoted && quotedName === '') quotedName = key.text;
    else return '= expected after a label name';
    if (text[at] === ',') at = skipBlanks(text, at + 1);
    else if (at < text.length && text[at] !== '}') return ', expected between labels';
  }
  return { labels: [...labels], quotedName, end: at };
}

interface Token {
  readonly text: string;
  readonly end: number;
  readonly quoted: boolean;
}

function readKey(text: string, at: number): Token | undefined {
  if (text[at] === '"') return readQuoted(text, at);
  KEY.lastIndex = at;
  const match = KEY.exec(text);
  if (match === null) return undefined;
  return { text: match[0], end: at + match[0].length, quoted: false };
}

/** A quoted string with `\\`, `\"` and `\n`; a backslash before anything else stands for itself. */
function readQuoted(text: string, at: number): Token | undefined {
  if (text[at] !== '"') return undefined;
  const start = at + 1;
  const end = text.indexOf('"', start);
  if (end < 0) return undefined;
  const plain = text.slice(start, end);
  if (!plain.includes('\\')) return { text: plain, end: end + 1, quoted: true };
  return readEscaped(text, start);
}

function readEscaped(text: string, start: number): Token | undefined {
  let plain = '';
  for (let at = start; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') return { text: plain, end: at + 1, quoted: true };
    if (character !== '\\') plain += character;
    else {
      at += 1;
      plain += unescaped(text[at] ?? '');
    }
  }
  return undefined;
}

function unescaped(character: string): string {
  if (character === 'n') return '\n';
  return character === '"' || character === '\\' ? character : `\\${character}`;
}

function skipBlanks(text: string, at: number): number {
  BLANK.lastIndex = at;
  BLANK.exec(text);
  return BLANK.lastIndex;
}
