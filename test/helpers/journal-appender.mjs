/**
 * Appends to a journal until it is killed, several batches at a time, and prints each batch's
 * sequence once its append has resolved. Runs from dist/.
 *
 *     node journal-appender.mjs <directory> <first sequence>
 */
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { Journal } from '../../dist/src/journal/lmdb/journal.js';
import { createJournalMetrics } from '../../dist/src/journal/lmdb/journal-metrics.js';
import { systemClock } from '../../dist/src/lib/clock.js';

const IN_FLIGHT = 24;
const SAMPLES = 50;

const [dir, first] = process.argv.slice(2);
const journal = await Journal.open({
  dir,
  maxBytes: 2 ** 32,
  minFreeBytes: 0,
  writers: ['influxdb', 'parquet'],
  clock: systemClock,
  logger: pino({ level: 'silent' }),
  metrics: createJournalMetrics(new Registry()),
});
const table = { id: 'ab'.repeat(16), bytes: Buffer.alloc(500, 'table'), series: [] };
let sequence = Number(first);

async function append() {
  for (;;) {
    sequence += 1;
    const mine = sequence;
    await journal.append({
      nodeId: 'node-1',
      epoch: 1,
      sequence: mine,
      receivedAtMs: systemClock.nowMs(),
      table,
      outcome: { received: SAMPLES },
      samples: {
        series: new Uint32Array(SAMPLES),
        timestampsMs: new Float64Array(SAMPLES),
        values: new Float64Array(SAMPLES).fill(mine),
      },
    });
    process.stdout.write(`${mine}\n`);
  }
}

/** Cursors move and records are removed all the while, for the kill to hit that as well. */
async function consume() {
  for (;;) {
    const seq = Math.max(0, journal.headSeq - 500);
    for (const writer of ['influxdb', 'parquet']) {
      const writtenSamples = (seq - journal.cursor(writer)) * SAMPLES;
      if (writtenSamples === 0) continue;
      await journal.commitCursor(writer, { cursor: seq, writtenSamples, deadLetteredSamples: 0 });
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

await Promise.all([consume(), ...Array.from({ length: IN_FLIGHT }, append)]);
