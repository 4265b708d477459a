/**
 * Protobuf fields whose tag is one byte, as all of ours are. A field that holds its default is not
 * written, as proto3 has it.
 */
import { varintBytes, writeVarint } from './packed.ts';

/** Bytes that `writeNumberField` will need. */
export function numberFieldBytes(value: number): number {
  return value === 0 ? 0 : 1 + varintBytes(value);
}

/** Bytes that a field of so many bytes needs. */
export function bytesFieldBytes(length: number): number {
  return length === 0 ? 0 : 1 + varintBytes(length) + length;
}

/** Writes a number from 0 to 2^53 at `at`; returns the offset behind it. */
export function writeNumberField(
  target: Uint8Array,
  at: number,
  tag: number,
  value: number,
): number {
  if (value === 0) return at;
  target[at] = tag;
  return writeVarint(target, at + 1, value);
}

/** Writes the tag and the length of a field; returns where its bytes belong. */
export function writeFieldStart(
  target: Uint8Array,
  at: number,
  tag: number,
  length: number,
): number {
  target[at] = tag;
  return writeVarint(target, at + 1, length);
}

/** Writes a field of these bytes at `at`; returns the offset behind it. */
export function writeBytesField(
  target: Uint8Array,
  at: number,
  tag: number,
  bytes: Uint8Array,
): number {
  if (bytes.length === 0) return at;
  const start = writeFieldStart(target, at, tag, bytes.length);
  target.set(bytes, start);
  return start + bytes.length;
}
