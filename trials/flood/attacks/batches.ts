/**
 * Attacks with a certificate on what a batch costs.
 */

import { encodeSeriesTable } from '../../../src/codec/series-table.ts';
import { type Attack, type AttackTask, pause, turn } from '../attack.ts';
import { batchFrame, costlyTable, freshTable, gauge } from './hostile-batches.ts';
import { untilTaken } from './peer.ts';
import { connectAll, leaveAll } from './streams.ts';

const RATE_LIMIT = 10_000;
const BATCH_SAMPLES = 1000;
/** Batches for which one table of series is made; making them is dear for the attacker, too. */
const PREPARED = 400;

/** A new thousand of series in every batch. */
export const cardinalityLimit: Attack = {
  name: 'cardinality-limit',
  what: 'a node at its limit of series, with a thousand new ones in every batch at full speed',
  settings: {},
  nodes: 1,
  run: (task) => flood(task, (round) => batchFrame(freshTable(round), BATCH_SAMPLES)),
};

/** Tables that are small to send and dear to look at. */
export const costlyTables: Attack = {
  name: 'costly-tables',
  what: 'a new table in every batch, as dear as the bounds allow (2 MB of labels in 70 kB), full speed',
  settings: {},
  nodes: 1,
  run: (task) => flood(task, (round) => batchFrame(costlyTable(round), 1)),
};

/** A hundred times what the node may send. */
export const rateLimit: Attack = {
  name: 'rate-limit',
  what: 'a node that sends 1,000,000 samples a second where 10,000 are allowed',
  settings: { limits: { node_samples_per_second: RATE_LIMIT } },
  nodes: 1,
  async run(task) {
    const series = Array.from({ length: BATCH_SAMPLES }, (_, index) => gauge(`rate_${index}`));
    const frame = batchFrame(encodeSeriesTable(series), BATCH_SAMPLES);
    const [peer] = await connectAll(task, 1);
    const streamId = peer?.connection.openStream('bidi');
    if (peer === undefined || streamId === undefined) return { batches: 0 };
    const startMs = performance.now();
    const wanted = (task.seconds * 100 * RATE_LIMIT) / BATCH_SAMPLES;
    let batches = 0;
    while (performance.now() < startMs + task.seconds * 1000 && peer.isOpen) {
      const due = Math.floor(((performance.now() - startMs) / (task.seconds * 1000)) * wanted);
      for (; batches < due && peer.connection.queuedBytes < 1 << 20; batches += 1) {
        peer.connection.write(streamId, frame);
      }
      await pause(1);
    }
    await peer.leave();
    return { batches, samplesPerSecond: Math.round((batches * BATCH_SAMPLES) / task.seconds) };
  },
};

/** Sends frames that are made beforehand, over and over, as fast as they are taken. */
export async function flood(
  task: AttackTask,
  makeFrame: (round: number) => Uint8Array,
  prepared = PREPARED,
) {
  const frames = Array.from({ length: prepared }, (_, round) => makeFrame(round));
  const [peer] = await connectAll(task, 1);
  const streamId = peer?.connection.openStream('bidi');
  if (peer === undefined || streamId === undefined) return { batches: 0 };
  let batches = 0;
  const endMs = performance.now() + task.seconds * 1000;
  while (performance.now() < endMs && peer.isOpen) {
    peer.connection.write(streamId, frames[batches % frames.length] ?? Buffer.alloc(0));
    batches += 1;
    await untilTaken(peer);
    await turn();
  }
  await leaveAll([peer]);
  return { batches };
}
