/**
 * The lines of one write request, and where each came from: should the server refuse a line, it is
 * known which journal record it belongs to and how many samples it carries. Reused from request to
 * request.
 */
import type { WriterRecord } from '../writer.ts';

export class LineChunk {
  bytes: Uint8Array = new Uint8Array(0);
  /** Bytes in use. */
  length = 0;
  lines = 0;
  samples = 0;
  /** Line i ends before this offset, its line feed included. */
  lineEnd = new Uint32Array(1024);
  lineSamples = new Uint32Array(1024);
  /** Index into `records`. */
  lineRecord = new Uint32Array(1024);
  readonly records: WriterRecord[] = [];
  /** All lines of the records up to this seq are in this chunk or earlier ones; 0: of none. */
  completeSeq = 0;

  reset(): void {
    this.length = 0;
    this.lines = 0;
    this.samples = 0;
    this.records.length = 0;
    this.completeSeq = 0;
  }

  /** Makes room for `bytes` more. */
  reserve(bytes: number): void {
    if (this.length + bytes <= this.bytes.length) return;
    const larger = new Uint8Array(this.length + bytes);
    larger.set(this.bytes.subarray(0, this.length));
    this.bytes = larger;
  }

  /** Closes the line that ends at `end` with `samples` values of the last record. */
  endLine(end: number, samples: number): void {
    if (this.lines === this.lineEnd.length) this.#growLines();
    this.lineEnd[this.lines] = end;
    this.lineSamples[this.lines] = samples;
    this.lineRecord[this.lines] = this.records.length - 1;
    this.lines += 1;
    this.samples += samples;
    this.length = end;
  }

  /** The bytes of lines `from` up to, not including, `to`; a view. */
  view(from: number, to: number): Uint8Array {
    const start = from === 0 ? 0 : this.lineEnd[from - 1]!;
    return this.bytes.subarray(start, this.lineEnd[to - 1]!);
  }

  #growLines(): void {
    const grow = (old: Uint32Array<ArrayBuffer>) => {
      const larger = new Uint32Array(old.length * 2);
      larger.set(old);
      return larger;
    };
    this.lineEnd = grow(this.lineEnd);
    this.lineSamples = grow(this.lineSamples);
    this.lineRecord = grow(this.lineRecord);
  }
}
