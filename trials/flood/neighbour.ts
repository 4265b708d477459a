/**
 * A well-behaved node beside the attacked: sends a batch at fixed times whatever the answers do,
 * and keeps how long each acknowledgement took.
 */
import { pino } from 'pino';
import type { Deployment } from '../harness/deployment.ts';
import { TelemetryClient } from '../../src/client/client.ts';
import { encodeSeriesTable } from '../../src/codec/series-table.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { QuicStack } from '../../src/transport/quic-endpoint.ts';
import { pause } from './attack.ts';

const BATCHES_PER_SECOND = 50;
const SERIES = 100;
const DRAIN_MS = 30_000;

export interface NeighbourFigures {
  readonly batches: number;
  readonly accepted: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export class Neighbour {
  readonly #client: TelemetryClient;
  readonly #onSend: () => void;
  readonly #table = encodeSeriesTable(
    Array.from({ length: SERIES }, (_, index) => ({
      name: `neighbour_${index}`,
      labels: [['gpu', String(index % 8)]] as const,
      kind: 'gauge' as const,
      unit: 'W',
    })),
  );
  #round = 0;

  private constructor(client: TelemetryClient, onSend: () => void) {
    this.#client = client;
    this.#onSend = onSend;
  }

  /**
   * Connects and waits for the greeting. The value of its samples is the number of the round, from
   * one; `onSend` is called before each is sent.
   */
  static async open(
    deployment: Deployment,
    stack: QuicStack,
    onSend: () => void,
  ): Promise<Neighbour> {
    const client = await TelemetryClient.open(
      {
        remote: deployment.listen,
        serverName: 'localhost',
        credentials: await deployment.nodeCredentials('neighbour'),
        nodeId: 'neighbour',
        spool: { maxBytes: 64 * 1024 * 1024 },
      },
      {
        clock: systemClock,
        logger: pino({ enabled: false }),
        stack,
      },
    );
    await client.connected();
    return new Neighbour(client, onSend);
  }

  /** Connections after the first. */
  get reconnects(): number {
    return this.#client.stats.reconnects;
  }

  /** Sends until `isOver` says so, and waits for what is unanswered then. */
  async sendUntil(isOver: () => boolean): Promise<NeighbourFigures> {
    const latenciesMs: number[] = [];
    const counts = { batches: 0, accepted: 0 };
    const startedMs = performance.now();
    while (!isOver()) {
      const waitMs = startedMs + (counts.batches * 1000) / BATCHES_PER_SECOND - performance.now();
      if (waitMs > 0) await pause(waitMs);
      counts.batches += 1;
      const sentMs = performance.now();
      void this.#send().then((status) => {
        latenciesMs.push(performance.now() - sentMs);
        if (status === 'accepted') counts.accepted += 1;
      });
    }
    await this.#client.drain(DRAIN_MS);
    await pause(1);
    latenciesMs.sort((a, b) => a - b);
    const at = (share: number) => latenciesMs[Math.floor(share * (latenciesMs.length - 1))] ?? 0;
    return { ...counts, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  async #send(): Promise<string> {
    this.#round += 1;
    this.#onSend();
    const result = await this.#client.send(this.#table, {
      series: Uint32Array.from({ length: SERIES }, (_, index) => index),
      timestampsMs: new Float64Array(SERIES).fill(Date.now()),
      values: new Float64Array(SERIES).fill(this.#round),
    });
    return result.status;
  }
}
