/**
 * What was done to the daemon, and what came of it: the rows of the table, and the list of faults
 * that a story is told from.
 */

export interface InjectedFault {
  readonly name: string;
  readonly atMs: number;
  /** Wall time of its end; undefined while it lasts. */
  endMs: number | undefined;
  note: string;
  /** By how much it set the daemon's wall clock wrong. */
  clockErrorMs?: number;
}

/** An order to the daemon's clock takes effect within this. */
const CLOCK_SLACK_MS = 250;

export interface FaultRow {
  times: number;
  ackedSamples: number;
  lost: number;
  doubled: number;
  partialFiles: number;
  readonly recoveryMs: number[];
}

export class FaultBook {
  readonly faults: InjectedFault[] = [];
  readonly rows = new Map<string, FaultRow>();

  begin(name: string, atMs: number): InjectedFault {
    const fault: InjectedFault = { name, atMs, endMs: undefined, note: '' };
    this.faults.push(fault);
    this.row(name).times += 1;
    return fault;
  }

  row(name: string): FaultRow {
    let row = this.rows.get(name);
    if (row === undefined) {
      row = { times: 0, ackedSamples: 0, lost: 0, doubled: 0, partialFiles: 0, recoveryMs: [] };
      this.rows.set(name, row);
    }
    return row;
  }

  recovered(name: string, ms: number): void {
    this.row(name).recoveryMs.push(ms);
  }

  /** The fault that came last before a time: what happened then is put down to it. */
  lastBefore(atMs: number): string {
    let last = 'no fault yet';
    for (const { name, atMs: begunMs } of this.faults) {
      if (begunMs > atMs) break;
      last = name;
    }
    return last;
  }

  /**
   * By how much the daemon's wall clock may have been wrong in a span of time, Unix ms: the lowest
   * and the highest error, 0 among them.
   */
  clockError(fromMs: number, toMs: number): { minMs: number; maxMs: number } {
    const errors = this.between(fromMs - CLOCK_SLACK_MS, toMs + CLOCK_SLACK_MS).map(
      ({ clockErrorMs = 0 }) => clockErrorMs,
    );
    return { minMs: Math.min(0, ...errors), maxMs: Math.max(0, ...errors) };
  }

  /** The faults that overlap a span of time, in order. */
  between(fromMs: number, toMs: number): InjectedFault[] {
    return this.faults.filter(
      ({ atMs, endMs }) => atMs <= toMs && (endMs ?? Number.POSITIVE_INFINITY) >= fromMs,
    );
  }
}
