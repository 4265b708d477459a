/**
 * Plain data for people: indented names and values, and a table where a list has many of the same.
 */

/** `value` as lines of text, each ending in a newline. */
export function renderText(value: Readonly<Record<string, unknown>>): string {
  return `${renderObject(value, '').join('\n')}\n`;
}

function renderObject(object: Readonly<Record<string, unknown>>, indent: string): string[] {
  const entries = Object.entries(object).filter(([, value]) => value !== undefined);
  const width = Math.max(0, ...entries.map(([name]) => words(name).length));
  return entries.flatMap(([name, value]) => {
    if (isRows(value)) {
      return [`${indent}${words(name)}:`, ...renderTable(value, `${indent}  `)];
    }
    if (isObject(value) && Object.keys(value).length > 0) {
      return [`${indent}${words(name)}:`, ...renderObject(value, `${indent}  `)];
    }
    return [`${indent}${words(name).padEnd(width)}  ${renderValue(name, value)}`];
  });
}

function renderTable(rows: readonly Readonly<Record<string, unknown>>[], indent: string): string[] {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = [
    columns.map(words),
    ...rows.map((row) => columns.map((column) => renderValue(column, row[column]))),
  ];
  const widths = columns.map((_, index) => Math.max(...cells.map((row) => row[index]!.length)));
  return cells.map((row) => {
    return (
      indent +
      row
        .map((cell, index) => cell.padEnd(widths[index]!))
        .join('  ')
        .trimEnd()
    );
  });
}

/** `lastCommitMs` reads "last commit ms". */
function words(name: string): string {
  return name
    .replaceAll('_', ' ')
    .replace(/([a-z0-9])([A-Z])/g, (_, end: string, start: string) => {
      return `${end} ${start.toLowerCase()}`;
    });
}

function renderValue(name: string, value: unknown): string {
  if (value === undefined || value === null) return '-';
  if (typeof value === 'number' && /(At|Time|Timestamp|Commit)Ms$/.test(name) && value > 0) {
    return new Date(value).toISOString();
  }
  if (typeof value === 'number') return value.toLocaleString('en-US');
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map(String).join(', ');
  if (isObject(value)) return Object.keys(value).length === 0 ? 'none' : JSON.stringify(value);
  return String(value);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isRows(value: unknown): value is readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(value) && value.length > 0 && value.every(isObject);
}
