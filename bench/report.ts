/**
 * How figures are shown: as a table for a person, as lines of JSON, as a section of RESULTS.md.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import { formatTable } from '../trials/harness/format-table.ts';
import { packageFile } from '../src/lib/package-root.ts';
import type { Benchmark } from './benchmark.ts';
import { type Figure, formatValue, passes } from './figures.ts';

const RESULTS = 'bench/RESULTS.md';

/** One line of JSON for a figure. */
export function jsonLine(figure: Figure): string {
  const { bench, unit, value, bar } = figure;
  return JSON.stringify({
    bench,
    figure: figure.figure,
    value,
    unit,
    bar: bar === undefined ? null : `${bar.relation} ${bar.value}`,
    pass: passes(figure) ?? null,
  });
}

/** The figures of one benchmark with their bars. */
export function tableOf(figures: readonly Figure[]): string {
  return formatTable(
    ['figure', 'median', 'unit', 'least', 'most', 'bar', ''],
    figures.map((figure) => [
      figure.figure,
      formatValue(figure.value),
      figure.unit,
      formatValue(figure.least),
      formatValue(figure.greatest),
      barOf(figure),
      verdictOf(figure),
    ]),
  );
}

/** Where and on what: machine, Node, commit, load. */
export function conditions(): string {
  const cpus = os.cpus();
  const loads = os.loadavg().map((load) => load.toFixed(2));
  return [
    `${cpus.length} × ${cpus[0]?.model.trim() ?? 'unknown CPU'}`,
    `${Math.round(os.totalmem() / 2 ** 30)} GiB`,
    `Linux ${os.release()}`,
    `Node ${process.version}`,
    `commit ${commit()}`,
    `load average before ${loads.join(' ')}`,
  ].join(', ');
}

/** Adds the figures of one benchmark to bench/RESULTS.md. */
export function appendResults(
  { name, promise }: Benchmark,
  figures: readonly Figure[],
  where: string,
  at: Date,
): void {
  const rows = figures.map(
    (figure) =>
      `| ${figure.figure} | ${formatValue(figure.value)} | ${figure.unit} | ` +
      `${formatValue(figure.least)} – ${formatValue(figure.greatest)} | ${barOf(figure)} | ` +
      `${verdictOf(figure)} |`,
  );
  const text = [
    '',
    `## ${name}, ${at.toISOString().slice(0, 16).replace('T', ' ')} UTC`,
    '',
    promise,
    '',
    `${where}. Medians of ${Math.max(...figures.map(({ runs }) => runs))} runs.`,
    '',
    '| figure | median | unit | range | bar | |',
    '|---|---|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
  const file = packageFile(RESULTS);
  if (!fs.existsSync(file)) fs.writeFileSync(file, HEAD);
  fs.appendFileSync(file, text);
}

const HEAD = `# Results

Every run of \`npm run bench\` adds its figures at the end. What they mean stands in
[docs/performance.md](../docs/performance.md).
`;

function barOf({ bar }: Figure): string {
  return bar === undefined ? '' : `${bar.relation} ${formatValue(bar.value)}`;
}

function verdictOf(figure: Figure): string {
  const pass = passes(figure);
  return pass === undefined ? '' : pass ? 'pass' : 'falls short';
}

function commit(): string {
  try {
    const git = (...args: string[]) =>
      execFileSync('git', ['-C', packageFile('.'), ...args], { encoding: 'utf8' }).trim();
    const isDirty = git('status', '--porcelain', '--', 'src') !== '';
    return git('rev-parse', '--short', 'HEAD') + (isDirty ? ' with changes' : '');
  } catch {
    return 'unknown';
  }
}
