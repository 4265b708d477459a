/**
 * The files of the repository, as far as rules look at them.
 */
import fs from 'node:fs';
import path from 'node:path';
import { packageFile } from '../../../src/lib/package-root.ts';
import type { SourceFile } from './source-text.ts';

const NOT_OURS = new Set(['node_modules', 'dist', '.git', 'coverage', 'golden', 'target']);
const TEXT = /\.(ts|md|json|ya?ml|proto|service|conf|sh|mjs|js|txt)$|^(Dockerfile|LICENSE)$/;

/**
 * Where programs are: the collector itself and those that show, measure or test it from outside.
 */
export const PROGRAM_FOLDERS = ['src', 'demo', 'bench', 'trials'];

/** All TypeScript files under the given folders. */
export function sourceFiles(...folders: readonly string[]): SourceFile[] {
  return folders.flatMap((folder) => walk(folder)).filter((file) => file.path.endsWith('.ts'));
}

/** All text files of the repository, package-lock.json excepted. */
export function textFiles(): SourceFile[] {
  return walk('').filter((file) => file.path !== 'package-lock.json');
}

function walk(folder: string): SourceFile[] {
  const directory = packageFile(folder);
  if (!fs.existsSync(directory)) return [];
  return fs.readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const relative = path.posix.join(folder, entry.name);
    if (entry.isDirectory()) return NOT_OURS.has(entry.name) ? [] : walk(relative);
    if (!entry.isFile() || !TEXT.test(entry.name)) return [];
    return [{ path: relative, text: fs.readFileSync(packageFile(relative), 'utf8') }];
  });
}
