/**
 * From readings to batches. Each series gets a place in a table when it is first seen and keeps it,
 * so that a table's bytes stay the same while the set of series does: the collector compares bytes
 * and resolves a table only when they differ.
 *
 * Series are spread over several tables, none larger than one batch may use: a batch carries its
 * table, and one big table would travel with every small batch. A table is encoded again only when
 * it gets new series, or when many of its series have not been seen for a while.
 */
import { encodeSeriesTable } from '../codec/series-table.ts';
import type { SampleColumns, Series, SeriesTable } from '../domain/telemetry.ts';
import type { Reading, SkippedReading } from './reading.ts';

export interface BuiltBatch {
  readonly table: SeriesTable;
  readonly samples: SampleColumns;
}

export interface BuildResult {
  readonly batches: readonly BuiltBatch[];
  /** Readings that no batch can carry. */
  readonly skipped: readonly SkippedReading[];
}

/** What the collector takes in one batch, as its Hello says. */
export interface BatchLimits {
  readonly maxBatchSamples: number;
  readonly maxBatchBytes: number;
  /** Of each series; one that is over them would cost its whole batch. 0, or absent: not said. */
  readonly maxNameBytes?: number;
  readonly maxLabelsPerSeries?: number;
  readonly maxLabelValueBytes?: number;
  /** UTC hours that the samples of a batch may fall into. 0, or absent: not said. */
  readonly maxHoursPerBatch?: number;
}

/** Every limit by which a place in a table was given. */
const LAYOUT_LIMITS = [
  'maxBatchSamples',
  'maxBatchBytes',
  'maxNameBytes',
  'maxLabelsPerSeries',
  'maxLabelValueBytes',
] as const;

export interface BatchBuilderOptions {
  /** Series in all tables together; readings of further ones are skipped. Default 100,000. */
  readonly maxSeries?: number;
  /** Builds after which an unseen series counts as gone. Default 60. */
  readonly goneAfterBuilds?: number;
}

/** The most that one sample takes in a batch: series index, time difference, value. */
const SAMPLE_BYTES_MAX = 5 + 10 + 8;
/** Node id, numbers and field headers of a batch. */
const BATCH_OVERHEAD_BYTES = 1024;
/** A table may take this part of a batch's bytes; the rest is for samples. */
const TABLE_SHARE = 0.5;
/** What a series takes in a table beside its strings: symbol references and headers. */
const SERIES_OVERHEAD_BYTES = 24;
const LABEL_OVERHEAD_BYTES = 12;
const HOUR_MS = 3_600_000;

interface Entry {
  readonly series: Series;
  /** An upper bound of what the series adds to its table. */
  readonly bytes: number;
  readonly shard: Shard;
  index: number;
  lastSeenBuild: number;
}

/** The series that share one table. */
interface Shard {
  keys: string[];
  bytes: number;
  table: SeriesTable | undefined;
  /** Samples of the present build. */
  series: number[];
  timestampsMs: number[];
  values: number[];
}

export class BatchBuilder {
  readonly #maxSeries: number;
  readonly #goneAfterBuilds: number;
  readonly #entries = new Map<string, Entry>();
  #shards: Shard[] = [];
  #limits: BatchLimits | undefined;
  #build = 0;

  constructor(options: BatchBuilderOptions = {}) {
    this.#maxSeries = options.maxSeries ?? 100_000;
    this.#goneAfterBuilds = options.goneAfterBuilds ?? 60;
  }

  /** Series that have a place in a table. */
  get seriesCount(): number {
    return this.#entries.size;
  }

  /** Turns readings into batches within the limits, in the readings' order within each table. */
  build(readings: readonly Reading[], limits: BatchLimits): BuildResult {
    this.#build += 1;
    this.#adopt(limits);
    const skips = new SkipCounts();
    for (const reading of readings) this.#place(reading, limits, skips);
    const batches = this.#shards.flatMap((shard) => takeBatches(shard, this.#entries, limits));
    this.#dropGone();
    return { batches, skipped: skips.list() };
  }

