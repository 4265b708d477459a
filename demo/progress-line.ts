/**
 * What goes on while the fleet sends: one line that is rewritten on a terminal, a line a second
 * elsewhere.
 */
import type { MetricsPage } from '../trials/harness/metrics-page.ts';
import type { SimulatedFleet } from '../trials/harness/simulated-fleet.ts';

export class ProgressLine {
  readonly #print: (text: string) => void;
  readonly #isTerminal = process.stdout.isTTY === true;
  #lastAcked = 0;
  #lastMs: number | undefined;

  constructor(print: (text: string) => void) {
    this.#print = print;
  }

  show(fleet: SimulatedFleet, metrics: MetricsPage, nowMs: number): void {
    const { ackedSamples, sentBatches } = fleet.totals;
    const seconds = this.#lastMs === undefined ? 1 : (nowMs - this.#lastMs) / 1000;
    const rate = Math.round((ackedSamples - this.#lastAcked) / seconds);
    this.#lastAcked = ackedSamples;
    this.#lastMs = nowMs;
    const parts = [
      `${rate.toLocaleString('en-US').padStart(9)} metrics/s`,
      `${sentBatches.toLocaleString('en-US')} batches`,
      `${ackedSamples.toLocaleString('en-US')} acked`,
      `ack p99 ${(fleet.ackLatency.percentile(99) / 1000).toFixed(1)} ms`,
      `waiting for Parquet ${metrics.sum('samples_pending').toLocaleString('en-US')}`,
    ];
    const line = parts.join(' · ');
    this.#print(this.#isTerminal ? `\r\u001b[2K${line}` : `${line}\n`);
  }

  end(): void {
    if (this.#isTerminal) this.#print('\n');
  }
}
