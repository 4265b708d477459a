/**
 * When the neighbour's points come to both destinations: to an InfluxDB that takes everything, and
 * into visible Parquet files. Rounds arrive in order, so the newest one tells of all before it.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { packageFile } from '../../src/lib/package-root.ts';
import { WarehouseQuery } from '../harness/warehouse-query.ts';
import { pause } from './attack.ts';

const LOOK_EVERY_MS = 25;
/** Each look into the warehouse reads the files that are new. */
const LOOK_INTO_FILES_EVERY_MS = 200;
const SETTLE_DEADLINE_MS = 60_000;
const NEWEST_ROUND = "SELECT max(value) AS round FROM m WHERE metric = 'neighbour_0'";

/** How long after it was sent a round's points were there, in ms. */
export interface Delay {
  readonly p50Ms: number;
  readonly maxMs: number;
  /** Rounds that never came. */
  readonly missing: number;
}

export interface ArrivalFigures {
  readonly influxdb: Delay;
  readonly parquet: Delay;
}

/** Which rounds a destination has, and since when. */
class Destination {
  readonly #arrivedMs: number[] = [];

  get rounds(): number {
    return this.#arrivedMs.length;
  }

  has(newestRound: number): void {
    const nowMs = performance.now();
    while (this.#arrivedMs.length < newestRound) this.#arrivedMs.push(nowMs);
  }

  /** Of the rounds after `from` up to `to`. */
  delay(sentMs: readonly number[], from: number, to: number): Delay {
    const arrived = this.#arrivedMs.slice(from, to);
    const delaysMs = arrived.map((ms, index) => ms - sentMs[from + index]!).sort((a, b) => a - b);
    const at = (share: number) => delaysMs[Math.floor(share * (delaysMs.length - 1))] ?? 0;
    return { p50Ms: at(0.5), maxMs: at(1), missing: to - from - arrived.length };
  }
}

export class Arrivals {
  readonly influxUrl: string;
  readonly #thread: Worker;
  readonly #newest: Int32Array;
  readonly #influxdb = new Destination();
  readonly #parquet = new Destination();
  readonly #sentMs: number[] = [];
  #isClosed = false;
  #watching: Promise<unknown> = Promise.resolve();

  private constructor(port: number, thread: Worker, newest: Int32Array) {
    this.influxUrl = `http://127.0.0.1:${port}`;
    this.#thread = thread;
    this.#newest = newest;
  }

  static async open(): Promise<Arrivals> {
    const newest = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
    const program = packageFile('dist/trials/flood/influx-thread.js');
    const thread = new Worker(program, { workerData: newest });
    const [port] = (await once(thread, 'message')) as [number];
    return new Arrivals(port, thread, new Int32Array(newest));
  }

  /** How many rounds were sent. */
  get sentRounds(): number {
    return this.#sentMs.length;
  }

  /** The neighbour sends its next round. */
  sent(): void {
    this.#sentMs.push(performance.now());
  }

  /** Looks at both destinations until it is closed. */
  watch(warehouseDir: string): void {
    this.#watching = Promise.all([this.#watchInflux(), this.#watchFiles(warehouseDir)]);
  }

  /** Waits until everything that was sent is in both, or for as long as one may wait for that. */
  async settled(): Promise<void> {
    const giveUpAtMs = performance.now() + SETTLE_DEADLINE_MS;
    const isThere = ({ rounds }: Destination) => rounds >= this.sentRounds;
    while (!(isThere(this.#influxdb) && isThere(this.#parquet))) {
      if (performance.now() > giveUpAtMs) return;
      await pause(LOOK_EVERY_MS);
    }
  }

  /** Of the rounds after `from` up to `to`. */
  figures(from: number, to: number): ArrivalFigures {
    return {
      influxdb: this.#influxdb.delay(this.#sentMs, from, to),
      parquet: this.#parquet.delay(this.#sentMs, from, to),
    };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#watching;
    await this.#thread.terminate();
  }

  async #watchInflux(): Promise<void> {
    while (!this.#isClosed) {
      this.#influxdb.has(Atomics.load(this.#newest, 0));
      await pause(LOOK_EVERY_MS);
    }
  }

  async #watchFiles(warehouseDir: string): Promise<void> {
    const warehouse = new WarehouseQuery(warehouseDir);
    const seen = new Set<string>();
    while (!this.#isClosed) {
      const files = warehouse.files().filter((file) => !seen.has(file));
      const [row] = await warehouse.rows(NEWEST_ROUND, files);
      this.#parquet.has(Number(row?.round ?? 0));
      for (const file of files) seen.add(file);
      await pause(LOOK_INTO_FILES_EVERY_MS);
    }
  }
}
