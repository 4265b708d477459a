/**
 * Node's own zstd, where this Node has it.
 */
import zlib from 'node:zlib';
import { OperatingError } from './errors.ts';

/** The first release of Node with zstd in `node:zlib`. */
export const ZSTD_NODE_VERSION = '22.15';

type Transform = (bytes: Uint8Array) => Uint8Array;

/** Whether this Node has zstd. */
export function hasZstd(): boolean {
  return typeof Reflect.get(zlib, 'zstdCompressSync') === 'function';
}

/** Throws OperatingError where this Node has no zstd. */
export function zstdCompress(bytes: Uint8Array): Uint8Array {
  return transform('zstdCompressSync')(bytes);
}

/** Throws OperatingError where this Node has no zstd, or what zlib says of damaged bytes. */
export function zstdDecompress(bytes: Uint8Array): Uint8Array {
  return transform('zstdDecompressSync')(bytes);
}

/** The types of Node 20 do not know these functions. */
function transform(name: 'zstdCompressSync' | 'zstdDecompressSync'): Transform {
  const found: unknown = Reflect.get(zlib, name);
  if (typeof found === 'function') return found as Transform;
  throw new OperatingError(
    'ZSTD_MISSING',
    `cannot use zstd: it needs Node ${ZSTD_NODE_VERSION} or newer, this is ${process.version}`,
  );
}
