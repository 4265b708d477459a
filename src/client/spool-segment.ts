/**
 * One file of a spool: records are appended until it is large enough, and it is removed as a whole
 * once none of its batches is needed any more. Synchronous, except for the waiting until bytes are
 * on disk: a record is tens of kilobytes into the page cache.
 */
import fs from 'node:fs';
import path from 'node:path';
import { encodeHeader, encodeRecord, RECORD_HEAD_BYTES, type SpoolRecord } from './spool-format.ts';

/** A place of a frame in a file. */
export interface FramePlace {
  readonly frameOffset: number;
  readonly bytes: number;
}

export class SpoolSegment {
  readonly path: string;
  readonly number: number;
  /** Batches in it that are still needed. */
  live = 0;
  /** It holds bytes that no writer left, and is kept aside instead of being removed. */
  isDamaged: boolean;
  #bytes: number;
  /** Undefined once nothing is appended any more. */
  #fd: number | undefined;
  #syncing: Promise<void> | undefined;
  #isDirty = false;

  /** A new file, with its header. Throws what the disk says. */
  static create(dir: string, number: number, nodeId: string): SpoolSegment {
    const file = path.join(dir, segmentName(number));
    const fd = fs.openSync(file, 'wx+', 0o640);
    const segment = new SpoolSegment(file, number, { fd, bytes: 0, isDamaged: false });
    try {
      segment.#write(encodeHeader(nodeId));
    } catch (error) {
      segment.close();
      fs.rmSync(file, { force: true });
      throw error;
    }
    return segment;
  }

  /** A file of an earlier run; nothing is appended to it. */
  static found(file: string, number: number, state: { bytes: number; isDamaged: boolean }) {
    return new SpoolSegment(file, number, { fd: undefined, ...state });
  }

  private constructor(
    file: string,
    number: number,
    state: { fd: number | undefined; bytes: number; isDamaged: boolean },
  ) {
    this.path = file;
    this.number = number;
    this.#fd = state.fd;
    this.#bytes = state.bytes;
    this.isDamaged = state.isDamaged;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Whether it has bytes that may not be on disk yet. */
  get isDirty(): boolean {
    return this.#isDirty;
  }

  /** Whether the file was removed from under its writer: what is appended then is lost. */
  get isGone(): boolean {
    return this.#fd !== undefined && fs.fstatSync(this.#fd).nlink === 0;
  }

  /** Appends a record and returns where its frame is. Throws with the file as it was. */
  append(
    record: Pick<SpoolRecord, 'kind' | 'epoch' | 'sequence' | 'sampleCount'>,
    frame: Uint8Array,
  ): FramePlace {
    const frameOffset = this.#bytes + RECORD_HEAD_BYTES;
    this.#write(encodeRecord(record, frame));
    return { frameOffset, bytes: frame.length };
  }

  /** The record at a place, head and frame, as the disk gives it. Throws what the disk says. */
  read({ frameOffset, bytes }: FramePlace): Buffer {
    const fd = this.#fd ?? fs.openSync(this.path, 'r');
    try {
      const record = Buffer.allocUnsafe(RECORD_HEAD_BYTES + bytes);
      let filled = 0;
      while (filled < record.length) {
        const at = frameOffset - RECORD_HEAD_BYTES + filled;
        const read = fs.readSync(fd, record, filled, record.length - filled, at);
        if (read === 0) break;
        filled += read;
      }
      return record.subarray(0, filled);
    } finally {
      if (fd !== this.#fd) fs.closeSync(fd);
    }
  }

  /** Resolves once what was appended before the call is on disk; rejects as the disk does. */
  sync(): Promise<void> {
    const fd = this.#fd;
    if (fd === undefined || this.#syncing !== undefined) return this.#syncing ?? Promise.resolve();
    this.#isDirty = false;
    this.#syncing = new Promise<void>((resolve, reject) => {
      fs.fsync(fd, (error) => {
        this.#syncing = undefined;
        if (this.#fd === undefined) fs.closeSync(fd);
        if (error === null) resolve();
        else reject(error);
      });
    });
    return this.#syncing;
  }

  /** Appends no more. */
  close(): void {
    const fd = this.#fd;
    this.#fd = undefined;
    this.#isDirty = false;
    // A sync that is under way closes the file when it has ended.
    if (fd !== undefined && this.#syncing === undefined) fs.closeSync(fd);
  }

  #write(bytes: Buffer): void {
    const fd = this.#fd;
    if (fd === undefined) throw new Error(`BUG: ${this.path} takes no more records`);
    this.#isDirty = true;
    try {
      for (let done = 0; done < bytes.length; ) {
        done += fs.writeSync(fd, bytes, done, bytes.length - done, this.#bytes + done);
      }
    } catch (error) {
      this.#takeBack(fd);
      throw error;
    }
    this.#bytes += bytes.length;
  }

  /** Part of a record may be there. Where it cannot be taken back, a reader sees a torn one. */
  #takeBack(fd: number): void {
    try {
      fs.ftruncateSync(fd, this.#bytes);
    } catch {
      // The writer goes on in another file: its owner gives a file up at the first error.
    }
  }
}

const SEGMENT_NAME = /^(\d{10})\.segment$/;

function segmentName(number: number): string {
  return `${String(number).padStart(10, '0')}.segment`;
}

/** The number in a file's name; undefined where it is no segment. */
export function segmentNumber(name: string): number | undefined {
  const digits = SEGMENT_NAME.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}
