/**
 * A look into a journal from outside, for the command line: read-only, whether or not a daemon has
 * it open.
 */
import { JournalEnvironment, readJson } from './environment.ts';
import {
  IDENTITY_KEY,
  type JournalIdentity,
  loadCursors,
  STATE_KEY,
  type StoredState,
} from './journal-state.ts';
import type { LedgerSnapshot, WriterLedger } from '../ledger.ts';
import type { DamagedRecord } from '../log-reader.ts';
import { decodeRecord } from './record.ts';
import { countMembers } from './series-log.ts';

export interface WriterInspection extends WriterLedger {
  readonly cursor: number;
  readonly pendingRecords: number;
  readonly pendingSamples: number;
}

export interface JournalInspection {
  readonly id: string;
  readonly createdAtMs: number;
  readonly headSeq: number;
  readonly tailSeq: number;
  readonly records: number;
  readonly liveBytes: number;
  /** Free pages included. */
  readonly fileBytes: number;
  readonly producers: number;
  readonly tables: number;
  readonly series: number;
  readonly knownGaps: number;
  /** A daemon has it open now, or the last one ended without closing it. */
  readonly openOrUnclean: boolean;
  readonly acceptedSamples: number;
  readonly ledger: LedgerSnapshot;
  readonly writers: Readonly<Record<string, WriterInspection>>;
  /** Only when asked for: reads every record. */
  readonly damaged: readonly DamagedRecord[] | undefined;
}

/**
 * Throws OperatingError JOURNAL_MISSING, JOURNAL_FORMAT, JOURNAL_DAMAGED or JOURNAL_UNAVAILABLE.
 */
export async function inspectJournal(
  dir: string,
  options: { readonly checkRecords?: boolean } = {},
): Promise<JournalInspection> {
  const env = JournalEnvironment.openForReading(dir);
  try {
    return inspect(env, options.checkRecords === true);
  } finally {
    await env.close();
  }
}

function inspect(env: JournalEnvironment, checkRecords: boolean): JournalInspection {
  const { meta, log, producers, tables, series } = env.tables;
  const state = readJson<StoredState>(meta, STATE_KEY)!;
  const identity = readJson<JournalIdentity>(meta, IDENTITY_KEY)!;
  const { head, tail } = state;
  const writers: Record<string, WriterInspection> = {};
  for (const [writer, { position, ...figures }] of loadCursors(env)) {
    writers[writer] = {
      ...figures,
      cursor: position.seq,
      pendingRecords: head.seq - position.seq,
      pendingSamples: head.cumulativeSamples - position.cumulativeSamples,
    };
  }
  return {
    id: identity.id,
    createdAtMs: identity.createdAtMs,
    headSeq: head.seq,
    tailSeq: tail.seq,
    records: env.entries(log),
    liveBytes: head.cumulativeBytes - tail.cumulativeBytes,
    fileBytes: env.fileBytes,
    producers: env.entries(producers),
    tables: env.entries(tables),
    series: countMembers(series),
    knownGaps: state.gaps,
    openOrUnclean: !state.clean,
    acceptedSamples: head.cumulativeSamples,
    ledger: state.ledger,
    writers,
    damaged: checkRecords ? findDamaged(env, tail.seq, head.seq) : undefined,
  };
}

function findDamaged(env: JournalEnvironment, tailSeq: number, headSeq: number): DamagedRecord[] {
  const damaged: DamagedRecord[] = [];
  for (let seq = tailSeq + 1; seq <= headSeq; seq += 1) {
    const bytes = env.logBytes(seq);
    if (bytes === undefined) damaged.push({ seq, why: 'missing' });
    else {
      const record = decodeRecord(seq, bytes);
      if ('why' in record) damaged.push(record);
    }
  }
  return damaged;
}
