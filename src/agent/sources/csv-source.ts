/**
 * Replays a DCGM export. Reads the file as a stream, a bounded number of rows per collection, and
 * can start again at its end with new times: such a file has each series once per scrape, so
 * a second pass with the first one's times would only overwrite it.
 */
import type { Clock } from '../../lib/clock.ts';
import { OperatingError } from '../../lib/errors.ts';
import type { Reading, Source, SourceReport } from '../../client/reading.ts';
import { type CsvRow, CsvRowReader } from './csv-row-reader.ts';
import { type DcgmCsvLayout, planDcgmCsv, readDcgmCsvRow } from './dcgm-csv.ts';
import { ReplayClock } from './replay-clock.ts';
import { SkipTally } from './skip-tally.ts';

export interface CsvSourceOptions {
  readonly path: string;
  /** Start again at the end of the file; needs `restamp`. */
  readonly loop?: boolean;
  /** Move the file's times to now, keeping the distances between them. Default: as `loop`. */
  readonly restamp?: boolean;
  /** With `restamp`: 1 replays as fast as it happened, 10 ten times as fast; 0 stamps each row with
   *  the time at which it is read and does not wait. */
  readonly speed?: number;
  /** Only rows whose hostname is this one. */
  readonly node?: string;
  /** Readings of one collection. */
  readonly maxReadings?: number;
}

/** Opens the file and reads its header. Throws CSV_UNREADABLE, CSV_HEADER, SOURCE_OPTIONS. */
export async function openCsvSource(options: CsvSourceOptions, clock: Clock): Promise<Source> {
  const { loop = false, restamp = loop, speed = 1 } = options;
  if (loop && !restamp)
    throw badOptions('a loop without restamp would only repeat the same points');
  if (!(speed >= 0)) throw badOptions(`speed ${speed} is not 0 or more`);
  const replay = restamp ? new ReplayClock(speed) : undefined;
  const source = new CsvSource({ ...options, loop }, clock, replay);
  await source.startPass();
  return source;
}

/** Rows looked at in one collection, so that a node filter cannot make one endless. */
const MAX_ROWS_PER_COLLECT = 200_000;

/** A row that was read but is not due yet. */
interface ReadRow {
  readonly readings: readonly Reading[];
  readonly number: number;
}

class CsvSource implements Source {
  readonly name = 'csv';
  readonly #options: CsvSourceOptions & { loop: boolean };
  readonly #clock: Clock;
  /** undefined where rows keep their own time. */
  readonly #replay: ReplayClock | undefined;
  #reader: CsvRowReader | undefined;
  #layout: DcgmCsvLayout | undefined;
  #rows: readonly CsvRow[] = [];
  #nextRow = 0;
  #waiting: ReadRow | undefined;
  #tally = new SkipTally();
  #done = false;

  constructor(
    options: CsvSourceOptions & { loop: boolean },
    clock: Clock,
    replay: ReplayClock | undefined,
  ) {
    this.#options = options;
    this.#clock = clock;
    this.#replay = replay;
  }

  /** Opens the file at its first row. */
  async startPass(): Promise<void> {
    const { path } = this.#options;
    this.#reader = await CsvRowReader.open(path);
    this.#rows = [];
    this.#nextRow = 0;
    this.#replay?.startPass();
    try {
      const header = await this.#readRow();
      const plan = header?.cells === undefined ? 'the file is empty' : planDcgmCsv(header.cells);
      if (typeof plan === 'string') {
        throw new OperatingError('CSV_HEADER', `cannot replay ${path}: ${plan}`);
      }
      this.#layout = plan;
    } catch (error) {
      await this.#endPass();
      throw error;
    }
  }

  async collect(): Promise<SourceReport> {
    const readings: Reading[] = [];
    if (!this.#done && this.#reader === undefined) await this.startPass();
    const { maxReadings = 10_000 } = this.#options;
    const nowMs = this.#clock.nowMs();
    for (let rows = 0; rows < MAX_ROWS_PER_COLLECT && readings.length < maxReadings; rows += 1) {
      const row = this.#waiting ?? (await this.#readReadings());
      if (row === undefined) {
        await this.#endPass();
        this.#done ||= !this.#options.loop;
        break;
      }
      this.#waiting = row;
      if (!this.#take(row, nowMs, readings)) break;
      this.#waiting = undefined;
    }
    const skipped = this.#tally.list();
    this.#tally = new SkipTally();
    return { readings, skipped, done: this.#done };
  }

  /**
   * Appends the readings of `row` with the times they are to have; false where it is not due yet.
   */
  #take(row: ReadRow, nowMs: number, readings: Reading[]): boolean {
    const [first] = row.readings;
    if (first === undefined) return true;
    const replay = this.#replay;
    if (replay === undefined) {
      for (const reading of row.readings) readings.push(reading);
      return true;
    }
    const timestampMs = replay.stamp(first.timestampMs, nowMs);
    if (replay.isLeap(timestampMs, nowMs)) {
      this.#tally.add(`row ${row.number}`, 'time leaps more than a day ahead');
      return true;
    }
    if (replay.isPaced && timestampMs > nowMs) return false;
    for (const reading of row.readings) readings.push({ ...reading, timestampMs });
    return true;
  }

  async close(): Promise<void> {
    this.#done = true;
    await this.#endPass();
  }

  async #endPass(): Promise<void> {
    const reader = this.#reader;
    this.#reader = undefined;
    this.#rows = [];
    this.#waiting = undefined;
    await reader?.close();
  }

  async #readRow(): Promise<CsvRow | undefined> {
    if (this.#nextRow >= this.#rows.length) {
      this.#rows = (await this.#reader?.next()) ?? [];
      this.#nextRow = 0;
    }
    const row = this.#rows[this.#nextRow];
    this.#nextRow += 1;
    return row;
  }

  /** The next row as readings, none where it has no usable value; undefined at the end. */
  async #readReadings(): Promise<ReadRow | undefined> {
    const row = await this.#readRow();
    if (row === undefined || this.#layout === undefined) return undefined;
    const readings: Reading[] = [];
    const skip = (what: string, why: string) => {
      this.#tally.add(what === '' ? `row ${row.number}` : what, why);
    };
    if (row.cells === undefined) skip('', row.why);
    else readDcgmCsvRow(this.#layout, row.cells, readings, skip);
    const { node } = this.#options;
    const [first] = readings;
    if (first !== undefined && node !== undefined && first.labels.hostname !== node) {
      this.#tally.add('rows of other nodes', 'node filter');
      return { readings: [], number: row.number };
    }
    return { readings, number: row.number };
  }
}

function badOptions(why: string): OperatingError {
  return new OperatingError('SOURCE_OPTIONS', `cannot replay a file: ${why}`);
}
