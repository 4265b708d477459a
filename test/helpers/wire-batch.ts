/**
 * MetricBatch bytes from an independent encoder: plain protobufjs over proto/telemetry.proto, and
 * raw fields for what no encoder would write.
 */
import protobuf from 'protobufjs';
import type { DecodeLimits } from '../../src/codec/decode-batch.ts';
import { packageFile } from '../../src/lib/package-root.ts';

export const TEST_LIMITS: DecodeLimits = {
  maxBatchSamples: 1000,
  maxLabelsPerSeries: 4,
  maxNameBytes: 64,
  maxLabelValueBytes: 64,
  maxSeries: 10_000_000,
  maxTextCharacters: 100_000_000,
  maxTextPerByte: 1000,
};

export interface WireRow {
  name?: string;
  labels?: Record<string, string>;
  kind?: number;
  unit?: string;
  timestamp_ms?: number;
  value?: number;
}

export interface WireSeries {
  name?: number;
  labels?: number[];
  kind?: number;
  unit?: number;
}

export interface WireBatch {
  schema_version?: number;
  node_id?: string;
  epoch?: number | string;
  sequence?: number | string;
  series_table?: { symbols?: string[]; series?: WireSeries[] };
  series?: number[];
  timestamp_delta_ms?: number[];
  value?: number[];
  metrics?: WireRow[];
}

const source = protobuf.loadSync(packageFile('proto/telemetry.proto'));

/** The contract's type of that name, with camel case names as protobufjs makes them. */
export function protoType(name: string): protobuf.Type {
  return source.lookupType(`horizon.telemetry.v1.${name}`);
}

/** A batch as any protobuf library writes it: version 1 unless told otherwise. */
export function wireBatch(batch: WireBatch): Buffer {
  const type = protoType('MetricBatch');
  const message = type.fromObject(camelCased({ schema_version: 1, ...batch }) as object);
  return Buffer.from(type.encode(message).finish());
}

/** The same batch as an encoder writes it that packs nothing. */
export function unpackedWireBatch(batch: WireBatch): Buffer {
  const { series = [], timestamp_delta_ms = [], value = [], ...rest } = batch;
  const writer = protobuf.Writer.create();
  for (const index of series) writer.uint32((6 << 3) | 0).uint32(index);
  for (const delta of timestamp_delta_ms) writer.uint32((7 << 3) | 0).sint64(delta);
  for (const reading of value) writer.uint32((8 << 3) | 1).double(reading);
  return Buffer.concat([wireBatch(rest), writer.finish()]);
}

/** One field with a length, as raw bytes. */
export function bytesField(field: number, bytes: Uint8Array | string): Buffer {
  const content = Buffer.from(bytes as Uint8Array);
  return Buffer.from(
    protobuf.Writer.create()
      .uint32((field << 3) | 2)
      .bytes(content)
      .finish(),
  );
}

function camelCased(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelCased);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, entry]) => [
      key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      key === 'labels' && !Array.isArray(entry) ? entry : camelCased(entry),
    ]),
  );
}
