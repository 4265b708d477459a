/**
 * A directory of its own for a test, removed afterwards.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { onTestFinished } from 'vitest';

/** The path of a new directory that is removed when the current test ends. */
export function tempDir(): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'collector-'));
  onTestFinished(() => fs.rmSync(directory, { recursive: true, force: true }));
  return directory;
}
