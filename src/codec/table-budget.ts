/**
 * Who pays for reading series that a connection has not sent before. Reading a table takes the main
 * thread a thousand times longer than recognising it, so it is asked for before it is done.
 */

export interface TableBudget {
  /**
   * 0 where so many bytes of series may be read for the node, which then has paid; otherwise after
   * how many ms it is worth asking again. `nodeId` is what the sender claims: not believed yet.
   */
  charge(nodeId: string, bytes: number): number;
}

/** A batch whose series are not read now; it has to come again. */
export interface TablePostponed {
  readonly ok: false;
  readonly reason: 'node_tables';
  readonly message: string;
  readonly retryAfterMs: number;
}

/** For senders that are trusted, or are not many. */
export const UNLIMITED_TABLES: TableBudget = { charge: () => 0 };

/** The answer while the node's budget is used up. */
export function postponed(retryAfterMs: number): TablePostponed {
  const message = 'the node sends new series faster than it may';
  return { ok: false, reason: 'node_tables', message, retryAfterMs };
}
