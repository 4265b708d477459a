/**
 * Attacks with a certificate on the work that series tables make, and on what is kept of them.
 */
import { encodeBatch } from '../../../src/codec/encode-batch.ts';
import { encodeFrame } from '../../../src/codec/framing.ts';
import { contractType } from '../../../src/codec/messages.ts';
import { encodeSeriesTable } from '../../../src/codec/series-table.ts';
import { seriesTableIdField } from '../../../src/codec/table-naming.ts';
import type { SeriesTable } from '../../../src/domain/telemetry.ts';
import type { Attack } from '../attack.ts';
import { flood } from './batches.ts';
import { batchFrame, gauge } from './hostile-batches.ts';

/** Close to what one table may have with the default limits. */
const LARGE_SERIES = 20_000;
/** More than a connection is remembered, in bytes. */
const LARGE_TABLES = 8;
const ROWS = 900;
/** More than the collector keeps the outcome of, over all nodes. */
const TINY_TABLES = 5000;

/** As much reading as a table can cost, in every batch. */
export const alternatingTables: Attack = {
  name: 'alternating-tables',
  what: 'eight tables of 20,000 series in turn, at full speed',
  settings: {},
  nodes: 1,
  run: (task) => {
    const frames = Array.from({ length: LARGE_TABLES }, (_, index) => {
      return batchFrame(largeTable(`m${index}`), 1);
    });
    return flood(task, (round) => frames[round % LARGE_TABLES]!);
  },
};

/** The same in small frames: rows become a table, with the series of the table they come with. */
export const alternatingRows: Attack = {
  name: 'alternating-rows',
  what: 'a named table of 20,000 series, with 900 rows of other series in every batch, at full speed',
  settings: {},
  nodes: 1,
  run: (task) => {
    const table = largeTable('m');
    return flood(task, (round) =>
      round === 0 ? batchFrame(table, 1) : rowsFrame(table, `${round}`),
    );
  },
};

/** What others are remembered by is pushed out, if anything can do that. */
export const tinyTables: Attack = {
  name: 'tiny-tables',
  what: 'five thousand tables of one series in turn, at full speed',
  settings: {},
  nodes: 1,
  run: (task) =>
    flood(task, (round) => batchFrame(encodeSeriesTable([gauge(`tiny_${round}`)]), 1), TINY_TABLES),
};

function largeTable(name: string): SeriesTable {
  return encodeSeriesTable(
    Array.from({ length: LARGE_SERIES }, (_, index) =>
      gauge(`${name}_${index}`, [['gpu', String(index % 8)]]),
    ),
  );
}

function rowsFrame(table: SeriesTable, prefix: string): Uint8Array {
  const samples = {
    series: Uint32Array.of(0),
    timestampsMs: Float64Array.of(Date.now()),
    values: Float64Array.of(1),
  };
  const noTable = { ...table, bytes: new Uint8Array(0) };
  const head = { nodeId: '', epoch: 1, sequence: 0, table: noTable, samples };
  const rows = Array.from({ length: ROWS }, (_, index) => ({
    name: `row_${prefix}_${index}`,
    timestamp_ms: Date.now(),
    value: 1,
  }));
  const metrics = contractType('MetricBatch').encode({ metrics: rows }).finish();
  return encodeFrame(Buffer.concat([encodeBatch(head), seriesTableIdField(table.id), metrics]));
}
