/**
 * Telling that a file is not what it was. By looking, not by notifications: those miss the symlink
 * swaps by which Kubernetes and cert-manager replace mounted files.
 */
import fs from 'node:fs';

/** Changes whenever the file is replaced, rewritten or removed. */
export function fileVersion(path: string): string {
  const stat = fs.statSync(path, { throwIfNoEntry: false, bigint: true });
  return stat === undefined ? 'absent' : `${stat.dev}:${stat.ino}:${stat.mtimeNs}:${stat.size}`;
}
