/**
 * UTF-8 to strings, strictly: bytes that are not UTF-8 are refused, never replaced.
 */

// `fatal` refuses what is not UTF-8; `ignoreBOM` keeps a leading U+FEFF, which is part of the text.
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text of `bytes[start, end)`, or undefined where that is not UTF-8. */
export function decodeText(bytes: Buffer, start: number, end: number): string | undefined {
  if (isAscii(bytes, start, end)) return bytes.toString('latin1', start, end);
  try {
    return strictUtf8.decode(bytes.subarray(start, end));
  } catch {
    return undefined;
  }
}

function isAscii(bytes: Buffer, start: number, end: number): boolean {
  for (let position = start; position < end; position += 1) {
    if (bytes[position]! >= 0x80) return false;
  }
  return true;
}

/** `bytes` as a Buffer over the same memory. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
