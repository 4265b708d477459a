/**
 * Series tables by id: read from the journal, decoded, and kept while there is room.
 */
import { OperatingError } from '../../lib/errors.ts';
import type { Labels, SeriesTable } from '../../domain/telemetry.ts';
import { WeightedCache } from './weighted-cache.ts';

/** A decoded series, and a label of one, without their texts. */
const SERIES_BYTES = 120;
const LABEL_BYTES = 80;
/** Writers keep what they make of a table, so one is asked for again only after long. */
const MAX_WEIGHT_BYTES = 16 * 1024 * 1024;

/**
 * Makes the look-up. `load` gives a table's bytes, or undefined where there are none; `decode`
 * throws where they are no table. The look-up throws OperatingError TABLE_MISSING or what they
 * throw.
 */
export function createTableLookup(
  load: (id: string) => Uint8Array | undefined,
  decode: (bytes: Uint8Array) => SeriesTable,
): (id: string) => SeriesTable {
  const cache = new WeightedCache<SeriesTable>(MAX_WEIGHT_BYTES);
  return (id) => {
    const known = cache.find(id);
    if (known !== undefined) return known;
    const bytes = load(id);
    if (bytes === undefined) {
      throw new OperatingError('TABLE_MISSING', `cannot find series table ${id} in the journal`);
    }
    const table = decode(bytes);
    cache.add(id, table, bytes.length + decodedBytes(table));
    return table;
  };
}

/**
 * What a decoded table takes in memory, at most: series may share their labels, and a label of
 * many bytes may be in the encoded table only once.
 */
function decodedBytes({ series }: SeriesTable): number {
  const seen = new Set<Labels>();
  let bytes = 0;
  for (const { name, unit, labels } of series) {
    bytes += SERIES_BYTES + name.length + unit.length;
    if (seen.has(labels)) continue;
    seen.add(labels);
    for (const [key, value] of labels) bytes += LABEL_BYTES + key.length + value.length;
  }
  return bytes;
}
