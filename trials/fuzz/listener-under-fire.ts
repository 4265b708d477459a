/**
 * A listener over real QUIC that decodes what it gets, and a well-behaved neighbour on it who must
 * not notice what is done to the listener.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import {
  createAuthority,
  issueCertificate,
  type KeyPairPem,
} from '../../src/collector/cli/development-certificates.ts';
import { BatchDecoder } from '../../src/codec/decode-batch.ts';
import { encodeFrame } from '../../src/codec/framing.ts';
import { configSchema } from '../../src/config/schema.ts';
import { sleep, systemClock } from '../../src/lib/clock.ts';
import type {
  QuicAddress,
  QuicConnection,
  QuicCredentials,
  QuicEndpoint,
  QuicHandlers,
} from '../../src/transport/quic-endpoint.ts';
import { quicheStack } from '../../src/transport/quiche/quiche-endpoint.ts';
import { tlsStack } from '../../src/transport/tls/tls-endpoint.ts';
import { Listener } from '../../src/collector/listener/listener.ts';
import {
  createListenerMetrics,
  type ListenerSnapshot,
} from '../../src/collector/listener/listener-metrics.ts';
import { ALPN_PROTOCOL, type BatchAck } from '../../src/domain/telemetry.ts';
import { must } from './fuzz-target.ts';
import { SAMPLE_HELLO, validBatches } from './targets/wire-samples.ts';

const DEADLINE_MS = 10_000;
const DECODE_LIMITS = {
  maxBatchSamples: 1000,
  maxLabelsPerSeries: 32,
  maxNameBytes: 256,
  maxLabelValueBytes: 1024,
  maxSeries: 10_000,
  maxTextCharacters: 1_000_000,
  maxTextPerByte: 32,
};
const SILENT: QuicHandlers = {
  onConnected() {},
  onData() {},
  onReset() {},
  onDrained() {},
  onClosed() {},
};

/** A client's side of one connection. */
export interface Peer {
  readonly connection: QuicConnection;
  readonly endpoint: QuicEndpoint;
  readonly receivedBytes: number;
  readonly isOpen: boolean;
}

export class ListenerUnderFire {
  readonly address: QuicAddress;
  readonly #listener: Listener;
  readonly #authority: KeyPairPem;
  readonly #folder: string;
  readonly #snapshot: () => ListenerSnapshot;
  /** What the listener takes for a bug of its own. */
  readonly #bugs: string[];
  #neighbour: Peer | undefined;

  private constructor(parts: {
    readonly address: QuicAddress;
    readonly listener: Listener;
    readonly authority: KeyPairPem;
    readonly folder: string;
    readonly snapshot: () => ListenerSnapshot;
    readonly bugs: string[];
  }) {
    this.address = parts.address;
    this.#listener = parts.listener;
    this.#authority = parts.authority;
    this.#folder = parts.folder;
    this.#snapshot = parts.snapshot;
    this.#bugs = parts.bugs;
  }

  static async open(): Promise<ListenerUnderFire> {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fuzz-listener-'));
    const authority = await createAuthority('Fuzz CA');
    const config = configSchema.parse({
      // Half-open handshakes go quickly, so that the next ones have room.
      server: {
        listen_addr: '127.0.0.1:0',
        tcp_listen_addr: 'off',
        handshake_timeout_secs: 0.2,
      },
      limits: { max_batch_bytes: SAMPLE_HELLO.maxBatchBytes },
      security: await writeCredentials(folder, authority),
    });
    const bugs: string[] = [];
    const logger = pino({ level: 'error' }, { write: (line: string) => void bugs.push(line) });
    let snapshot: (() => ListenerSnapshot) | undefined;
    const metrics = {
      ...createListenerMetrics(new Registry()),
      observe: (read: () => ListenerSnapshot) => {
        snapshot = read;
      },
    };
    const listener = new Listener(
      { stack: quicheStack, tcpStack: tlsStack, clock: systemClock, logger, metrics },
      config,
      { open: door },
    );
    const address = await listener.start();
    must(snapshot !== undefined, 'the listener shows its figures');
    const fire = new ListenerUnderFire({ address, listener, authority, folder, snapshot, bugs });
    fire.#neighbour = await fire.connect('neighbour');
    return fire;
  }

  get datagramsReceived(): number {
    return this.#snapshot().quic.datagramsReceived;
  }

  /** Whole frames, the neighbour's included. */
  get framesReceived(): number {
    return this.#snapshot().traffic.framesBidi;
  }

