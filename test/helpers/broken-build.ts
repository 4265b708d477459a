/**
 * A copy of the compiled daemon with lines changed, for tests that show that a broken daemon is
 * found out. Nothing in the program itself can be switched to broken.
 */
import fs from 'node:fs';
import path from 'node:path';
import { packageFile } from '../../src/lib/package-root.ts';
import type { Build } from '../../trials/torture/daemon-supervisor.ts';
import { tempDir } from './temp-dir.ts';

export interface Edit {
  /** Under dist/, e.g. `src/journal/lmdb/journal.js`. */
  readonly file: string;
  /** Must stand there exactly once; white space counts as one blank. */
  readonly from: string;
  readonly to: string;
}

/** What a build needs of the package. */
const COPIED = ['package.json', 'proto', 'src/transport/quinn', 'dist/src', 'dist/trials'];

/** Throws where a line to change is not there: the daemon has changed, and so must the test. */
export function brokenBuild(edits: readonly Edit[]): Build {
  const dir = tempDir();
  for (const name of COPIED) {
    fs.cpSync(packageFile(name), path.join(dir, name), { recursive: true });
  }
  fs.symlinkSync(packageFile('node_modules'), path.join(dir, 'node_modules'));
  for (const { file, from, to } of edits) {
    const filePath = path.join(dir, 'dist', file);
    const parts = fs.readFileSync(filePath, 'utf8').split(pattern(from));
    if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} times: ${from}`);
    fs.writeFileSync(filePath, parts.join(to));
  }
  return {
    program: path.join(dir, 'dist/src/collector/main.js'),
    preload: path.join(dir, 'dist/trials/torture/preload/fault-points.js'),
  };
}

function pattern(text: string): RegExp {
  const words = text.split(' ').map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(words.join('\\s+'));
}
