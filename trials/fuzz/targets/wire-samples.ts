/**
 * Valid messages: batches in every form that the contract allows, as seeds for damage, and a Hello.
 */
import { contractType } from '../../../src/codec/messages.ts';
import { seriesTableId } from '../../../src/codec/series-table.ts';
import type { Hello } from '../../../src/domain/telemetry.ts';

const TIME_MS = 1_753_000_000_000;

const TABLE = {
  symbols: ['', 'DCGM_FI_DEV_GPU_TEMP', 'gpu', '0', '1', 'C', 'é', '__proto__'],
  series: [
    { name: 1, labels: [2, 3], kind: 1, unit: 5 },
    { name: 1, labels: [2, 4], kind: 1, unit: 5 },
    { name: 6, labels: [2, 4, 6, 6, 7, 7], kind: 2 },
  ],
};
const ROWS = [
  { name: 'up', labels: { host: 'a' }, kind: 1, unit: '1', timestamp_ms: TIME_MS, value: 1 },
  { name: 'up', labels: { host: 'b', gpu: '7' }, timestamp_ms: TIME_MS + 1, value: 2 },
];
const COLUMNS = {
  series: [0, 1, 2],
  timestamp_delta_ms: [TIME_MS, 0, 15_000],
  value: [1, 2.5, -3],
};

/** What a collector with small limits says first. */
export const SAMPLE_HELLO: Hello = {
  schemaVersion: 1,
  collectorId: 'fuzz',
  nodeId: 'node-1',
  maxBatchBytes: 65_536,
  maxBatchSamples: 1000,
  acceptsSeriesTableId: true,
  maxNameBytes: 256,
  maxLabelsPerSeries: 32,
  maxLabelValueBytes: 1024,
  maxTableSeries: 10_000,
  maxTimestampAgeSecs: 604_800,
  maxTimestampAheadSecs: 300,
  sequenceWindow: 1024,
  epochsPerNode: 8,
  maxHoursPerBatch: 24,
  rememberedTables: 64,
  rememberedTableBytes: 2 * 1024 * 1024,
  timeMs: 1_700_000_000_000,
};

/** An encoded message of the contract. */
export function wireMessage(type: string, content: object): Buffer {
  const messageType = contractType(type);
  return Buffer.from(messageType.encode(messageType.fromObject(content)).finish());
}

/** Columns, rows, both, neither, and the table by its name. */
export function validBatches(): Buffer[] {
  const head = { schema_version: 1, node_id: 'node-1', epoch: TIME_MS, sequence: 9 };
  const tableId = Buffer.from(seriesTableId(wireMessage('SeriesTable', TABLE)), 'hex');
  return [
    wireMessage('MetricBatch', { ...head, series_table: TABLE, ...COLUMNS }),
    wireMessage('MetricBatch', { ...head, metrics: ROWS }),
    wireMessage('MetricBatch', { ...head, series_table: TABLE, ...COLUMNS, metrics: ROWS }),
    wireMessage('MetricBatch', head),
    wireMessage('MetricBatch', { ...head, series_table_id: tableId, ...COLUMNS }),
    unpacked(head),
  ];
}

/** The table of the batches on its own. */
export function validTables(): Buffer[] {
  return [
    wireMessage('SeriesTable', TABLE),
    wireMessage('SeriesTable', { symbols: [''], series: [] }),
    Buffer.alloc(0),
  ];
}

/** Columns as an encoder writes them that packs nothing. */
function unpacked(head: object): Buffer {
  const element = (bytes: readonly number[]) => Buffer.from(bytes);
  return Buffer.concat([
    wireMessage('MetricBatch', { ...head, series_table: TABLE }),
    ...[0, 1, 2].map((series) => element([6 << 3, series])),
    ...[0, 2, 4].map((delta) => element([7 << 3, delta])),
    ...[1, 2, 3].map((value) => element([(8 << 3) | 1, 0, 0, 0, 0, 0, 0, value, 0x40])),
  ]);
}

/** Tags of the contract's messages, group tags, and lengths that lead out of the message. */
export const WIRE_TOKENS: readonly Buffer[] = [
  ...['0801', '0807', '1206', '2001', '2a00', '3200', '3a00', '4200', '4a00', '2a04', '0a00'],
  ...['3000', '3800', '41', '0b', '0c', '1b', '1c', '7b', 'fb7f', '78ffffffffffffffffff01'],
  ...['4a0a0a0141', '12020801', '0a0161', '1204080112020203', '4affffffff0f', '2affffffff7f'],
].map((hex) => Buffer.from(hex, 'hex'));
