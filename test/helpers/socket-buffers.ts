/**
 * The largest socket buffer that may be asked for, and whether the kernel would give it: then there
 * is nothing to warn of. Linux only; elsewhere nothing is known.
 */
import fs from 'node:fs';

export const LARGEST_BUFFER_BYTES = 256 * 1024 ** 2;

export const KERNEL_GIVES_LARGEST = readLimit() >= LARGEST_BUFFER_BYTES;

function readLimit(): number {
  try {
    return Number(fs.readFileSync('/proc/sys/net/core/rmem_max', 'utf8'));
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
