/**
 * What a run comes to: the table, and where something is wrong, the shortest story of it.
 */
import fs from 'node:fs';
import path from 'node:path';
import { formatTable } from '../harness/format-table.ts';
import type { FaultRow } from './fault-book.ts';
import type { TortureOptions } from './options.ts';
import { promisedSamples } from './sink-check.ts';
import type { TortureResult } from './torture.ts';

const STORY_BEFORE_MS = 4000;
const STORY_AFTER_MS = 4000;
const LOG_LINES_MAX = 25;

/** The table and the sums, for a person. */
export function renderTable({ book, verdict, rest, world, seconds }: TortureResult): string {
  const rows = [...book.rows.entries()].sort(([a], [b]) => (a < b ? -1 : 1));
  const { warehouse, sink } = verdict;
  const sum = (pick: (row: FaultRow) => number) =>
    rows.reduce((total, [, row]) => total + pick(row), 0);
  const cells = rows.map(([name, row]) => rowCells(name, row));
  const all = rows.flatMap(([, row]) => row.recoveryMs);
  cells.push(
    [
      'all',
      sum((row) => row.times),
      sum((row) => row.ackedSamples),
      warehouse.lostSamples + (sink?.lostSamples ?? 0),
      warehouse.doubledSamples,
      warehouse.unreadable.length,
      ...recovery(all),
    ].map(String),
  );
  const header = [
    'fault',
    'times',
    'acked samples',
    'lost',
    'doubled',
    'partial files',
    'recovery p50 ms',
    'max ms',
  ];
  const { accepted, duplicate, rejected, deadLettered, journalFileBytes = 0 } = rest.books ?? {};
  return [
    formatTable(header, cells),
    `\n  ${promisedSamples(world.obligations)} acknowledged samples, ${warehouse.rows} rows in `,
    `${warehouse.files} files, ${sink?.samples ?? 0} points in InfluxDB, `,
    `${sink?.onlyDeadLetters ?? 0} only as dead letters, of which ${sink?.innocentDeadLetters ?? 0} `,
    'were given up with others\n',
    `  ledger: accepted ${accepted}, duplicate ${duplicate}, rejected ${rejected}, `,
    `dead-lettered ${deadLettered}; journal file ${mebibytes(journalFileBytes)}\n`,
    `  ${world.supervisor.startsMs.length} starts, at rest after ${rest.seconds.toFixed(1)} s, memory `,
    `${mebibytes(rest.warmBytes)} fresh and ${mebibytes(rest.restBytes)} at rest, `,
    `${seconds.toFixed(0)} s in all\n`,
  ].join('');
}

/** One line of JSON. */
export function renderJson(options: TortureOptions, result: TortureResult): string {
  const { book, verdict, rest, findings, seconds } = result;
  const rows = Object.fromEntries(
    [...book.rows.entries()].map(([name, { recoveryMs, ...row }]) => {
      const [p50, max] = recovery(recoveryMs);
      return [name, { ...row, recoveryP50Ms: p50, recoveryMaxMs: max, recoveryMs }];
    }),
  );
  const { flaws, ...warehouse } = verdict.warehouse;
  const { seed, families } = options;
  const facts = { seed, families: [...families], seconds, findings, rows, warehouse };
  return JSON.stringify({ ...facts, sink: verdict.sink, rest, flaws: flaws.slice(0, 5) });
}

/** The faults around the first thing that went wrong, and what files and logs say about it. */
export function renderStory(options: TortureOptions, result: TortureResult): string {
  const { findings, verdict, book, world, dir } = result;
  const flaw = verdict.firstFlaw;
  const lines = [`FAILED with seed ${options.seed}`, ...findings.map((text) => `  ✘ ${text}`)];
  const families = [...options.families].join(',');
  const load = options.load === 1 ? '' : ` --load ${options.load}`;
  const kills = options.kills === undefined ? '' : ` --kills ${options.kills}`;
  const over = options.transport === 'auto' ? '' : ` --transport ${options.transport}`;
  const only = options.only === '' ? '' : ` --only '${options.only}'`;
  lines.push(`  everything lies in ${dir}`);
  lines.push(
    `  again: npm run torture -- --seed ${options.seed} --seconds ${options.seconds} --faults ${families}${only}${kills}${load}${over}`,
  );
  const atMs = flaw?.ackedMs ?? world.complaints.all[0]?.atMs ?? book.faults.at(-1)?.atMs ?? 0;
  if (flaw !== undefined) {
    const when = flaw.ackedMs === undefined ? 'never' : isoTime(flaw.ackedMs);
    lines.push(
      '',
      `  first: node ${flaw.node} round ${flaw.round}, ${flaw.samples} samples ${flaw.what}, ` +
        `acknowledged ${when}`,
    );
  }
  for (const file of verdict.warehouse.filesOfFirstFlaw) lines.push(`    in ${file}`);
  lines.push('', '  faults around it:');
  for (const fault of book.between(atMs - STORY_BEFORE_MS, atMs + STORY_AFTER_MS)) {
    const end = fault.endMs === undefined ? '' : ` to ${isoTime(fault.endMs)}`;
    lines.push(`    ${isoTime(fault.atMs)}${end} ${fault.name} ${fault.note}`);
  }
  lines.push('', '  log around it:', ...logAround(world.supervisor.logDir, atMs));
  return `${lines.join('\n')}\n`;
}

function rowCells(name: string, row: FaultRow): string[] {
  const { times, ackedSamples, lost, doubled, partialFiles } = row;
  const figures = [times, ackedSamples, lost, doubled, partialFiles, ...recovery(row.recoveryMs)];
  return [name, ...figures.map(String)];
}

/** p50 and maximum; '' where there are none. */
function recovery(times: readonly number[]): (number | string)[] {
  if (times.length === 0) return ['', ''];
  const sorted = [...times].sort((a, b) => a - b);
  return [Math.round(sorted[sorted.length >> 1]!), Math.round(sorted[sorted.length - 1]!)];
}

function logAround(logDir: string, atMs: number): string[] {
  const found: string[] = [];
  for (const name of fs.readdirSync(logDir).sort()) {
    for (const text of fs.readFileSync(path.join(logDir, name), 'utf8').split('\n')) {
      const time = Number(/"time":"?(\d{13})/.exec(text)?.[1] ?? isoOf(text));
      const isNear = Math.abs(time - atMs) <= STORY_AFTER_MS;
      if (!isNear || text.includes('"stage":"listener"')) continue;
      found.push(`    ${name} ${text.slice(0, 300)}`);
    }
  }
  return found.length <= LOG_LINES_MAX ? found : found.slice(-LOG_LINES_MAX);
}

function isoOf(text: string): number {
  return Date.parse(/"time":"([^"]+)"/.exec(text)?.[1] ?? '');
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString().slice(11, 23);
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(0)} MiB`;
}
