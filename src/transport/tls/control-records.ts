/**
 * What QUIC says beside its streams and TCP cannot: that a connection is kept alive, and why it
 * ends. Over TLS it stands between frames, as a record whose length no frame can have:
 *
 *     ffffffff | 0 close by the transport, 1 by the application | code u32 | length u16 | reason
 *     ffffffff | 2 ping
 *     ffffffff | 3 the answer to a ping                                          (big endian)
 *
 * A close is the last thing in its direction. Frames are a length and as many bytes; the reader
 * follows the lengths to know where a frame ends and looks at nothing else. The start of a frame is
 * handed on at once, for agents open their stream with the first byte of one.
 */
import { FrameFollower } from './frame-follower.ts';

/** Why a connection ends, in the words of QUIC. */
export interface CloseRecord {
  readonly isApplication: boolean;
  readonly code: number;
  readonly reason: string;
}

const MARK = 0xffff_ffff;
/** No frame is so long that its length begins with it. */
const MARK_BYTE = 0xff;
/** The mark and the kind. */
const HEAD_BYTES = 5;
const CLOSE_BYTES = 11;
const REASON_BYTES_MAX = 256;
const KIND = { transportClose: 0, applicationClose: 1, ping: 2, pong: 3 } as const;

/** A close, with a long reason cut. */
export function encodeClose({ isApplication, code, reason }: CloseRecord): Buffer {
  const text = Buffer.from(reason).subarray(0, REASON_BYTES_MAX);
  const record = Buffer.alloc(CLOSE_BYTES + text.length);
  record.writeUInt32BE(MARK, 0);
  record.writeUInt8(isApplication ? KIND.applicationClose : KIND.transportClose, 4);
  record.writeUInt32BE(code, 5);
  record.writeUInt16BE(text.length, 9);
  text.copy(record, CLOSE_BYTES);
  return record;
}

/** A ping, or the answer to one. */
export function encodePing(isAnswer: boolean): Buffer {
  const record = Buffer.alloc(HEAD_BYTES);
  record.writeUInt32BE(MARK, 0);
  record.writeUInt8(isAnswer ? KIND.pong : KIND.ping, 4);
  return record;
}

/** Takes one direction of a connection apart: frames on one side, control records on the other. */
export class ControlReader {
  readonly #frames = new FrameFollower();
  /** A record of which only the start has come; less than 300 bytes. */
  #held = Buffer.alloc(0);
  #close: CloseRecord | undefined;
  #isBroken = false;
  #pings = 0;

  /** How the peer ended the connection, once it has. What follows is not looked at. */
  get close(): CloseRecord | undefined {
    return this.#close;
  }

  /** Whether a record came that is none. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** Pings that came since the last call and want an answer. */
  takePings(): number {
    const pings = this.#pings;
    this.#pings = 0;
    return pings;
  }

  /** The parts of `chunk` that belong to frames, whole or not. */
  push(chunk: Buffer): Buffer[] {
    const bytes = this.#held.length > 0 ? Buffer.concat([this.#held, chunk]) : chunk;
    this.#held = Buffer.alloc(0);
    const parts: Buffer[] = [];
    let from = 0;
    let at = 0;
    while (at < bytes.length && this.#close === undefined && !this.#isBroken) {
      if (!this.#frames.isBetweenFrames || bytes[at] !== MARK_BYTE) {
        at += this.#frames.advanceInFrame(bytes, at);
        continue;
      }
      if (at > from) parts.push(bytes.subarray(from, at));
      const recordBytes = this.#readRecord(bytes.subarray(at));
      if (recordBytes === undefined) {
        this.#held = Buffer.from(bytes.subarray(at));
        return parts;
      }
      at += recordBytes;
      from = at;
    }
    if (at > from) parts.push(bytes.subarray(from, at));
    return parts;
  }

  /** Length of the record at the start of `bytes`; undefined where it is not whole yet. */
  #readRecord(bytes: Buffer): number | undefined {
    if (bytes.length < HEAD_BYTES) return undefined;
    const kind = bytes.readUInt8(4);
    const isMarked = bytes.readUInt32BE(0) === MARK;
    if (isMarked && kind === KIND.ping) this.#pings += 1;
    if (isMarked && (kind === KIND.ping || kind === KIND.pong)) return HEAD_BYTES;
    if (!isMarked || (kind !== KIND.transportClose && kind !== KIND.applicationClose)) {
      this.#isBroken = true;
      return bytes.length;
    }
    if (bytes.length < CLOSE_BYTES) return undefined;
    const end = CLOSE_BYTES + Math.min(bytes.readUInt16BE(9), REASON_BYTES_MAX);
    if (bytes.length < end) return undefined;
    this.#close = {
      isApplication: kind === KIND.applicationClose,
      code: bytes.readUInt32BE(5),
      reason: bytes.toString('utf8', CLOSE_BYTES, end),
    };
    return bytes.length;
  }
}
