/**
 * Whether the disk of the warehouse takes files: rows may stay in memory for an hour, and nobody
 * should have to wait that long to hear that they have nowhere to go.
 */
import path from 'node:path';
import type { FileSystem } from '../../../lib/filesystem.ts';
import { collectorPrefix, stagingDirectory } from '../../../warehouse/warehouse.ts';

/** A page of the file system. */
const PROBE_BYTES = new Uint8Array(4096);

/** Writes a file into staging, syncs and removes it. Throws what the disk says. */
export function probeStaging(fs: FileSystem, root: string, collectorId: string): void {
  const name = `${collectorPrefix(collectorId)}canary.tmp`;
  fs.makeDirectory(stagingDirectory(root));
  const probe = path.join(stagingDirectory(root), name);
  const file = fs.openForWriting(probe);
  try {
    file.write(PROBE_BYTES);
    file.sync();
  } finally {
    file.close();
  }
  fs.remove(probe);
}
