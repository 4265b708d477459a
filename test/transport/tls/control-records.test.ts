import { describe, expect, test } from 'vitest';
import {
  ControlReader,
  encodeClose,
  encodePing,
} from '../../../src/transport/tls/control-records.ts';
import { FrameFollower } from '../../../src/transport/tls/frame-follower.ts';

function frame(text: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(Buffer.byteLength(text));
  return Buffer.concat([length, Buffer.from(text)]);
}

const CLOSE = { isApplication: true, code: 0x1003, reason: 'too many connections' };

/** Everything between the frames of `bytes`, which come in chunks of `size`. */
function read(bytes: Buffer, size: number) {
  const reader = new ControlReader();
  const frames: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    frames.push(...reader.push(bytes.subarray(at, at + size)));
  }
  return { frames: Buffer.concat(frames), close: reader.close, pings: reader.takePings(), reader };
}

describe('control records', () => {
  const frames = Buffer.concat([frame('first'), frame(''), frame('x'.repeat(300))]);

  test.each([1, 2, 3, 4, 5, 7, 64, 4096])('are told from frames in chunks of %i bytes', (size) => {
    const bytes = Buffer.concat([
      encodePing(false),
      frames,
      encodePing(true),
      encodePing(false),
      frames,
      encodeClose(CLOSE),
    ]);
    const result = read(bytes, size);
    expect(result.frames.equals(Buffer.concat([frames, frames]))).toBe(true);
    expect(result.close).toEqual(CLOSE);
    expect(result.pings).toBe(2);
  });

  test('inside a frame are data', () => {
    const bytes = frame(encodeClose(CLOSE).toString('latin1').replaceAll('\xff', 'f'));
    const hidden = Buffer.concat([Buffer.from([0, 0, 0, 5]), encodePing(false)]);
    expect(read(hidden, 3)).toMatchObject({ close: undefined, pings: 0 });
    expect(read(bytes, 3).close).toBeUndefined();
  });

  test('do not hold back the first byte of a frame', () => {
    const reader = new ControlReader();
    expect(Buffer.concat(reader.push(Buffer.from([0])))).toHaveLength(1);
    expect(Buffer.concat(reader.push(Buffer.from([0, 0, 2, 1])))).toHaveLength(4);
  });

  test('after a close nothing is read', () => {
    const result = read(Buffer.concat([encodeClose(CLOSE), frames]), 5);
    expect(result.frames).toHaveLength(0);
  });

  test.each([
    ['of an unknown kind', Buffer.from([0xff, 0xff, 0xff, 0xff, 9])],
    ['with half a mark', Buffer.from([0xff, 0xff, 0, 0, 2])],
  ])('%s are a fault', (_what, bytes) => {
    expect(read(bytes, 2).reader.isBroken).toBe(true);
  });

  test('carry a long reason cut', () => {
    const close = { isApplication: false, code: 304, reason: 'r'.repeat(1000) };
    expect(read(encodeClose(close), 50).close).toEqual({ ...close, reason: 'r'.repeat(256) });
  });

  test('a length that claims more than a reason may have is not waited for', () => {
    const bytes = Buffer.concat([encodeClose(CLOSE), Buffer.alloc(300, 0x61)]);
    bytes.writeUInt16BE(0xffff, 9);
    expect(read(bytes, 40).close?.reason).toHaveLength(256);
  });
});

test('a follower knows whether it stands between frames', () => {
  const follower = new FrameFollower();
  expect(follower.isBetweenFrames).toBe(true);
  const bytes = Buffer.concat([frame('abc'), frame('')]);
  const between = [...bytes].map((_, index) => {
    follower.advance(bytes.subarray(index, index + 1));
    return follower.isBetweenFrames;
  });
  expect(between.flatMap((is, index) => (is ? [index] : []))).toEqual([6, 10]);
});
