/**
 * Opening: reads the rows that hold the state, settles which writers there are, and takes
 * the directory over in one transaction. Its time depends on nodes and tables, not on the backlog.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../lib/clock.ts';
import { type Cursor, Cursors, rewindCursor } from './cursors.ts';
import { JournalEnvironment, readJson, WriteList } from './environment.ts';
import {
  forkIdentity,
  IDENTITY_KEY,
  type JournalIdentity,
  loadCursors,
  loadState,
  newCursor,
  newIdentity,
  positionOf,
} from './journal-state.ts';
import { Ledger } from '../ledger.ts';
import { LiveTables } from './live-tables.ts';
import { Producers } from './producers.ts';
import { SeriesLog } from './series-log.ts';
import { type JournalCore, writeState } from './transactions.ts';

export interface OpeningOptions {
  readonly dir: string;
  readonly maxBytes: number;
  readonly writers: readonly string[];
  /**
   * The newest record of the journal `id` that a destination holds; 0 where none does. One beyond
   * the head proves that the journal is an older copy, and that the numbers after its head are
   * taken.
   */
  readonly newestSeen?: (id: string, headSeq: number) => number;
  /**
   * Up to which record the destination of `writer` says that it holds everything; undefined where
   * it does not say. Less than the writer's cursor proves that it is an older copy.
   */
  readonly heldUpTo?: (writer: string, journal: JournalIdentity) => number | undefined;
  /** Runs a step that waits, without end, while another process holds LMDB's write lock. */
  readonly watchStep?: <T>(step: () => T) => Promise<T>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface OpenedJournal {
  readonly core: JournalCore;
  readonly identity: JournalIdentity;
  /** The previous opening was not followed by a close. */
  readonly unclean: boolean;
  /** A destination holds records that this journal does not know: it is an older copy. */
  readonly rolledBack: boolean;
  /** A destination holds less than it once did: it is an older copy. */
  readonly destinationRolledBack: boolean;
  /** Records that such a destination lost and that this journal has no more. */
  readonly goneRecords: number;
}

/** What a destination that is an older copy lacks. */
interface Setback {
  readonly row: Cursor;
  readonly goneRecords: number;
}

/** Opens the environment and takes the lease; the directory must be locked. */
export async function openCore(options: OpeningOptions): Promise<OpenedJournal> {
  const { dir, maxBytes, watchStep = async (step) => step() } = options;
  const env = await watchStep(() => JournalEnvironment.openForWriting(dir, maxBytes));
  try {
    return await takeOver(env, options);
  } catch (error) {
    await env.close();
    throw error;
  }
}

async function takeOver(env: JournalEnvironment, options: OpeningOptions): Promise<OpenedJournal> {
  const { clock, logger } = options;
  const state = loadState(env);
  const stored = readJson<JournalIdentity>(env.tables.meta, IDENTITY_KEY);
  const { head, tail, gaps } = state;
  const seenSeq = stored === undefined ? 0 : (options.newestSeen?.(stored.id, head.seq) ?? 0);
  const rolledBack = stored !== undefined && seenSeq > head.seq;
  const identity = rolledBack
    ? forkIdentity(stored, head.seq, clock.nowMs())
    : (stored ?? newIdentity(clock.nowMs()));
  if (rolledBack) {
    logger.error(
      { headSeq: head.seq, seenSeq, oldId: stored.id, newId: identity.id },
      'the journal is an older copy of itself: it goes on under a new id',
    );
  }
  const core: JournalCore = {
    env,
    producers: new Producers(),
    tables: new LiveTables(),
    cursors: new Cursors(),
    ledger: new Ledger(() => core.head.cumulativeSamples),
    series: new SeriesLog(env.tables.series),
    head,
    tail,
    gaps,
  };
  for (const { key, why } of core.series.damaged) {
    logger.warn({ row: key, why }, 'known series are damaged: those in this row count as new');
  }
  core.ledger.restore(state.ledger);
  const producers = env.tables.producers.getRange().map(({ value }) => value);
  core.producers.restore(producers, clock.monotonicMs());
  restoreTables(core, clock.monotonicMs());
  const writes = new WriteList();
  const setbacks = settleCursors(core, options, identity, writes);
  writes.putJson(env.tables.meta, IDENTITY_KEY, identity);
  writeState(writes, core, {});
  await env.takeLease(writes);
  logger.info(
    {
      headSeq: head.seq,
      tailSeq: tail.seq,
      unclean: !state.clean,
      producers: core.producers.count,
    },
    'journal opened',
  );
  return {
    ...{ core, identity, unclean: !state.clean, rolledBack },
    destinationRolledBack: setbacks.length > 0,
    goneRecords: setbacks.reduce((sum, { goneRecords }) => sum + goneRecords, 0),
  };
}

/** When a table was used last is not stored: now, and by the newest record, is on the safe side. */
function restoreTables({ env, tables, head }: JournalCore, nowMs: number): void {
  const ids = [...env.tables.tables.getKeys()];
  const bytes = ids.length === 0 ? 0 : env.usedBytes(env.tables.tables) / ids.length;
  for (const id of ids) tables.use(id, bytes, head.seq, nowMs);
}

/**
 * Drops the cursors of writers that are gone, which would hold the log for ever, adds new ones, and
 * puts those back whose destination is an older copy.
 */
function settleCursors(
  core: JournalCore,
  options: OpeningOptions,
  identity: JournalIdentity,
  writes: WriteList,
): Setback[] {
  const { env, tail, cursors, ledger } = core;
  const stored = loadCursors(env);
  const setbacks: Setback[] = [];
  for (const [writer, row] of stored) {
    if (options.writers.includes(writer)) continue;
    writes.remove(env.tables.cursors, writer);
    options.logger.warn(
      { writer, cursor: row.position.seq, headSeq: core.head.seq },
      'writer is not configured any more: its cursor is dropped',
    );
  }
  for (const writer of options.writers) {
    const found = stored.get(writer);
    const setback = found && findSetback(core, options, { writer, row: found, identity });
    if (setback !== undefined) setbacks.push(setback);
    const row = setback?.row ?? found ?? newCursor(tail);
    cursors.add(writer, row);
    ledger.setWriter(writer, row);
    if (row === found) continue;
    writes.putJson(env.tables.cursors, writer, row);
    if (found !== undefined) continue;
    options.logger.info(
      { writer, cursor: row.position.seq },
      'new writer starts at the oldest record',
    );
  }
  return setbacks;
}

/** Undefined where the destination has all that the cursor says, or does not say what it has. */
function findSetback(
  core: JournalCore,
  { heldUpTo, logger }: OpeningOptions,
  { writer, row, identity }: { writer: string; row: Cursor; identity: JournalIdentity },
): Setback | undefined {
  const { env, head, tail } = core;
  const heldSeq = heldUpTo?.(writer, identity);
  if (heldSeq === undefined || heldSeq >= row.position.seq) return undefined;
  const position = heldSeq <= tail.seq ? tail : positionOf(env, heldSeq, head);
  const goneRecords = Math.max(0, tail.seq - heldSeq);
  const rewound = rewindCursor(row, position);
  logger.error(
    {
      ...{ writer, heldSeq, cursor: row.position.seq, goneRecords },
      requeuedSamples: rewound.requeued - row.requeued,
    },
    'the destination is an older copy of itself: what the journal still holds is written again',
  );
  return { row: rewound, goneRecords };
}
