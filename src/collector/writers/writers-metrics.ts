/**
 * Metrics of the writers. Everything is read from the writers' status when a scrape comes.
 */
import type { Registry } from 'prom-client';
import { type LabelledValue, RoomMetrics } from '../../observability/metrics.ts';
import { WRITE_FAULT_REASONS } from './write-fault.ts';
import type { WriterName } from './writer.ts';
import type { WriterState, WriterStatus } from './writer-status.ts';

export interface WritersMetrics {
  /** Shows the writer from now on. */
  watch(name: WriterName, status: () => WriterStatus): void;
}

const STATES: readonly WriterState[] = ['running', 'backing_off', 'broken', 'stopped'];

interface Figure {
  readonly name: string;
  readonly help: string;
  readonly read: (status: WriterStatus) => number;
}

const GAUGES: readonly Figure[] = [
  {
    name: 'lag_records',
    help: 'Journal records that are not yet safe at the destination of the writer.',
    read: (status) => Math.max(0, status.headSeq - status.cursor),
  },
  {
    name: 'lag_seconds',
    help: 'Age of the oldest record, read or not, that is not yet safe; 0 if there is none.',
    read: (status) => status.lagMs / 1000,
  },
  {
    name: 'failing_seconds',
    help: 'How long the writer has failed without one success; 0 while all is well.',
    read: (status) => status.failingMs / 1000,
  },
  {
    name: 'last_success_timestamp_seconds',
    help: 'When something last became safe at the destination, in Unix time; 0 means never.',
    read: (status) => status.lastSuccessMs / 1000,
  },
  {
    name: 'breaker_open',
    help: '1 while writes keep failing and the writer only probes its destination, else 0.',
    read: (status) => (status.breaker === 'closed' ? 0 : 1),
  },
];

const TOTALS: readonly Figure[] = [
  {
    name: 'writes_total',
    help: 'Slices of the journal that the writer has taken without a failure.',
    read: (status) => status.writes,
  },
  {
    name: 'restarts_total',
    help: 'Times that the worker thread of the writer ended and a restart was planned.',
    read: (status) => status.restarts,
  },
  {
    name: 'dead_letters_total',
    help: 'Entries written to dead-letter files: refused lines and damaged journal records.',
    read: (status) => status.deadLetters.kept,
  },
  {
    name: 'damaged_records_total',
    help: 'Journal records that could not be read and were skipped.',
    read: (status) => status.damagedRecords,
  },
];

/**
 * The writers' own figures by their name in `Writer.stats`; names that end in `_total` are
 * counters.
 */
export const WRITER_STATS: Readonly<Record<string, string>> = {
  requests_total: 'Write requests answered by InfluxDB or failed on the way.',
  lines_total: 'Lines of line protocol that InfluxDB took; repeated ones count again.',
  fields_total: 'Field values in the lines that InfluxDB took.',
  line_bytes_total: 'Bytes of the lines that InfluxDB took, before compression.',
  sent_bytes_total: 'Bytes of request bodies sent to InfluxDB, after compression.',
  refused_lines_total: 'Lines that InfluxDB refused for good; they are dead letters.',
  searches_total: 'Requests that were split to find the lines that InfluxDB refuses.',
  plan_cache_bytes: 'Memory of prepared series tables.',
  backlog_bytes: 'Journal bytes of records that wait for the turn of their node.',
  backlog_later_records:
    'Records that are read again later, because their node has its share of memory waiting.',
  max_chunk_bytes: 'Largest request body that is sent, before compression.',
  open_partitions: 'Hours of event time with rows that are in no visible file yet.',
  buffered_rows: 'Rows in memory that are in no file yet.',
  staging_bytes: 'Sorted rows that wait in staging for the next files.',
  memory_bytes: 'Memory of waiting rows and series; bounded by parquet.memory_bytes.',
  indexed_series: 'Series that the warehouse writer keeps sorted.',
  disk_free_bytes: "Free space on the warehouse's file system.",
  visible_files: 'Files of the warehouse that readers can see.',
  visible_bytes: 'Bytes of the visible files.',
  rows_written_total: 'Rows in files that became visible.',
  rows_skipped_total: 'Repeated rows that visible files already held.',
  files_sealed_total: 'Files that became visible.',
  memory_seals_total: 'Times that files were finished early because of parquet.memory_bytes.',
  files_removed_total: 'Files removed because of their age or the size of the warehouse.',
  clock_jumps_total: 'Jumps of the wall clock of more than an hour and a half.',
  age_retention_held:
    '1 for a day after a clock jump, while no file is removed for its age; else 0.',
};

/** Creates the metrics of all writers on `registry`. */
export function createWritersMetrics(registry: Registry): WritersMetrics {
  const metrics = new RoomMetrics(registry, 'telemetry_collector_writers_');
  const watched = new Map<WriterName, () => WriterStatus>();
  const gauge = (name: string, help: string, read: Read) =>
    metrics.gaugeBy(['writer'], name, help, () => byWriter(watched, read));
  const total = (name: string, help: string, read: Read) =>
    metrics.totalBy(['writer'], name, help, () => byWriter(watched, read));
  for (const { name, help, read } of GAUGES) gauge(name, help, read);
  for (const { name, help, read } of TOTALS) total(name, help, read);
  for (const [stat, help] of Object.entries(WRITER_STATS)) {
    const declare = stat.endsWith('_total') ? total : gauge;
    declare(stat, help, (status) => status.stats[stat]);
  }
  metrics.gaugeBy(
    ['writer', 'state'],
    'state',
    '1 for the state that the writer is in, 0 for the others.',
    () => states(watched),
  );
  metrics.totalBy(
    ['writer', 'reason'],
    'write_failures_total',
    'Writes that failed and were tried again, by reason.',
    () => failures(watched),
  );
  metrics.totalBy(
    ['writer', 'node'],
    'dead_letters_skipped_total',
    'Dead letters past the bound of their node or of all: counted, not kept. By node, at most 50 ' +
      'of them; the others are `_other`.',
    () => skippedLetters(watched),
  );
  return { watch: (name, status) => void watched.set(name, status) };
}

type Watched = ReadonlyMap<WriterName, () => WriterStatus>;
type Read = (status: WriterStatus) => number | undefined;

/** A writer that does not know the figure is left out. */
function* byWriter(watched: Watched, read: Read): Generator<LabelledValue> {
  for (const [writer, status] of watched) {
    const figure = read(status());
    if (figure !== undefined) yield [{ writer }, figure];
  }
}

function* states(watched: Watched): Generator<LabelledValue> {
  for (const [writer, status] of watched) {
    const current = status().state;
    for (const state of STATES) yield [{ writer, state }, state === current ? 1 : 0];
  }
}

function* failures(watched: Watched): Generator<LabelledValue> {
  for (const [writer, status] of watched) {
    const counts = status().failures;
    for (const reason of WRITE_FAULT_REASONS) yield [{ writer, reason }, counts[reason] ?? 0];
  }
}

function* skippedLetters(watched: Watched): Generator<LabelledValue> {
  for (const [writer, status] of watched) {
    for (const [node, count] of Object.entries(status().deadLetters.skipped)) {
      yield [{ writer, node }, count];
    }
  }
}
