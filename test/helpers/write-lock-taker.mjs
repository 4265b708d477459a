/**
 * Takes LMDB's write lock of a journal, as soon as nobody else has it, and prints `taken`. Leaves
 * it at once and ends, or keeps it until it is ended.
 *
 *     node write-lock-taker.mjs <directory> [keep]
 */
import fs from 'node:fs';
import { open } from 'lmdb';

const [path, keep] = process.argv.slice(2);
const root = open({ path, maxDbs: 16, pageSize: 4096, encoding: 'binary', overlappingSync: false });
root.transactionSync(() => {
  fs.writeSync(1, 'taken\n');
  if (keep === 'keep') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
});
await root.close();
