/**
 * What goes into one transaction and what it changes in memory afterwards: one plan for records,
 * one for everything else. A plan changes nothing until its `fold`, which runs after the commit.
 */
import type { SeriesChange } from '../../domain/telemetry.ts';
import type { QueuedAppend } from './append-queue.ts';
import { type Cursor, type CursorMove, type Cursors, moveCursor } from './cursors.ts';
import { diskBytes } from './disk-budget.ts';
import { type JournalEnvironment, WriteList } from './environment.ts';
import { positionOf, STATE_KEY, type StoredState } from './journal-state.ts';
import type { Ledger, LedgerSnapshot } from '../ledger.ts';
import type { LiveTables } from './live-tables.ts';
import type { Now, ProducerPlan, Producers } from './producers.ts';
import { type Position, sealRecord } from './record.ts';
import type { SeriesLog } from './series-log.ts';

/** Records that one transaction removes at most, so that appends never wait long. */
export const MAX_TRIM_RECORDS = 512;
const MAX_TABLES_REMOVED = 64;
const MAX_PRODUCERS_FORGOTTEN = 256;
const HOUR_MS = 3600 * 1000;
const PRODUCER_RETENTION_MS = 30 * 24 * HOUR_MS;

/** The journal as memory knows it: exactly what the last commit left on disk. */
export interface JournalCore {
  readonly env: JournalEnvironment;
  readonly producers: Producers;
  readonly tables: LiveTables;
  readonly cursors: Cursors;
  readonly ledger: Ledger;
  readonly series: SeriesLog;
  head: Position;
  tail: Position;
  gaps: number;
}

export interface PlannedTransaction {
  readonly writes: WriteList;
  /** The books as the transaction stores them. */
  readonly books: LedgerSnapshot;
  fold(): void;
}

/** Seals the records of `group` with the positions after the head. */
export function planAppends(
  core: JournalCore,
  group: readonly QueuedAppend[],
  now: Now,
): PlannedTransaction {
  const { env, tables } = core;
  const writes = new WriteList();
  const newTables = new Set<string>();
  let head = core.head;
  for (const { record, table, samples } of group) {
    let bytes = diskBytes(record.length);
    if (!tables.has(table.id) && !newTables.has(table.id)) {
      newTables.add(table.id);
      bytes += diskBytes(table.bytes.length);
      writes.put(env.tables.tables, table.id, table.bytes);
    }
    head = {
      seq: head.seq + 1,
      cumulativeSamples: head.cumulativeSamples + samples,
      cumulativeBytes: head.cumulativeBytes + bytes,
    };
    sealRecord(record, head);
    writes.put(env.tables.log, head.seq, record);
  }
  const producers = core.producers.plan(group, now);
  writeProducers(writes, env, producers);
  const gaps = core.gaps + producers.gaps;
  const outcomes = group.map(({ outcome }) => outcome);
  const books = core.ledger.with(outcomes);
  writeState(writes, core, { head, gaps, ledger: books });
  return {
    writes,
    books,
    fold() {
      const firstSeq = core.head.seq + 1;
      group.forEach(({ table }, index) => {
        tables.use(table.id, diskBytes(table.bytes.length), firstSeq + index, now.monotonicMs);
      });
      core.head = head;
      core.gaps = gaps;
      core.ledger.bookDurable(outcomes);
      producers.fold();
    },
  };
}

export interface MaintenanceWork {
  readonly moves: readonly CursorMove[];
  readonly series: readonly SeriesChange[];
}

/** Moves cursors, removes what is no longer needed, and stores what else has changed. */
export function planMaintenance(
  core: JournalCore,
  { moves, series }: MaintenanceWork,
  now: Now,
): PlannedTransaction {
  const { env } = core;
  const writes = new WriteList();
  const rows = new Map<string, Cursor>(core.cursors.rows);
  for (const { writer, progress } of moves) {
    const position = positionOf(env, progress.cursor, core.head);
    const row = moveCursor(core.cursors.row(writer), position, progress);
    rows.set(writer, row);
    writes.putJson(env.tables.cursors, writer, row);
  }
  const tail = planTrim(writes, core, core.cursors.slowest(rows));
  const tables = core.tables.unneeded(tail.seq, now.monotonicMs, MAX_TABLES_REMOVED);
  for (const id of tables) writes.remove(env.tables.tables, id);
  const producers = core.producers.planForgetting(
    { wallMs: now.wallMs - PRODUCER_RETENTION_MS, monotonicMs: now.monotonicMs - HOUR_MS },
    MAX_PRODUCERS_FORGOTTEN,
  );
  writeProducers(writes, env, producers);
  const foldSeries = core.series.plan(writes, series);
  writeState(writes, core, { tail });
  return {
    writes,
    books: core.ledger.books,
    fold() {
      core.tail = tail;
      core.tables.removed(tables);
      producers.fold();
      foldSeries();
      for (const [writer, row] of rows) core.ledger.setWriter(writer, row);
      core.cursors.succeed(moves, rows);
    },
  };
}

/** The present state row, with what a transaction changes of it. */
export function writeState(
  writes: WriteList,
  core: JournalCore,
  changes: Partial<StoredState>,
): void {
  const { head, tail, gaps, ledger } = core;
  const state: StoredState = { head, tail, gaps, clean: false, ledger: ledger.books };
  writes.putJson(core.env.tables.meta, STATE_KEY, { ...state, ...changes });
}

/** Removes a slice of what every writer has passed; returns the new tail. */
function planTrim(
  writes: WriteList,
  { env, head, tail }: JournalCore,
  slowest: Position | undefined,
): Position {
  if (slowest === undefined || slowest.seq <= tail.seq) return tail;
  const lastSeq = Math.min(slowest.seq, tail.seq + MAX_TRIM_RECORDS);
  for (let seq = tail.seq + 1; seq <= lastSeq; seq += 1) writes.remove(env.tables.log, seq);
  return lastSeq === slowest.seq ? slowest : positionOf(env, lastSeq, head);
}

function writeProducers(writes: WriteList, env: JournalEnvironment, plan: ProducerPlan): void {
  for (const { key, value } of plan.puts) writes.put(env.tables.producers, key, value);
  for (const key of plan.removes) writes.remove(env.tables.producers, key);
}
