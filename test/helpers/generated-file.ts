/**
 * Files of the repository that are written by a program: a test compares them, and UPDATE_DOCS=1
 * writes them anew.
 */
import fs from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { packageFile } from '../../src/lib/package-root.ts';

/** Fails where the file differs from `content`; with UPDATE_DOCS=1 the file becomes `content`. */
export function expectGenerated(relativePath: string, content: string): void {
  const file = packageFile(relativePath);
  if (process.env.UPDATE_DOCS === '1') {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, content);
  }
  const present = fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '';
  expect(present, `${relativePath} is out of date: UPDATE_DOCS=1 npx vitest run writes it`).toBe(
    content,
  );
}