  /** Tables were laid out for the limits; with tighter ones they start over. */
  #adopt(limits: BatchLimits): void {
    const old = this.#limits;
    this.#limits = limits;
    if (old === undefined) return;
    if (!LAYOUT_LIMITS.some((name) => bound(limits[name]) < bound(old[name]))) return;
    this.#entries.clear();
    this.#shards = [];
  }

  #place(reading: Reading, limits: BatchLimits, skips: SkipCounts): void {
    const why = flawOf(reading);
    if (why !== undefined) {
      skips.count(reading.name, why);
      return;
    }
    const entry = this.#entryOf(reading, limits);
    if (typeof entry === 'string') {
      skips.count(reading.name, entry);
      return;
    }
    entry.lastSeenBuild = this.#build;
    entry.shard.series.push(entry.index);
    entry.shard.timestampsMs.push(reading.timestampMs);
    entry.shard.values.push(reading.value);
  }

  /** The reading's place, or why it gets none. */
  #entryOf(reading: Reading, limits: BatchLimits): Entry | string {
    const key = seriesKey(reading);
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    if (this.#entries.size >= this.#maxSeries) {
      return `over ${this.#maxSeries} series of this agent`;
    }
    const series = seriesOf(reading);
    const why = overLimit(series, limits);
    if (why !== undefined) return why;
    const bytes = seriesBytes(series);
    const room = tableRoom(limits);
    if (bytes > room) return 'the series alone is too large for a batch';
    const shard = this.#shardFor(bytes, room, limits.maxBatchSamples);
    const entry = { series, bytes, shard, index: shard.keys.length, lastSeenBuild: this.#build };
    shard.keys.push(key);
    shard.bytes += bytes;
    shard.table = undefined;
    this.#entries.set(key, entry);
    return entry;
  }

  #shardFor(bytes: number, room: number, maxSeries: number): Shard {
    const last = this.#shards.at(-1);
    if (last !== undefined && last.bytes + bytes <= room && last.keys.length < maxSeries) {
      return last;
    }
    const shard: Shard = {
      keys: [],
      bytes: 0,
      table: undefined,
      series: [],
      timestampsMs: [],
      values: [],
    };
    this.#shards.push(shard);
    return shard;
  }

  /** Rebuilds a table when more than half of its series are gone. */
  #dropGone(): void {
    const oldest = this.#build - this.#goneAfterBuilds;
    for (const shard of this.#shards) {
      const alive = shard.keys.filter((key) => this.#entries.get(key)!.lastSeenBuild > oldest);
      if (alive.length * 2 >= shard.keys.length) continue;
      this.#shrink(shard, new Set(alive));
    }
    this.#shards = this.#shards.filter((shard) => shard.keys.length > 0);
  }

  #shrink(shard: Shard, alive: ReadonlySet<string>): void {
    const keys = shard.keys.filter((key) => {
      if (!alive.has(key)) this.#entries.delete(key);
      return alive.has(key);
    });
    shard.keys = keys;
    shard.bytes = 0;
    shard.table = undefined;
    keys.forEach((key, index) => {
      const entry = this.#entries.get(key)!;
      entry.index = index;
      shard.bytes += entry.bytes;
    });
  }
}

/** Skipped readings by name and reason. */
class SkipCounts {
  readonly #counts = new Map<string, SkippedReading>();

