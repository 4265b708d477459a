/**
 * A reader of line protocol, written from its specification and not from our writer, so that the
 * two can disagree.
 */

export interface ParsedLine {
  readonly measurement: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly fields: Readonly<Record<string, number | string>>;
  readonly timestamp: number;
}

/** Parses every line of `text`; throws on what the specification does not allow. */
export function parseLines(text: string): ParsedLine[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map(parseLine);
}

export function parseLine(line: string): ParsedLine {
  const [head, fieldText, time, ...rest] = splitOn(line, ' ');
  if (fieldText === undefined || time === undefined || rest.length > 0) {
    throw new Error(`not three parts: ${line}`);
  }
  if (!/^-?\d+$/.test(time)) throw new Error(`not a timestamp: ${time}`);
  const [measurement, ...tagTexts] = splitOn(head!, ',');
  const tags: Record<string, string> = {};
  for (const text of tagTexts) {
    const [key, value, ...more] = splitOn(text, '=');
    if (!key || !value || more.length > 0) throw new Error(`not a tag: ${text}`);
    if (unescaped(key) in tags) throw new Error(`tag twice: ${line}`);
    tags[unescaped(key)] = unescaped(value);
  }
  const fields: Record<string, number | string> = {};
  for (const text of splitOn(fieldText, ',')) {
    const [key, value, ...more] = splitOn(text, '=');
    if (!key || !value || more.length > 0) throw new Error(`not a field: ${text}`);
    if (unescaped(key) in fields) throw new Error(`field twice: ${line}`);
    fields[unescaped(key)] = fieldValue(value);
  }
  return { measurement: unescaped(measurement!), tags, fields, timestamp: Number(time) };
}

function fieldValue(text: string): number | string {
  if (text.startsWith('"')) {
    if (!text.endsWith('"') || text.length < 2) throw new Error(`open string: ${text}`);
    return text.slice(1, -1).replace(/\\(["\\])/g, '$1');
  }
  if (!/^-?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(text)) throw new Error(`not a float: ${text}`);
  return Number(text);
}

function unescaped(text: string): string {
  return text.replace(/\\([,= ])/g, '$1');
}

/** Splits at separators that are neither escaped nor inside a quoted string. */
function splitOn(text: string, separator: string): string[] {
  const parts: string[] = [];
  let part = '';
  let isQuoted = false;
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!;
    if (char === '\\' && i + 1 < text.length) {
      part += char + text[++i]!;
    } else if (char === '"' && (isQuoted || part.endsWith('=') || part === '')) {
      isQuoted = !isQuoted;
      part += char;
    } else if (char === separator && !isQuoted) {
      parts.push(part);
      part = '';
    } else {
      part += char;
    }
  }
  if (isQuoted) throw new Error(`open string: ${text}`);
  return [...parts, part];
}
