import { expect, test } from 'vitest';
import { hasZstd, zstdCompress, zstdDecompress } from '../../src/lib/zstd.ts';

const BYTES = Buffer.from('sample '.repeat(1000));

test('zstd gives back what it took, or says which Node it needs', () => {
  if (hasZstd()) {
    const packed = zstdCompress(BYTES);
    expect(packed.length).toBeLessThan(100);
    expect(Buffer.from(zstdDecompress(packed))).toEqual(BYTES);
  } else {
    const message = `cannot use zstd: it needs Node 22.15 or newer, this is ${process.version}`;
    expect(() => zstdCompress(BYTES)).toThrow(message);
    expect(() => zstdDecompress(BYTES)).toThrow(message);
  }
});
