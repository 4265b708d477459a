/**
 * One collection of each source, as a table for a person.
 */
import type { Reading, SkippedReading, Source } from '../client/reading.ts';

/** Collects once and returns the lines to print. Rejects where a source cannot be read. */
export async function dryRun(sources: readonly Source[]): Promise<string> {
  const parts: string[] = [];
  for (const source of sources) {
    const { readings, skipped } = await source.collect();
    parts.push(`source ${source.name}: ${readings.length} readings\n`);
    parts.push(formatTable(['metric', 'value', 'unit', 'kind', 'time', 'labels'], rows(readings)));
    for (const skip of skipped) parts.push(formatSkip(skip));
  }
  return parts.join('');
}

/** Left-aligned columns as wide as their widest cell; '' where there are no rows. */
export function formatTable(
  heads: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  if (rows.length === 0) return '';
  const all = [heads, ...rows];
  const widths = heads.map((_, column) =>
    all.reduce((widest, row) => Math.max(widest, row[column]!.length), 0),
  );
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd();
  return `${all.map(line).join('\n')}\n`;
}

function rows(readings: readonly Reading[]): string[][] {
  return readings.map((reading) => [
    reading.name,
    String(reading.value),
    reading.unit,
    reading.kind,
    new Date(reading.timestampMs).toISOString(),
    Object.entries(reading.labels)
      .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
      .join(','),
  ]);
}

function formatSkip(skip: SkippedReading): string {
  return `skipped ${skip.count} × ${skip.what}: ${skip.why}\n`;
}
