/**
 * A listener over real QUIC with a door that a test holds open or shut, and agents that speak
 * frames.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Registry } from 'prom-client';
import { decodeCollectorMessage } from '../../src/codec/collector-message.ts';
import { encodeFrame, FrameSplitter } from '../../src/codec/framing.ts';
import { type Config, configSchema } from '../../src/config/schema.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import type { QuicAddress, QuicCredentials } from '../../src/transport/quic-endpoint.ts';
import { type Door, Listener } from '../../src/collector/listener/listener.ts';
import { createListenerMetrics } from '../../src/collector/listener/listener-metrics.ts';
import type { BatchAck, Hello, PeerIdentity } from '../../src/domain/telemetry.ts';
import { QuicTestBed, type TestClient, type TestClientOptions } from './quic-pair.ts';
import { createRecordingLogger, type RecordingLogger } from './recording-logger.ts';
import { TEST_HELLO } from './test-hello.ts';
import { quinnStack } from '../../src/transport/quinn/quinn-endpoint.ts';
import { tlsStack } from '../../src/transport/tls/tls-endpoint.ts';

export interface ReceivedFrame {
  readonly peer: PeerIdentity;
  readonly bytes: Buffer;
  answer(change?: Partial<BatchAck>): void;
}

/** Remembers what came in. Answers at once unless `holds`. */
export class RecordingDoor implements Door {
  readonly frames: ReceivedFrame[] = [];
  readonly opened: PeerIdentity[] = [];
  holds = false;

  open(peer: PeerIdentity) {
    this.opened.push(peer);
    const hello: Hello = {
      ...TEST_HELLO,
      collectorId: 'test',
      nodeId: peer.nodeIds[0],
      maxBatchBytes: 1000,
      maxBatchSamples: 10,
    };
    return { hello, receive: (frame: Uint8Array) => this.#receive(peer, frame) };
  }

  #receive(peer: PeerIdentity, frame: Uint8Array): Promise<BatchAck> {
    const sequence = this.frames.length + 1;
    return new Promise((resolve) => {
      const answer = (change: Partial<BatchAck> = {}) =>
        resolve({ ...ACCEPTED, sequence, ...change });
      this.frames.push({ peer, bytes: Buffer.from(frame), answer });
      if (!this.holds) answer();
    });
  }
}

export const ACCEPTED: BatchAck = {
  epoch: 1,
  sequence: 1,
  status: 'accepted',
  accepted: 1,
  rejected: 0,
  rejections: [],
  retryAfterMs: 0,
  message: '',
};

export interface TestListener {
  readonly listener: Listener;
  readonly door: RecordingDoor;
  readonly address: QuicAddress;
  readonly registry: Registry;
  readonly log: RecordingLogger;
  readonly files: CredentialFiles;
  /** The value of one series of the registry; 0 where there is none. */
  metric(name: string, labels?: Record<string, string>): Promise<number>;
}

export type ServerSettings = Partial<Config['server']>;

export interface ListenerSettings {
  readonly server?: ServerSettings;
  readonly security?: Partial<Config['security']>;
  readonly limits?: Partial<Config['limits']>;
  readonly clock?: Clock;
}

export class ListenerBed {
  readonly quic = new QuicTestBed(quinnStack);
  readonly #listeners: Listener[] = [];
  readonly #folders: string[] = [];

  async listener(
    credentials: QuicCredentials,
    settings: ListenerSettings = {},
  ): Promise<TestListener> {
    const files = this.credentialFiles(credentials);
    const config = configSchema.parse({
      server: { listen_addr: '127.0.0.1:0', tcp_listen_addr: 'off', ...settings.server },
      security: { ...files.paths, ...settings.security },
      limits: settings.limits ?? {},
    });
    const registry = new Registry();
    const log = createRecordingLogger();
    const door = new RecordingDoor();
    const metrics = createListenerMetrics(registry);
    const clock = settings.clock ?? systemClock;
    const deps = { stack: quinnStack, tcpStack: tlsStack, clock, logger: log.logger, metrics };
    const listener = new Listener(deps, config, door);
    const address = await listener.start();
    this.#listeners.push(listener);
    const metric = (name: string, labels = {}) => readMetric(registry, name, labels);
    return { listener, door, address, registry, log, files, metric };
  }

