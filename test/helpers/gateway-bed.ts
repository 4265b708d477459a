/**
 * The HTTP side of a gateway over a fleet that a test fills, on a free port of loopback.
 */
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { encodeSeriesTable } from '../../src/codec/series-table.ts';
import type { Series } from '../../src/domain/telemetry.ts';
import { Access } from '../../src/gateway/access/access.ts';
import { Fleet } from '../../src/gateway/fleet/fleet.ts';
import type { FeedNode } from '../../src/feed/feed-contract.ts';
import { NodeStates } from '../../src/gateway/fleet/node-states.ts';
import { createApiServer } from '../../src/gateway/http/api-server.ts';
import { LiveHub } from '../../src/gateway/live/live-hub.ts';
import { Tail } from '../../src/gateway/tail/tail.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createRecordingLogger } from './recording-logger.ts';

const SOURCE = 'collector/0123456789abcdef';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: {
    data: Record<string, unknown>[];
    meta: Record<string, unknown>;
    code: string;
    detail: string;
    errors: unknown[];
  };
}

export class GatewayBed {
  readonly tail = new Tail(64 * 1024 * 1024);
  readonly fleet = new Fleet({ maxSeries: 100_000 });
  readonly nodes = new NodeStates(this.fleet, 120_000);
  readonly live = new LiveHub(systemClock, this.tail, 100);
  readonly url: string;
  readonly access: Access;
  #seq = 0;

  private constructor(url: string, access: Access) {
    this.url = url;
    this.access = access;
  }

  /** Open access, or with the keys of a file. */
  static async open(keysFile?: string): Promise<GatewayBed> {
    const { logger } = createRecordingLogger();
    const access = new Access(
      {
        mode: keysFile === undefined ? 'open' : 'keys',
        keysFile: keysFile ?? '',
        allowedHosts: [],
        corsOrigins: [],
        behindProxy: false,
        requestsPerMinute: 0,
        requestsAtOnce: 100,
        sessionLifetimeMs: 60_000,
      },
      systemClock,
      logger,
    );
    const bed = new GatewayBed('', access);
    const { tail, fleet, nodes, live } = bed;
    const services = { clock: systemClock, access, fleet, nodes, tail, live, isLive: () => true };
    const options = { corsOrigins: [], tls: undefined, isSecure: false, maxConnections: 500 };
    const server = await createApiServer(services, options, logger);
    await server.listen({ host: '127.0.0.1', port: 0 });
    live.start();
    tail.begin(SOURCE, 0);
    onTestFinished(async () => {
      live.close();
      await server.close();
    });
    const { port } = server.server.address() as AddressInfo;
    return Object.assign(bed, { url: `http://127.0.0.1:${port}` });
  }

  /** One acknowledged batch with one sample of each series. */
  feed(nodeId: string, atMs: number, samples: readonly (readonly [Series, number])[]): void {
    this.#seq += 1;
    const table = encodeSeriesTable(samples.map(([series]) => series));
    const columns = {
      series: Uint32Array.from(samples, (_, index) => index),
      timestampsMs: new Float64Array(samples.length).fill(atMs),
      values: Float64Array.from(samples, ([, value]) => value),
    };
    this.fleet.take({ nodeId, receivedAtMs: atMs, table, samples: columns });
    const seq = this.#seq;
    this.tail.append({ source: SOURCE, seq, nodeId, receivedAtMs: atMs, table, samples: columns });
  }

  async get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    const response = await fetch(`${this.url}${path}`, { headers });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') === true;
    const isLines = response.headers.get('content-type')?.includes('ndjson') === true;
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: (isJson && !isLines ? JSON.parse(text) : {}) as Answer['body'],
    };
  }
}

/** A gauge of a GPU. */
export function gpuSeries(
  name: string,
  unit: string,
  gpu: { readonly uuid: string; readonly index: number; readonly [label: string]: string | number },
): Series {
  const { uuid, index, ...rest } = gpu;
  const labels = Object.entries({ UUID: uuid, gpu: String(index), ...rest })
    .map(([key, value]) => [key, String(value)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return { name, unit, kind: 'gauge', labels };
}

/** What the collector says of a node. */
export function nodeReport(nodeId: string, more: Partial<FeedNode> = {}): FeedNode {
  return {
    nodeId,
    connections: 1,
    connectedSinceMs: 1000,
    transport: 'quic',
    remoteAddress: '127.0.0.1:1',
    epoch: 1,
    sequence: 1,
    receivedAtMs: Date.now(),
    lastSampleAheadMs: 0,
    knownGaps: 0,
    series: 1,
    maxSeries: 10_000,
    seriesTextBytes: 100,
    maxSeriesTextBytes: 16_777_216,
    ...more,
  };
}
