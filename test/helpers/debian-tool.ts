/**
 * Programs of Debian that some tests judge by. A test that misses one is skipped and says how to
 * install it. In CI a missing program is an error, so that no check is lost unseen.
 */
import fs from 'node:fs';

/** Path of `program` from Debian's `package`; undefined where it is not installed. */
export function debianTool(program: string, debianPackage: string): string | undefined {
  const file = `/usr/bin/${program}`;
  if (fs.existsSync(file)) return file;
  const message = `${file} is missing; apt-get install ${debianPackage}`;
  if (process.env.CI === 'true') throw new Error(message);
  process.stderr.write(`skipping: ${message}\n`);
  return undefined;
}
