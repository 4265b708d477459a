/**
 * A journal in a directory of its own, closed and removed when the test ends, and entries to put
 * into it.
 */
import { createHash } from 'node:crypto';
import { Registry } from 'prom-client';
import { expect, onTestFinished } from 'vitest';
import { Journal, type JournalOptions } from '../../src/journal/lmdb/journal.ts';
import { createJournalMetrics } from '../../src/journal/lmdb/journal-metrics.ts';
import type { JournalEntry } from '../../src/journal/append-log.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { SeriesTable } from '../../src/domain/telemetry.ts';
import { createRecordingLogger } from './recording-logger.ts';

export const WRITERS = ['influxdb', 'parquet'] as const;

/** Opens the journal in `dir` with a roomy budget; `options` override. */
export async function openJournal(
  dir: string,
  options: Partial<JournalOptions> = {},
): Promise<Journal> {
  const journal = await Journal.open({
    dir,
    maxBytes: 2 ** 32,
    minFreeBytes: 0,
    writers: WRITERS,
    clock: systemClock,
    logger: createRecordingLogger().logger,
    metrics: createJournalMetrics(new Registry()),
    ...options,
  });
  onTestFinished(() => journal.close());
  return journal;
}

/** A table that the journal can store; nothing here decodes it. */
export function opaqueTable(name: string, length = 200): SeriesTable {
  const bytes = Buffer.alloc(length, `${name} `);
  const id = createHash('sha256').update(bytes).digest('hex').slice(0, 32);
  return { id, bytes, series: [] };
}

const TABLE = opaqueTable('table');

/** A batch of `samples` samples whose values tell its sequence. */
export function entryOf(
  sequence: number,
  overrides: Partial<JournalEntry> & { readonly size?: number } = {},
): JournalEntry {
  const { size = 10, ...rest } = overrides;
  return {
    nodeId: 'node-1',
    epoch: 1,
    sequence,
    receivedAtMs: 1_700_000_000_000 + sequence,
    table: TABLE,
    samples: {
      series: Uint32Array.from({ length: size }, (_, index) => index),
      timestampsMs: new Float64Array(size).fill(1_700_000_000_000),
      values: new Float64Array(size).fill(sequence),
    },
    outcome: { received: size },
    ...rest,
  };
}

/**
 * Moves a cursor over records of `size` samples each, as a writer that wrote all of them but
 * `deadLettered`.
 */
export function passTo(
  journal: Journal,
  writer: string,
  cursor: number,
  { size = 10, deadLettered = 0 } = {},
): Promise<void> {
  const passed = (cursor - journal.cursor(writer)) * size;
  const writtenSamples = Math.max(0, passed - deadLettered);
  return journal.commitCursor(writer, {
    cursor,
    writtenSamples,
    deadLetteredSamples: deadLettered,
  });
}

/** Both equations of the ledger, as they must hold at every instant. */
export function expectEvenBooks(journal: Journal): void {
  const { ledger } = journal;
  expect(ledger.receivedImbalance()).toBe(0);
  for (const [writer, { written, deadLettered, skipped }] of ledger.writers) {
    const pending = journal.pendingSamples(writer);
    expect(ledger.writerImbalance(writer, pending)).toBe(0);
    expect(Math.min(written, deadLettered, skipped, pending)).toBeGreaterThanOrEqual(0);
  }
}
