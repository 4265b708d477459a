import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { FrameBuffers } from '../../src/codec/frame-buffers.ts';
import { encodeFrame, FRAME_HEADER_BYTES, FrameSplitter } from '../../src/codec/framing.ts';
import { seededRandom } from '../helpers/seeded-random.ts';

const PAYLOADS = ['a', 'bc', 'x'.repeat(300), 'last'];
const STREAM = Buffer.concat(PAYLOADS.map((payload) => encodeFrame(Buffer.from(payload))));

function collect(splitter: FrameSplitter, chunks: readonly Uint8Array[]): string[] {
  const frames: string[] = [];
  for (const chunk of chunks) {
    splitter.push(chunk, (frame) => frames.push(Buffer.from(frame).toString()));
  }
  return frames;
}

describe('encodeFrame', () => {
  it('writes a big-endian length before the payload', () => {
    expect([...encodeFrame(Buffer.from('hi'))]).toEqual([0, 0, 0, 2, 0x68, 0x69]);
    expect(FRAME_HEADER_BYTES).toBe(4);
  });
});

describe('FrameSplitter', () => {
  it('finds the same frames wherever the stream is cut in two', () => {
    for (let cut = 0; cut <= STREAM.length; cut += 1) {
      const chunks = [STREAM.subarray(0, cut), STREAM.subarray(cut)];
      expect(collect(new FrameSplitter(1000), chunks), `cut at ${cut}`).toEqual(PAYLOADS);
    }
  });

  it('finds the frames when bytes dribble in one by one', () => {
    const splitter = new FrameSplitter(1000);
    const chunks = [...STREAM].map((byte) => Uint8Array.of(byte));
    expect(collect(splitter, chunks)).toEqual(PAYLOADS);
    expect(splitter.bufferedBytes).toBe(0);
  });

  it('finds the frames in any random cut', () => {
    const random = seededRandom();
    const payloads = Array.from({ length: 200 }, (_, index) =>
      String(index).repeat(1 + random.below(8000)),
    );
    const stream = Buffer.concat(payloads.map((payload) => encodeFrame(Buffer.from(payload))));
    const chunks: Buffer[] = [];
    for (let at = 0; at < stream.length; ) {
      const end = at + random.below(random.pick([3, 50, 20_000]));
      chunks.push(stream.subarray(at, end));
      at = end;
    }
    const found = collect(new FrameSplitter(1 << 20), chunks);
    expect(found.length, `seed ${random.seed}`).toBe(payloads.length);
    expect(found.every((frame, index) => frame === payloads[index])).toBe(true);
  });

  it('finds the frames of many streams that share their buffers', () => {
    const random = seededRandom();
    const buffers = new FrameBuffers();
    const streams = Array.from({ length: 40 }, (_, index) => {
      const text = () => String.fromCharCode(65 + index).repeat(1 + random.below(40_000));
      const payloads = Array.from({ length: 6 }, text);
      const bytes = Buffer.concat(payloads.map((payload) => encodeFrame(Buffer.from(payload))));
      const splitter = new FrameSplitter(1 << 20, buffers);
      return { payloads, bytes, splitter, at: 0, found: [] as string[] };
    });
    for (let open = streams; open.length > 0; open = open.filter((s) => s.at < s.bytes.length)) {
      const stream = random.pick(open);
      const end = stream.at + 1 + random.below(random.pick([3, 50, 20_000]));
      stream.found.push(...collect(stream.splitter, [stream.bytes.subarray(stream.at, end)]));
      stream.at = end;
    }
    const wrong = streams.filter(({ found, payloads }) => found.join() !== payloads.join());
    expect(wrong.length, `seed ${random.seed}`).toBe(0);
  });

  it('holds no buffer between two frames', () => {
    const buffers = new FrameBuffers();
    const frame = encodeFrame(Buffer.alloc(10_000));
    const halves = [frame.subarray(0, 9000), frame.subarray(9000)];
    const made = vi.spyOn(Buffer, 'allocUnsafeSlow');
    onTestFinished(() => made.mockRestore());
    for (let stream = 0; stream < 100; stream += 1) {
      expect(collect(new FrameSplitter(1 << 20, buffers), halves)).toHaveLength(1);
    }
    expect(made.mock.calls.length).toBeLessThan(5);
  });

  it('hands on a frame that arrived whole without copying it', () => {
    const chunk = encodeFrame(Buffer.from('payload'));
    let frame: Uint8Array | undefined;
    new FrameSplitter(100).push(chunk, (whole) => {
      frame = whole;
    });
    expect(frame?.buffer).toBe(chunk.buffer);
    expect(frame?.byteOffset).toBe(chunk.byteOffset + FRAME_HEADER_BYTES);
  });

  it('holds only bytes that arrived, whatever length is announced', () => {
    const splitter = new FrameSplitter(2 ** 32 - 1);
    const before = process.memoryUsage().arrayBuffers;
    expect(splitter.push(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1, 2, 3), () => {})).toBe(true);
    expect(splitter.bufferedBytes).toBe(7);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20);
  });

  it('breaks for good at a length over the bound, after the frames before it', () => {
    const splitter = new FrameSplitter(10);
    const stream = Buffer.concat([encodeFrame(Buffer.from('ok')), Buffer.from([0, 0, 0, 11])]);
    const frames: string[] = [];
    const keep = (frame: Uint8Array) => frames.push(Buffer.from(frame).toString());
    expect(splitter.push(stream, keep)).toBe(false);
    expect(splitter.brokenReason).toBe('frame of 11 bytes is over the limit of 10');
    expect(splitter.push(encodeFrame(Buffer.from('late')), keep)).toBe(false);
    expect(frames).toEqual(['ok']);
    expect(splitter.bufferedBytes).toBe(0);
  });

  it('breaks at a 4 GiB length even when the header dribbles in', () => {
    const splitter = new FrameSplitter(1 << 20);
    const results = [0xff, 0xff, 0xff, 0xff].map((byte) =>
      splitter.push(Uint8Array.of(byte), () => {}),
    );
    expect(results).toEqual([true, true, true, false]);
    expect(splitter.brokenReason).toBe('frame of 4294967295 bytes is over the limit of 1048576');
  });

  it('breaks at an empty frame', () => {
    const splitter = new FrameSplitter(10);
    expect(splitter.push(Uint8Array.of(0, 0, 0, 0), () => {})).toBe(false);
    expect(splitter.brokenReason).toBe('frame of 0 bytes holds no message');
  });

  it('takes a frame of exactly the bound', () => {
    expect(collect(new FrameSplitter(4), [encodeFrame(Buffer.from('four'))])).toEqual(['four']);
  });
});
