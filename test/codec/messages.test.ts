import { describe, expect, it } from 'vitest';
import {
  BATCH_TAGS,
  contractType,
  METRIC_TAGS,
  SERIES_TAGS,
  TABLE_TAGS,
} from '../../src/codec/messages.ts';

const WIRE_TYPES: Readonly<Record<string, number>> = {
  uint32: 0,
  uint64: 0,
  int64: 0,
  sint64: 0,
  MetricKind: 0,
  double: 1,
  string: 2,
  bytes: 2,
  SeriesTable: 2,
  Series: 2,
  Metric: 2,
};

/** Tags by camel case field name, as the proto file gives them; packed and unpacked. */
function expectedTags(typeName: string): Record<string, number> {
  const tags: Record<string, number> = {};
  for (const field of contractType(typeName).fieldsArray) {
    const name = field.name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const elementType = field.map ? 2 : WIRE_TYPES[field.type]!;
    const isPackable = field.repeated && elementType !== 2;
    tags[name] = field.id * 8 + (isPackable ? 2 : elementType);
    if (isPackable) tags[`${name}Unpacked`] = field.id * 8 + elementType;
  }
  return tags;
}

describe("the collector's view of the contract", () => {
  it.each([
    ['MetricBatch', BATCH_TAGS],
    ['SeriesTable', TABLE_TAGS],
    ['Series', SERIES_TAGS],
    ['Metric', METRIC_TAGS],
  ])('has the field numbers and wire types of %s in proto/telemetry.proto', (name, tags) => {
    expect(tags).toEqual(expectedTags(name));
  });
});