  async credentials(nodeId: string): Promise<QuicCredentials> {
    const request = { commonName: nodeId, dnsNames: [nodeId] };
    const pair = await issueCertificate(this.#authority, request);
    return { ...pair, caPem: this.#authority.certPem };
  }

  /** Connects and waits until the listener has greeted on a first stream. */
  async connect(nodeId: string, credentials?: QuicCredentials, via = this.address): Promise<Peer> {
    const peer = { receivedBytes: 0, isOpen: true };
    const handlers: QuicHandlers = {
      ...SILENT,
      onConnected: (connection) => sendBatch(connection),
      onData(_connection, _streamId, bytes) {
        peer.receivedBytes += bytes.length;
      },
      onClosed() {
        peer.isOpen = false;
      },
    };
    const transport = {
      alpn: ALPN_PROTOCOL,
      idleTimeoutMs: 60_000,
      maxStreamsBidi: 16,
      maxStreamsUni: 16,
      streamWindowBytes: 1 << 20,
      connectionWindowBytes: 2 << 20,
      maxUdpPayloadBytes: 1350,
    };
    const bind = { host: '127.0.0.1', port: 0 };
    const options = { bind, transport, socketBufferBytes: 1 << 20 };
    const endpoint = await quicheStack.openEndpoint(options, systemClock);
    const connection = endpoint.connect({
      remote: via,
      serverName: 'localhost',
      credentials: credentials ?? (await this.credentials(nodeId)),
      handshakeTimeoutMs: DEADLINE_MS,
      handlers,
    });
    await until('a peer is greeted', () => peer.receivedBytes > 0);
    return Object.assign(peer, { connection, endpoint });
  }

  /**
   * Waits until so many datagrams have come in, or a moment has passed: the system may drop some.
   */
  async caughtUp(datagrams: number): Promise<void> {
    const endMs = systemClock.monotonicMs() + 50;
    while (this.datagramsReceived < datagrams && systemClock.monotonicMs() < endMs) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Throws unless the neighbour is still connected and served, and nothing was taken for a bug. */
  async assertWell(): Promise<void> {
    const neighbour = this.#neighbour;
    must(neighbour?.isOpen === true, 'the neighbour is still connected');
    const before = neighbour.receivedBytes;
    sendBatch(neighbour.connection);
    await until('the neighbour is answered', () => neighbour.receivedBytes > before);
    must(this.#bugs.length === 0, `nothing is logged as an error: ${this.#bugs[0]}`);
  }

  async close(): Promise<void> {
    await this.#neighbour?.endpoint.close(0, 'done');
    await this.#listener.close(1000);
    fs.rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Waits for `condition`; rejects naming `what` when it takes too long. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = systemClock.monotonicMs() + DEADLINE_MS;
  while (!condition()) {
    must(systemClock.monotonicMs() < endMs, `${what} within ${DEADLINE_MS} ms`);
    await sleep(systemClock, 1);
  }
}

/** Opens a stream with one good batch on it. */
export function sendBatch(connection: QuicConnection): void {
  const streamId = connection.openStream('bidi');
  if (streamId === undefined) return;
  connection.write(streamId, encodeFrame(validBatches()[0] ?? Buffer.alloc(1)), true);
}

async function writeCredentials(folder: string, authority: KeyPairPem) {
  const pair = await issueCertificate(authority, { commonName: 'c', dnsNames: ['localhost'] });
  const paths = {
    tls_cert_path: path.join(folder, 'cert.pem'),
    tls_key_path: path.join(folder, 'key.pem'),
    tls_ca_path: path.join(folder, 'ca.pem'),
  };
  fs.writeFileSync(paths.tls_cert_path, pair.certPem);
  fs.writeFileSync(paths.tls_key_path, pair.keyPem);
  fs.writeFileSync(paths.tls_ca_path, authority.certPem);
  return paths;
}

/** Decodes and answers, as the collector does, and keeps nothing. */
function door(peer: { readonly nodeIds: readonly [string, ...string[]] }) {
  const decoder = new BatchDecoder(DECODE_LIMITS);
  return {
    hello: { ...SAMPLE_HELLO, nodeId: peer.nodeIds[0] },
    receive: async (frame: Uint8Array) => answer(decoder, frame),
  };
}

function answer(decoder: BatchDecoder, frame: Uint8Array): BatchAck {
  const result = decoder.decode(frame);
  const { epoch, sequence } = result.ok ? result.batch : result;
  const base = { epoch, sequence, rejected: 0, rejections: [], retryAfterMs: 0 };
  if (!result.ok) return { ...base, status: 'rejected', accepted: 0, message: result.message };
  const accepted = result.batch.samples.values.length;
  return { ...base, status: 'accepted', accepted, message: '' };
}
