/**
 * The rows that wait for a seal, whatever their hour.
 *
 *     take ──► row buffer ──full──► sorted, into the spill file ─┐
 *                   └──────────── sorted ──────────────────────► merge ──► row groups of one hour
 *
 * An hour costs nothing but the places of its rows: one batch may touch a thousand hours. Memory is
 * bounded by the buffer, the index of series, and the list of what was spilled; `bytes` counts all
 * of it, and the owner seals before it grows too large.
 */
import path from 'node:path';
import type { SeriesTable } from '../../../domain/telemetry.ts';
import type { FileSystem } from '../../../lib/filesystem.ts';
import type { RowGroup } from '../../../warehouse/encoder.ts';
import type { SortedRows } from '../../../warehouse/sorted-rows.ts';
import { HOUR_MS, hourOf, stagingDirectory, stagingName } from '../../../warehouse/warehouse.ts';
import type { WriterRecord } from '../writer.ts';
import { mergeRows, type RowSource } from './merge-rows.ts';
import { BUFFERED_ROW_BYTES, RowBuffer } from './row-buffer.ts';
import { SeriesIndex } from './series-index.ts';
import { SPILLED_BLOCK_BYTES, type SpilledBlock, SpillFile } from './spill-file.ts';

/** Row groups that wait in memory: more make fewer and longer stretches to merge. */
const BUFFERED_ROW_GROUPS = 6;
/** The part of the memory that rows may take. */
const BUFFER_SHARE = 1 / 4;
/** The part at which the index of series is cleared after a seal. */
const INDEX_SHARE = 1 / 2;
/** What an hour takes in the maps that know it, about. */
const HOUR_BYTES = 200;

export interface WaitingRowsOptions {
  readonly root: string;
  readonly collectorId: string;
  /** Of this writer, unlike any other's. */
  readonly incarnation: string;
  readonly rowGroupRows: number;
  /** What `bytes` should not pass: the owner seals there. */
  readonly memoryBytes: number;
}

/** The rows of one hour that lie in the spill file. */
interface SpilledHour {
  rows: number;
  /** One list for each spill, oldest first. */
  readonly spills: (readonly SpilledBlock[])[];
}

export class WaitingRows {
  readonly #options: WaitingRowsOptions;
  readonly #table: (id: string) => SeriesTable;
  readonly #buffer = new RowBuffer();
  readonly #spill: SpillFile;
  readonly #spilled = new Map<number, SpilledHour>();
  #spills = 0;
  #blocks = 0;
  #mostRows = 0;
  readonly #bufferRowsMax: number;
  readonly #indexBytesMax: number;
  #index: SeriesIndex;
  /** The buffer's rows by hour, sorted for the seal that is under way. */
  #sorted: ReadonlyMap<number, SortedRows> | undefined;

