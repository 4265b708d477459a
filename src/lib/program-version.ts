/**
 * The version of the package that this program came from.
 */
import fs from 'node:fs';
import { packageFile } from './package-root.ts';

/** As in package.json. */
export function programVersion(): string {
  const text = fs.readFileSync(packageFile('package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
