/**
 * What the journal says of itself to Prometheus. Figures that exist anyway are read when they are
 * asked for.
 */
import type { Registry } from 'prom-client';
import { RoomMetrics } from '../../observability/metrics.ts';

export interface JournalFigures {
  readonly liveBytes: number;
  readonly maxBytes: number;
  readonly freeBytes: number;
  readonly minFreeBytes: number;
  readonly fileBytes: number;
  readonly headSeq: number;
  readonly tailSeq: number;
  readonly gaps: number;
  readonly tables: number;
  readonly tableBytes: number;
  readonly producers: number;
  readonly queuedRecords: number;
  readonly queuedBytes: number;
  readonly unclean: boolean;
  readonly rolledBack: boolean;
  readonly destinationRolledBack: boolean;
  readonly goneRecords: number;
}

export interface JournalMetrics {
  /** One transaction; `records` is 0 where it added none. */
  observeCommit(seconds: number, records: number): void;
  countFailure(code: string): void;
  /** Whom to ask for the rest, from now on. */
  watch(figures: () => JournalFigures): void;
}

const GAUGES: readonly [name: string, help: string, value: (f: JournalFigures) => number][] = [
  ['live_bytes', 'Disk space of records that some writer still has to write.', (f) => f.liveBytes],
  ['max_bytes', 'The budget for live bytes, from journal.max_bytes.', (f) => f.maxBytes],
  ['disk_free_bytes', "Free space on the journal's file system.", (f) => f.freeBytes],
  [
    'disk_min_free_bytes',
    'Free space under which agents are throttled (journal.min_free_bytes).',
    (f) => f.minFreeBytes,
  ],
  ['file_bytes', 'Size of the data file, which never shrinks.', (f) => f.fileBytes],
  ['head_seq', 'Number of the newest record.', (f) => f.headSeq],
  ['tail_seq', 'Number of the newest record that has been removed.', (f) => f.tailSeq],
  ['tables', 'Series tables stored.', (f) => f.tables],
  ['table_bytes', 'Disk space of the series tables, about.', (f) => f.tableBytes],
  ['producers', 'Producers (node and epoch) with a duplicate window.', (f) => f.producers],
  ['queued_records', 'Records that wait for the next transaction.', (f) => f.queuedRecords],
  ['queued_bytes', 'Bytes of records that wait for the next transaction.', (f) => f.queuedBytes],
  [
    'unclean_start',
    '1 if the daemon before this one ended without closing the journal.',
    (f) => Number(f.unclean),
  ],
  [
    'rolled_back',
    '1 if the journal was found at start to be older than the one the warehouse was made from.',
    (f) => Number(f.rolledBack),
  ],
  [
    'destination_rolled_back',
    '1 if this start found the warehouse to be an older copy than what the journal had written.',
    (f) => Number(f.destinationRolledBack),
  ],
  [
    'destination_gone_records',
    'Records that this start found missing in the warehouse and no more in the journal.',
    (f) => f.goneRecords,
  ],
];

export function createJournalMetrics(registry: Registry): JournalMetrics {
  const metrics = new RoomMetrics(registry, 'telemetry_collector_journal_');
  let figures: (() => JournalFigures) | undefined;
  const read = (value: (figures: JournalFigures) => number) => () =>
    figures === undefined ? 0 : value(figures());
  for (const [name, help, value] of GAUGES) metrics.gauge(name, help, read(value));
  metrics.total(
    'sequence_gaps_total',
    'Sequences that an agent passed over and that can never be received.',
    read(({ gaps }) => gaps),
  );
  const commits = metrics.histogram(
    'commit_seconds',
    'Time for one transaction to reach the disk.',
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5],
  );
  const groups = metrics.histogram(
    'group_records',
    'Records made durable by one transaction.',
    [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024],
  );
  const appends = metrics.counter('appends_total', 'Records made durable.');
  const failures = metrics.counter('failures_total', 'Transactions that failed, by error code.', [
    'code',
  ]);
  for (const code of ['JOURNAL_FULL', 'JOURNAL_UNAVAILABLE']) failures.inc({ code }, 0);
  return {
    observeCommit(seconds, records) {
      commits.observe(seconds);
      if (records === 0) return;
      groups.observe(records);
      appends.inc(records);
    },
    countFailure: (code) => failures.inc({ code }),
    watch(source) {
      figures = source;
    },
  };
}