  constructor(fs: FileSystem, table: (id: string) => SeriesTable, options: WaitingRowsOptions) {
    this.#options = options;
    this.#table = table;
    this.#bufferRowsMax = Math.min(
      BUFFERED_ROW_GROUPS * options.rowGroupRows,
      Math.floor((options.memoryBytes * BUFFER_SHARE) / BUFFERED_ROW_BYTES),
    );
    this.#indexBytesMax = options.memoryBytes * INDEX_SHARE;
    this.#index = new SeriesIndex(this.#indexBytesMax);
    const name = stagingName(options.collectorId, options.incarnation, 'spill');
    this.#spill = new SpillFile(fs, path.join(stagingDirectory(options.root), name));
  }

  /** Hours with rows, oldest first; Unix ms of their start. */
  get hours(): number[] {
    const hours = new Set([...this.#spilled.keys(), ...this.#buffer.rowsByHour.keys()]);
    return [...hours].sort((a, b) => a - b);
  }

  get isEmpty(): boolean {
    return this.#spilled.size === 0 && this.#buffer.rows === 0;
  }

  get bufferedRows(): number {
    return this.#buffer.rows;
  }

  get series(): number {
    return this.#index.size;
  }

  /** What everything here takes in memory, about. */
  get bytes(): number {
    const hours = this.#spilled.size + this.#buffer.rowsByHour.size;
    const ofPlaces = this.#blocks * SPILLED_BLOCK_BYTES + hours * HOUR_BYTES;
    return this.#buffer.bytes + this.#index.bytes + ofPlaces;
  }

  /** Times that the buffer was full. */
  get spills(): number {
    return this.#spills;
  }

  /** What the rows take in staging. */
  get spilledBytes(): number {
    return this.#spill.bytes;
  }

  rowsOf(hourMs: number): number {
    return (this.#spilled.get(hourMs)?.rows ?? 0) + (this.#buffer.rowsByHour.get(hourMs) ?? 0);
  }

  /** The rows of the hour that has most of them. */
  get mostRows(): number {
    return this.#mostRows;
  }

  /**
   * Takes the rows of a record but those of the hours that `isWritten` names. Returns how many rows
   * that left out. Throws what the disk says; then some of the record's rows are here.
   */
  take(record: WriterRecord, isWritten: (hourMs: number) => boolean): number {
    const { nodeId, tableId, samples } = record;
    let ids: Uint32Array | undefined;
    const times = samples.timestampsMs;
    let skipped = 0;
    for (let from = 0; from < times.length; ) {
      const hourMs = hourOf(times[from]!);
      const to = endOfHour(times, from, hourMs);
      if (isWritten(hourMs)) skipped += to - from;
      else {
        ids ??= this.#index.resolve(nodeId, tableId, samples.series, this.#table);
        this.#append(hourMs, ids, record, from, to);
      }
      from = to;
    }
    return skipped;
  }

  #append(hourMs: number, ids: Uint32Array, record: WriterRecord, from: number, to: number): void {
    for (let start = from; start < to; ) {
      if (this.#buffer.rows >= this.#bufferRowsMax) this.#spillBuffer();
      const end = Math.min(to, start + this.#bufferRowsMax - this.#buffer.rows);
      this.#buffer.append(hourMs, ids, record.samples, record.receivedAtMs, start, end);
      start = end;
    }
    this.#mostRows = Math.max(this.#mostRows, this.rowsOf(hourMs));
  }

  #spillBuffer(): void {
    for (const [hourMs, sorted] of this.#buffer.sorted(this.#index)) {
      const blocks = this.#spill.append(sorted);
      const hour = this.#spilled.get(hourMs) ?? { rows: 0, spills: [] };
      hour.rows += sorted.values.length;
      hour.spills.push(blocks);
      this.#spilled.set(hourMs, hour);
      this.#blocks += blocks.length;
    }
    this.#buffer.clear();
    this.#spills += 1;
  }

  /**
   * All rows of an hour, sorted, as row groups. Nothing may be taken from the first call on until
   * `clear`. A group's arrays are valid until the next one is asked for.
   */
  rowGroups(hourMs: number): Generator<RowGroup> {
    this.#sorted ??= this.#buffer.sorted(this.#index);
    const sources: RowSource[] = (this.#spilled.get(hourMs)?.spills ?? []).map((blocks) =>
      this.#spill.read(blocks),
    );
    const inMemory = this.#sorted.get(hourMs);
    if (inMemory !== undefined) sources.push([inMemory].values());
    return mergeRows(sources, {
      cells: this.#index,
      ranks: this.#index.ranking().ranks,
      rows: this.rowsOf(hourMs),
      rowGroupRows: this.#options.rowGroupRows,
    });
  }

  /** Forgets every row. Never throws: a file left over is wiped when the writer opens next. */
  clear(): void {
    this.#sorted = undefined;
    this.#buffer.clear();
    this.#spilled.clear();
    this.#spills = 0;
    this.#blocks = 0;
    this.#mostRows = 0;
    // No row refers to it now.
    if (this.#index.bytes > this.#indexBytesMax) {
      this.#index = new SeriesIndex(this.#indexBytesMax);
    }
    this.#spill.abandon();
  }
}

/** The end of the samples from `from` on that lie in the hour starting at `hourMs`. */
function endOfHour(timestampsMs: Float64Array, from: number, hourMs: number): number {
  const endMs = hourMs + HOUR_MS;
  let to = from + 1;
  while (to < timestampsMs.length && timestampsMs[to]! >= hourMs && timestampsMs[to]! < endMs) to++;
  return to;
}
