/**
 * The wire contract as this program sees it: protobufjs types read once from proto/telemetry.proto
 * for what is not hot, and the collector's own view of the hot messages, as wire tags.
 *
 * The view reads `MetricBatch.series_table` and the packed columns as plain bytes. The wire format
 * is the same, so that a table is compared instead of parsed, and a column decoded by one tight
 * loop. Why tags and not a second protobufjs type with `bytes` fields: its decoder makes one array
 * entry and one view per occurrence of a field, so that a frame of empty chunks (two bytes each)
 * costs fifty times its size, and it drops elements that a lawful encoder did not pack.
 * test/codec/messages.test.ts holds the tags to the proto file.
 */
import fs from 'node:fs';
import protobuf from 'protobufjs';
import { packageFile } from '../lib/package-root.ts';

const PROTO_PACKAGE = 'horizon.telemetry.v1';

const contract = protobuf.parse(fs.readFileSync(packageFile('proto/telemetry.proto'), 'utf8'), {
  keepCase: true,
}).root;

/**
 * A message type of the contract, with the field names of the proto file. Throws for an unknown
 * one.
 */
export function contractType(name: string): protobuf.Type {
  return contract.lookupType(`${PROTO_PACKAGE}.${name}`);
}

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;

/** The wire tag of a field: its number and how its value is written. */
function tag(field: number, wireType: number): number {
  return (field << 3) | wireType;
}

export const BATCH_TAGS = {
  schemaVersion: tag(1, VARINT),
  nodeId: tag(2, BYTES),
  epoch: tag(3, VARINT),
  sequence: tag(4, VARINT),
  seriesTable: tag(5, BYTES),
  series: tag(6, BYTES),
  timestampDeltaMs: tag(7, BYTES),
  value: tag(8, BYTES),
  /** Encoders may leave numbers unpacked: then every element has its own tag. */
  seriesUnpacked: tag(6, VARINT),
  timestampDeltaMsUnpacked: tag(7, VARINT),
  valueUnpacked: tag(8, FIXED64),
  metrics: tag(9, BYTES),
  seriesTableId: tag(10, BYTES),
} as const;

export const TABLE_TAGS = {
  symbols: tag(1, BYTES),
  series: tag(2, BYTES),
} as const;

export const SERIES_TAGS = {
  name: tag(1, VARINT),
  labels: tag(2, BYTES),
  labelsUnpacked: tag(2, VARINT),
  kind: tag(3, VARINT),
  unit: tag(4, VARINT),
} as const;

export const METRIC_TAGS = {
  name: tag(1, BYTES),
  labels: tag(2, BYTES),
  kind: tag(3, VARINT),
  unit: tag(4, BYTES),
  timestampMs: tag(5, VARINT),
  value: tag(6, FIXED64),
} as const;

/** An entry of a `map<string, string>`. */
export const MAP_ENTRY_TAGS = {
  key: tag(1, BYTES),
  value: tag(2, BYTES),
} as const;
