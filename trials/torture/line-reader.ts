/**
 * Reads line protocol as the specification has it, to find out which samples the InfluxDB side was
 * given. Written without a look at the writer's encoder, so that the two can disagree.
 */

export interface ReadLine {
  readonly measurement: string;
  readonly tags: ReadonlyMap<string, string>;
  /** Numbers only; fields that are texts are left out. */
  readonly fields: ReadonlyMap<string, number>;
  readonly timeMs: number;
}

/** The parts of one line; undefined where it is no line. */
export function readLine(line: string): ReadLine | undefined {
  const [head, fieldText, timeText, ...rest] = split(line, ' ');
  if (head === undefined || fieldText === undefined || rest.length > 0) return undefined;
  if (timeText === undefined || !/^-?\d+$/.test(timeText)) return undefined;
  const [measurement = '', ...tagTexts] = split(head, ',');
  const tags = new Map<string, string>();
  for (const text of tagTexts) {
    const [key = '', value = ''] = split(text, '=');
    tags.set(unescaped(key), unescaped(value));
  }
  const fields = new Map<string, number>();
  for (const text of split(fieldText, ',')) {
    const [key = '', value = ''] = split(text, '=');
    if (value.startsWith('"')) continue;
    const number = Number(value);
    if (value === '' || Number.isNaN(number)) return undefined;
    fields.set(unescaped(key), number);
  }
  return { measurement: unescaped(measurement), tags, fields, timeMs: Number(timeText) };
}

/** Splits where the separator is neither escaped nor in a quoted text. */
function split(text: string, separator: string): string[] {
  const parts: string[] = [];
  let start = 0;
  let isQuoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (char === '\\') at += 1;
    else if (char === '"' && (isQuoted || text[at - 1] === '=')) isQuoted = !isQuoted;
    else if (char === separator && !isQuoted) {
      parts.push(text.slice(start, at));
      start = at + 1;
    }
  }
  parts.push(text.slice(start));
  return parts;
}

function unescaped(text: string): string {
  return text.includes('\\') ? text.replace(/\\([,= \\])/g, '$1') : text;
}