  credentialFiles(credentials: QuicCredentials): CredentialFiles {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'listener-'));
    this.#folders.push(folder);
    const files = new CredentialFiles(folder);
    files.write(credentials);
    return files;
  }

  async agent(
    address: QuicAddress,
    credentials: QuicCredentials,
    options: TestClientOptions = {},
  ): Promise<TestAgent> {
    return new TestAgent(await this.quic.client(address, credentials, options));
  }

  async close(): Promise<void> {
    await this.quic.close();
    await Promise.all(this.#listeners.splice(0).map((listener) => listener.close(1000)));
    for (const folder of this.#folders.splice(0)) fs.rmSync(folder, { recursive: true });
  }
}

export class CredentialFiles {
  readonly paths: { tls_cert_path: string; tls_key_path: string; tls_ca_path: string };

  constructor(folder: string) {
    this.paths = {
      tls_cert_path: path.join(folder, 'server.pem'),
      tls_key_path: path.join(folder, 'server-key.pem'),
      tls_ca_path: path.join(folder, 'ca.pem'),
    };
  }

  write(credentials: Partial<QuicCredentials>): void {
    const { certPem, keyPem, caPem } = credentials;
    if (certPem !== undefined) replaceFile(this.paths.tls_cert_path, certPem);
    if (keyPem !== undefined) replaceFile(this.paths.tls_key_path, keyPem);
    if (caPem !== undefined) replaceFile(this.paths.tls_ca_path, caPem);
  }
}

/** The client side of sessions: writes frames, reads the collector's messages. */
export class TestAgent {
  readonly client: TestClient;
  readonly hellos: Hello[] = [];
  readonly acks: BatchAck[] = [];
  /** The frame that each of `acks` names. */
  readonly ackedFrames: number[] = [];
  /** 'hello' and 'ack', in order of arrival, by stream. */
  readonly order = new Map<number, string[]>();
  readonly ended = new Set<number>();
  readonly #splitters = new Map<number, FrameSplitter>();

  constructor(client: TestClient) {
    this.client = client;
    client.recorder.react = {
      onData: (_, streamId, bytes, fin) => {
        this.#splitter(streamId).push(bytes, (frame) => this.#take(streamId, frame));
        if (fin) this.ended.add(streamId);
      },
    };
  }

  get isConnected(): boolean {
    return this.client.recorder.connected.length > 0;
  }

  get closeCode(): number | undefined {
    return this.client.recorder.lastReason?.code;
  }

  get closeReason(): string | undefined {
    return this.client.recorder.lastReason?.reason;
  }

  open(kind: 'bidi' | 'uni' = 'bidi'): number {
    return this.client.connection.openStream(kind)!;
  }

  send(streamId: number, payload: string | Uint8Array, fin = false): void {
    this.client.connection.write(streamId, encodeFrame(Buffer.from(payload)), fin);
  }

  #splitter(streamId: number): FrameSplitter {
    const splitter = this.#splitters.get(streamId) ?? new FrameSplitter(1 << 20);
    this.#splitters.set(streamId, splitter);
    return splitter;
  }

  #take(streamId: number, frame: Uint8Array): void {
    const message = decodeCollectorMessage(frame);
    const order = this.order.get(streamId) ?? [];
    this.order.set(streamId, order);
    if ('hello' in message) {
      this.hellos.push(message.hello);
      order.push('hello');
    } else {
      this.acks.push(message.ack);
      this.ackedFrames.push(message.frame);
      order.push('ack');
    }
  }
}

function replaceFile(file: string, text: string): void {
  fs.writeFileSync(`${file}.new`, text);
  fs.renameSync(`${file}.new`, file);
}

async function readMetric(
  registry: Registry,
  name: string,
  labels: Record<string, string>,
): Promise<number> {
  const metric = registry.getSingleMetric(`telemetry_collector_listener_${name}`);
  const { values } = (await metric?.get()) ?? { values: [] };
  const wanted = Object.entries(labels);
  const found = values.filter((value) =>
    wanted.every(([key, label]) => (value.labels as Record<string, unknown>)[key] === label),
  );
  return found.reduce((sum, { value }) => sum + value, 0);
}