  count(what: string, why: string): void {
    const key = `${what}\0${why}`;
    const count = (this.#counts.get(key)?.count ?? 0) + 1;
    this.#counts.set(key, { what, why, count });
  }

  list(): SkippedReading[] {
    return [...this.#counts.values()];
  }
}

function takeBatches(
  shard: Shard,
  entries: ReadonlyMap<string, Entry>,
  limits: BatchLimits,
): BuiltBatch[] {
  const total = shard.series.length;
  if (total === 0) return [];
  shard.table ??= encodeSeriesTable(shard.keys.map((key) => entries.get(key)!.series));
  const { table } = shard;
  const samplesRoom = limits.maxBatchBytes - table.bytes.length - BATCH_OVERHEAD_BYTES;
  const most = Math.max(1, Math.floor(samplesRoom / SAMPLE_BYTES_MAX));
  const step = Math.min(limits.maxBatchSamples, most);
  const hoursMax = bound(limits.maxHoursPerBatch);
  const batches: BuiltBatch[] = [];
  for (let start = 0; start < total; ) {
    const end = endOfHours(shard.timestampsMs, start, Math.min(total, start + step), hoursMax);
    batches.push({
      table,
      samples: {
        series: Uint32Array.from(shard.series.slice(start, end)),
        timestampsMs: Float64Array.from(shard.timestampsMs.slice(start, end)),
        values: Float64Array.from(shard.values.slice(start, end)),
      },
    });
    start = end;
  }
  shard.series = [];
  shard.timestampsMs = [];
  shard.values = [];
  return batches;
}

/** Where a batch that begins at `start` must end, at `end` or before it has too many hours. */
function endOfHours(
  timestampsMs: readonly number[],
  start: number,
  end: number,
  hoursMax: number,
): number {
  const hours = new Set<number>();
  for (let at = start; at < end; at += 1) {
    hours.add(Math.floor(timestampsMs[at]! / HOUR_MS));
    if (hours.size > hoursMax) return at;
  }
  return end;
}

/** Why no collector could take the reading; undefined where one could. */
function flawOf(reading: Reading): string | undefined {
  if (reading.name === '') return 'no metric name';
  if (!Number.isFinite(reading.value)) return 'the value is not a finite number';
  if (!Number.isSafeInteger(reading.timestampMs)) return 'the time is not whole milliseconds';
  return undefined;
}

/** Tells series apart; separators cannot be confused with text because lengths come first. */
function seriesKey(reading: Reading): string {
  const { labels } = reading;
  let key = `${reading.kind}|${reading.unit.length}:${reading.unit}|${reading.name}`;
  const names = Object.keys(labels).sort();
  for (const name of names) {
    const value = labels[name]!;
    if (name !== '' && value !== '') key += `|${name.length}:${value.length}:${name}${value}`;
  }
  return key;
}

function seriesOf(reading: Reading): Series {
  const labels = Object.entries(reading.labels)
    .filter(([name, value]) => name !== '' && value !== '')
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return { name: reading.name, labels, kind: reading.kind, unit: reading.unit };
}

/** A limit that the collector did not say does not bind. */
function bound(limit: number | undefined): number {
  return limit === undefined || limit === 0 ? Number.POSITIVE_INFINITY : limit;
}

/** Why the collector would refuse every batch with this series; undefined where it would not. */
function overLimit({ name, unit, labels }: Series, limits: BatchLimits): string | undefined {
  const nameBytes = bound(limits.maxNameBytes);
  const isLong = (text: string) => utf8Bytes(text) > nameBytes;
  if (isLong(name) || isLong(unit) || labels.some(([key]) => isLong(key))) {
    return `a name, label or unit is over ${nameBytes} bytes, the collector's limit`;
  }
  const labelCount = bound(limits.maxLabelsPerSeries);
  if (labels.length > labelCount) return `over ${labelCount} labels, the collector's limit`;
  const valueBytes = bound(limits.maxLabelValueBytes);
  if (labels.some(([, value]) => utf8Bytes(value) > valueBytes)) {
    return `a label's value is over ${valueBytes} bytes, the collector's limit`;
  }
  return undefined;
}

function tableRoom(limits: BatchLimits): number {
  return Math.floor(limits.maxBatchBytes * TABLE_SHARE) - BATCH_OVERHEAD_BYTES;
}

/** An upper bound, as if no string were shared with another series. */
function seriesBytes(series: Series): number {
  let bytes = SERIES_OVERHEAD_BYTES + utf8Bytes(series.name) + utf8Bytes(series.unit);
  for (const [name, value] of series.labels) {
    bytes += LABEL_OVERHEAD_BYTES + utf8Bytes(name) + utf8Bytes(value);
  }
  return bytes;
}

function utf8Bytes(text: string): number {
  return Buffer.byteLength(text, 'utf8');
}
