/**
 * Real captures that may lie beside the repository and are never part of it.
 */
import fs from 'node:fs';
import { packageFile } from '../../src/lib/package-root.ts';

/**
 * Absolute path of a file under `../shared/data`; undefined, and said so, where it is not there.
 */
export function sharedData(relativePath: string): string | undefined {
  const file = packageFile(`../shared/data/${relativePath}`);
  if (fs.existsSync(file)) return file;
  process.stdout.write(`skipped: no shared data (${relativePath})\n`);
  return undefined;
}
