/**
 * Attacks with a certificate on what all nodes share behind the door: lines of the database, files
 * of the warehouse, tables and texts in memory, series slots, the counters.
 */
import { encodeBatch } from '../../../src/codec/encode-batch.ts';
import { encodeFrame } from '../../../src/codec/framing.ts';
import { encodeSeriesTable } from '../../../src/codec/series-table.ts';
import type { Series, SeriesTable } from '../../../src/domain/telemetry.ts';
import { type Attack, turn } from '../attack.ts';
import { flood } from './batches.ts';
import { batchFrame, freshTable, gauge } from './hostile-batches.ts';
import { untilTaken } from './peer.ts';
import { connectAll, leaveAll } from './streams.ts';

const HOUR_MS = 3_600_000;
const LABELS = 31;
const LABEL_BYTES = 1024;
const SERIES_OF_TEXT = 8;
const SYMBOL_TAG = 0x0a;

/** A kilobyte of samples for a megabyte of lines. */
export const expansion: Attack = {
  name: 'expansion',
  what: 'a series of 31 labels of 1,024 quotes, a thousand samples of it in every batch',
  settings: {},
  nodes: 1,
  run: (task) => {
    const table = encodeSeriesTable([
      gauge(
        'quotes',
        labels(() => '"'.repeat(LABEL_BYTES)),
      ),
    ]);
    const frame = frameOf(table, (sample) => ({ series: 0, timeMs: Date.now() - sample }), 1000);
    return flood(task, () => frame);
  },
};

/** Files for everybody. */
export const scatteredHours: Attack = {
  name: 'scattered-hours',
  what: 'batches of which the samples fall into 160 hours',
  settings: {},
  nodes: 1,
  run: (task) => {
    const table = encodeSeriesTable([gauge('scattered')]);
    const at = (sample: number) => ({ series: 0, timeMs: Date.now() - sample * HOUR_MS });
    return flood(task, () => frameOf(table, at, 160));
  },
};

/** One series, a table for each batch. */
export const unusedSymbols: Attack = {
  name: 'unused-symbols',
  what: 'tables of one series that differ in a symbol which nothing uses',
  settings: {},
  nodes: 1,
  run: (task) => {
    const table = encodeSeriesTable([gauge('same')]);
    return flood(task, (round) => {
      const symbol = Buffer.from(`unused ${round}`);
      const field = Buffer.concat([Buffer.from([SYMBOL_TAG, symbol.length]), symbol]);
      return batchFrame({ ...table, bytes: Buffer.concat([table.bytes, field]) }, 1);
    });
  },
};

/** One name, a unit for each batch. */
export const units: Attack = {
  name: 'units',
  what: 'a series whose unit is another in every batch',
  settings: {},
  nodes: 1,
  run: (task) =>
    flood(task, (round) =>
      batchFrame(encodeSeriesTable([{ ...gauge('same'), unit: `unit ${round}` }]), 1),
    ),
};

/** Few series, all the memory. */
export const longTexts: Attack = {
  name: 'long-texts',
  what: 'new series in every batch, each with 31 labels of a kilobyte',
  settings: {},
  nodes: 1,
  run: (task) =>
    flood(task, (round) => {
      const series = Array.from({ length: SERIES_OF_TEXT }, (_, index) =>
        gauge(
          `long_${index}`,
          labels((label) => `${round} ${index} ${label} `.padEnd(LABEL_BYTES - 64, 'x')),
        ),
      );
      return batchFrame(encodeSeriesTable(series), SERIES_OF_TEXT);
    }),
};

/** All slots, by many nodes. */
export const allSlots: Attack = {
  name: 'all-slots',
  what: 'ten certificates that take all series slots before a neighbour has sent its own',
  settings: {},
  nodes: 10,
  async run(task) {
    const peers = await connectAll(task, 1);
    let batches = 0;
    for (let round = 0; round < 20; round += 1) {
      const frame = batchFrame(freshTable(round), 1000);
      for (const peer of peers) {
        const streamId = peer.connection.openStream('bidi');
        if (streamId === undefined || !peer.isOpen) continue;
        peer.connection.write(streamId, frame, true);
        batches += 1;
        await untilTaken(peer);
        await turn();
      }
    }
    await leaveAll(peers);
    return { batches };
  },
};

/** A counter that would never come back. */
export const hugeSequence: Attack = {
  name: 'huge-sequence',
  what: 'a batch of sequence 1, then 2^53−1, in epoch after epoch',
  settings: {},
  nodes: 1,
  run: (task) =>
    flood(task, (round) => {
      const sequence = round % 2 === 0 ? 1 : Number.MAX_SAFE_INTEGER;
      const epoch = Math.floor(round / 2) + 1;
      const at = () => ({ series: 0, timeMs: Date.now() });
      return frameOf(encodeSeriesTable([gauge('far')]), at, 1, { epoch, sequence });
    }),
};

function labels(value: (index: number) => string): Series['labels'] {
  return Array.from(
    { length: LABELS },
    (_, index) => [`label_${String(index).padStart(2, '0')}`, value(index)] as const,
  );
}

function frameOf(
  table: SeriesTable,
  sampleAt: (index: number) => { series: number; timeMs: number },
  count: number,
  numbers = { epoch: 1, sequence: 0 },
): Uint8Array {
  const samples = Array.from({ length: count }, (_, index) => sampleAt(index));
  const columns = {
    series: Uint32Array.from(samples, ({ series }) => series),
    timestampsMs: Float64Array.from(samples, ({ timeMs }) => timeMs),
    values: new Float64Array(count).fill(1),
  };
  return encodeFrame(encodeBatch({ nodeId: '', ...numbers, table, samples: columns }));
}
