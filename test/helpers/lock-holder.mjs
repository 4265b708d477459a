/**
 * Locks a directory and keeps it until it is ended; prints `held`, or the code of the error. Runs
 * from dist/.
 *
 *     node lock-holder.mjs <directory>
 */
import { lockDirectory } from '../../dist/src/lib/directory-lock.js';

try {
  await lockDirectory(process.argv[2], 'journal');
  process.stdout.write('held\n');
  setInterval(() => {}, 1000);
} catch (error) {
  process.stdout.write(`${error.code}\n`);
}
