/**
 * What the Snappy compressor makes is read back as it was by a decompressor that is not ours, and
 * is about as long as what the library of the Parquet format makes.
 */
import { snappyUncompress } from 'hyparquet';
import { snappyCompress } from 'hyparquet-writer/src/snappy.js';
import { expect, test } from 'vitest';
import { SnappyCompressor } from '../../src/lib/snappy.ts';
import { SeededRandom } from '../helpers/seeded-random.ts';

const random = new SeededRandom(20_260_724);

/** Bytes of so many values, in stretches that come again from somewhere before. */
function pageOf(length: number, values: number, repeats: number): Uint8Array {
  const page = Uint8Array.from({ length }, () => Math.floor(random.next() * values));
  for (let i = 0; i < repeats; i++) {
    const from = Math.floor(random.next() * length);
    const bytes = Math.floor(random.next() ** 3 * Math.min(length, 100_000));
    page.copyWithin(Math.floor(random.next() * length), from, from + bytes);
  }
  return page;
}

const LENGTHS = [0, 1, 4, 15, 16, 17, 59, 60, 61, 64, 65, 256, 257, 5000, 65_536, 65_600, 300_000];

test.each(LENGTHS)('%i bytes come back, whatever they are', (length) => {
  const compressor = new SnappyCompressor();
  const pages = [
    ...[1, 2, 5, 256].flatMap((values) => [0, 3, 40].map((n) => pageOf(length, values, n))),
    // A part of a buffer, as pages are.
    pageOf(length + 9, 3, 2).subarray(5, 5 + length),
  ];
  for (const page of pages) {
    const output = new Uint8Array(length);
    snappyUncompress(compressor.compress(page), output);
    expect(Buffer.compare(output, page)).toBe(0);
  }
});

test.each([0, 5000])(
  'copies of any length come back, from %i bytes before and more',
  (distance) => {
    const compressor = new SnappyCompressor();
    for (let length = 1; length <= 210; length++) {
      const text = pageOf(length, 256, 0);
      const page = Buffer.concat([text, pageOf(distance, 256, 0), text, pageOf(20, 256, 0)]);
      const output = new Uint8Array(page.length);
      snappyUncompress(compressor.compress(page), output);
      expect(Buffer.compare(output, page), `${length} bytes`).toBe(0);
    }
  },
);

test('a page takes about what it takes with the library, and noise hardly more than itself', () => {
  const compressor = new SnappyCompressor();
  const times = Uint8Array.from({ length: 40_000 }, (_, i) => (i * 7) % 240);
  expect(compressor.compress(times).length).toBeLessThan(snappyCompress(times).length * 1.02);
  const texts = pageOf(60_000, 30, 400);
  expect(compressor.compress(texts).length).toBeLessThan(snappyCompress(texts).length * 1.05);
  const noise = pageOf(60_000, 256, 0);
  expect(compressor.compress(noise).length).toBeLessThan(noise.length + 32);
});
