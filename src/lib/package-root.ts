/**
 * Where the package's own files are, whether this runs from src/ or from dist/.
 */
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Absolute path of `relativePath` inside the package: the nearest parent folder with a
 * package.json.
 */
export function packageFile(relativePath: string): string {
  let folder = path.dirname(fileURLToPath(import.meta.url));
  while (!fs.existsSync(path.join(folder, 'package.json'))) {
    const parent = path.dirname(folder);
    if (parent === folder) throw new Error('BUG: no package.json above the program');
    folder = parent;
  }
  return path.join(folder, relativePath);
}
