/**
 * A writer that keeps what it is given and does what a test says.
 */
import type { Writer, WriterProgress, WriterRecord } from '../../src/collector/writers/writer.ts';

export class ScriptedWriter implements Writer {
  /** Seqs of each call that succeeded. */
  readonly written: number[][] = [];
  /** Seqs of every call. */
  readonly calls: number[][] = [];
  /** Runs before a call succeeds; what it throws, the call throws. */
  beforeWrite: (records: readonly WriterRecord[]) => void | Promise<void> = () => {};
  /** Keeps records back until `flush`, as the Parquet writer does. */
  holdsBack = false;
  readFrom?: () => number;
  owes?: () => boolean;
  backlog?: () => 'none' | 'some' | 'full';
  probe?: () => Promise<void>;
  ticks = 0;
  flushes = 0;
  #taken = 0;
  #waitingSamples = 0;

  async write(records: readonly WriterRecord[]): Promise<WriterProgress | undefined> {
    const seqs = records.map((record) => record.seq);
    this.calls.push(seqs);
    await this.beforeWrite(records);
    this.written.push(seqs);
    this.#taken = seqs.at(-1) ?? this.#taken;
    for (const { samples } of records) this.#waitingSamples += samples.values.length;
    return this.holdsBack ? undefined : this.#progress();
  }

  async tick(): Promise<undefined> {
    this.ticks += 1;
  }

  async flush(): Promise<WriterProgress | undefined> {
    this.flushes += 1;
    return this.#taken === 0 ? undefined : this.#progress();
  }

  #progress(): WriterProgress {
    const writtenSamples = this.#waitingSamples;
    this.#waitingSamples = 0;
    return { cursor: this.#taken, writtenSamples, deadLetteredSamples: 0 };
  }

  async close(): Promise<void> {}

  stats(): Record<string, number> {
    return { calls_total: this.calls.length };
  }
}
