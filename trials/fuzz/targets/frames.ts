/**
 * Stream bytes to frames, in cuts that a network may make.
 */
import { encodeFrame, FRAME_HEADER_BYTES, FrameSplitter } from '../../../src/codec/framing.ts';
import { type FuzzTarget, must } from '../fuzz-target.ts';

const FRAME_BYTES_MAX = 4096;

/** The splitter, against a plain reading of the same bytes. */
export function frameTarget(): FuzzTarget {
  const frames = [1, 3, 300, FRAME_BYTES_MAX].map((bytes) =>
    Buffer.from(encodeFrame(Buffer.alloc(bytes, bytes))),
  );
  return {
    name: 'frames',
    what: 'length-prefixed frames of a stream',
    seeds: [...frames, Buffer.concat(frames), Buffer.concat([...frames].reverse())],
    tokens: [Buffer.alloc(4), Buffer.from([0, 0, 0, 1]), Buffer.from([0xff, 0xff, 0xff, 0xff])],
    run(input) {
      const expected = plainReading(input);
      for (const cut of [1, 7, 1200, input.length + 1]) {
        must(JSON.stringify(inPieces(input, cut)) === JSON.stringify(expected), 'cuts do not show');
      }
    },
  };
}

interface Read {
  readonly frames: string[];
  readonly isBroken: boolean;
}

function inPieces(input: Buffer, pieceBytes: number): Read {
  const splitter = new FrameSplitter(FRAME_BYTES_MAX);
  const frames: string[] = [];
  let given = 0;
  for (let at = 0; at < input.length; at += pieceBytes) {
    const piece = input.subarray(at, at + pieceBytes);
    given += piece.length;
    const goesOn = splitter.push(piece, (frame) => frames.push(`${frame.length}:${frame[0]}`));
    must(splitter.bufferedBytes <= Math.min(given, FRAME_BYTES_MAX + 4), 'no more is held');
    must(goesOn === (splitter.brokenReason === undefined), 'a broken stream has a reason');
  }
  return { frames, isBroken: splitter.brokenReason !== undefined };
}

function plainReading(input: Buffer): Read {
  const frames: string[] = [];
  let at = 0;
  while (input.length - at >= FRAME_HEADER_BYTES) {
    const length = input.readUInt32BE(at);
    if (length === 0 || length > FRAME_BYTES_MAX) return { frames, isBroken: true };
    const end = at + FRAME_HEADER_BYTES + length;
    if (end > input.length) break;
    frames.push(`${length}:${input[at + FRAME_HEADER_BYTES]}`);
    at = end;
  }
  return { frames, isBroken: false };
}
