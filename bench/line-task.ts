/**
 * What the peer's benchmark and its line generator say to each other.
 */

export interface LineTask {
  /** Where lines are posted, precision included. */
  readonly url: string;
  readonly nodes: number;
  readonly requestsAtOnce: number;
  readonly seconds: number;
}

export interface LineReport {
  readonly seconds: number;
  readonly samples: number;
  readonly requests: number;
  /** Line protocol, before any compression. */
  readonly bytes: number;
}
