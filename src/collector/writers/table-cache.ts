/**
 * Series tables by id: read from the journal, decoded, and kept while there is room.
 */
import { OperatingError } from '../../lib/errors.ts';
import type { SeriesTable } from '../../domain/telemetry.ts';
import { WeightedCache } from './weighted-cache.ts';

/** A decoded table weighs about this many times its bytes. */
const DECODED_WEIGHT = 12;
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
    cache.add(id, table, bytes.length * DECODED_WEIGHT);
    return table;
  };
}
