/**
 * Which of the tables that a connection has sent are remembered. Both ends follow this rule, so
 * that the sender can tell which tables it may name.
 */

export interface RememberedTables {
  /** The newest so many, by their last use. */
  readonly tables: number;
  /** As far as their bytes come to no more than this, all together. */
  readonly bytes: number;
}

/** What the collector remembers: the sources of one agent, or the nodes of one delegate. */
export const REMEMBERED_TABLES: RememberedTables = { tables: 64, bytes: 2 * 1024 * 1024 };

/** Those of `newestFirst` that are remembered; the newest one is, whatever its size. */
export function remembered<Table extends { readonly bytes: Uint8Array }>(
  newestFirst: readonly Table[],
  most: RememberedTables,
): Table[] {
  let bytes = 0;
  return newestFirst.filter((table, place) => {
    bytes += table.bytes.length;
    return place === 0 || (place < most.tables && bytes <= most.bytes);
  });
}
