/**
 * A worker thread that reads a journal from its beginning while it grows, and posts what it has read
 * after each slice. Told to stop, it closes. Runs from dist/.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { JournalReader } from '../../dist/src/journal/lmdb/journal-reader.js';

const reader = JournalReader.open(workerData.dir);
let stopping = false;
let seq = 0;
let sum = 0;

parentPort.on('message', () => {
  stopping = true;
});

while (!stopping) {
  const { records, damaged, lastSeq } = reader.read(seq, 64, 2 ** 20);
  for (const { samples } of records) for (const value of samples.values) sum += value;
  if (lastSeq !== seq) parentPort.postMessage({ lastSeq, sum, damaged: damaged.length });
  seq = lastSeq;
  await new Promise((resolve) => setImmediate(resolve));
}
await reader.close();
parentPort.close();
