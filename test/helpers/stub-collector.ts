/**
 * A collector with scripted answers, over real QUIC or TLS and the real codec. It keeps every frame
 * it was sent, byte for byte, and answers each as the script says.
 */
import { encodeAck, encodeHello } from '../../src/codec/collector-message.ts';
import { BatchDecoder } from '../../src/codec/decode-batch.ts';
import { encodeBatch } from '../../src/codec/encode-batch.ts';
import { encodeFrame, FrameSplitter } from '../../src/codec/framing.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type {
  QuicAddress,
  QuicConnection,
  QuicCredentials,
  QuicEndpoint,
  QuicHandlers,
  QuicStack,
} from '../../src/transport/quic-endpoint.ts';
import { quinnStack } from '../../src/transport/quinn/quinn-endpoint.ts';
import {
  ALPN_PROTOCOL,
  type BatchAck,
  type BatchRejectReason,
  type Hello,
  type Rejection,
} from '../../src/domain/telemetry.ts';
import { TEST_HELLO } from './test-hello.ts';

/** What the stub does about a batch. */
export type Answer =
  | { kind: 'accept' | 'duplicate' | 'reject' }
  | { kind: 'silence' }
  | { kind: 'partial'; rejected: number; rejections?: readonly Rejection[] }
  | { kind: 'refuse'; reason: BatchRejectReason }
  /** As of a batch whose numbers cannot be read: only the frame says which one is meant. */
  | { kind: 'unreadable' }
  | { kind: 'throttle'; retryAfterMs: number }
  | { kind: 'close'; code: number }
  | { kind: 'bytes'; bytes: Uint8Array };

export interface ReceivedBatch {
  /** Counts the connections from 1. */
  readonly connection: number;
  readonly epoch: number;
  readonly sequence: number;
  readonly sampleCount: number;
  readonly tableId: string;
  readonly values: readonly number[];
  /** The MetricBatch as it came. */
  readonly bytes: Buffer;
  /** The same with its series table, whether it came with it or named it. */
  readonly content: Buffer;
  readonly receivedMs: number;
}

export interface StubOptions {
  /** Default: QUIC. */
  readonly stack?: QuicStack;
  /** Default: any. */
  readonly port?: number;
  readonly credentials: QuicCredentials;
  readonly hello?: Partial<Hello>;
  /** Whether streams are greeted at all. */
  readonly greets?: boolean;
  readonly answer?: (batch: ReceivedBatch) => Answer;
}

const LIMITS = {
  maxBatchSamples: 100_000,
  maxLabelsPerSeries: 64,
  maxNameBytes: 1024,
  maxLabelValueBytes: 4096,
  maxSeries: 100_000,
  maxTextCharacters: 100_000_000,
  maxTextPerByte: 1000,
};

export class StubCollector {
  /** Every batch of every connection, in the order of arrival. */
  readonly received: ReceivedBatch[] = [];
  /** Replaceable while the stub runs. */
  answer: (batch: ReceivedBatch) => Answer;
  connections = 0;
  readonly #options: StubOptions;
  #endpoint: QuicEndpoint | undefined;
  readonly #open = new Set<QuicConnection>();

  static async open(options: StubOptions): Promise<StubCollector> {
    const stub = new StubCollector(options);
    await stub.#listen();
    return stub;
  }

  private constructor(options: StubOptions) {
    this.#options = options;
    this.answer = options.answer ?? (() => ({ kind: 'accept' }));
  }

  get address(): QuicAddress {
    if (this.#endpoint === undefined) throw new Error('the stub is not open');
    return this.#endpoint.address;
  }

  /** Sequences in the order of arrival. */
  get sequences(): number[] {
    return this.received.map((batch) => batch.sequence);
  }

  /** Closes the connections there are, as a collector that restarts does. */
  dropConnections(code = 0x1000): void {
    for (const connection of this.#open) connection.close(code, 'scripted');
  }

  async close(): Promise<void> {
    await this.#endpoint?.close(0x1000, 'stub stops');
  }

  async #listen(): Promise<void> {
    const { credentials, stack = quinnStack, port = 0 } = this.#options;
    this.#endpoint = await stack.openEndpoint(
      {
        bind: { host: '127.0.0.1', port },
        transport: {
          alpn: ALPN_PROTOCOL,
          idleTimeoutMs: 30_000,
          maxStreamsBidi: 16,
          maxStreamsUni: 16,
          streamWindowBytes: 1024 * 1024,
          connectionWindowBytes: 2 * 1024 * 1024,
          maxUdpPayloadBytes: 1350,
        },
        socketBufferBytes: 4 * 1024 * 1024,
        accept: {
          credentials: () => credentials,
          maxConnections: 1000,
          maxHandshakes: 1000,
          maxMemoryBytes: 1 << 30,
          handshakeTimeoutMs: 5000,
          alwaysRetry: false,
          handlers: this.#handlers(),
          onRefused: () => {},
        },
      },
      systemClock,
    );
  }

  #handlers(): QuicHandlers {
    const peers = new Map<string, StubPeer>();
    return {
      onConnected: (connection) => {
        this.connections += 1;
        this.#open.add(connection);
        peers.set(connection.id, new StubPeer(this.connections, this.#options));
      },
      onData: (connection, streamId, bytes) => {
        const peer = peers.get(connection.id);
        peer?.receive(connection, streamId, bytes, (batch) => {
          this.received.push(batch);
          return this.answer(batch);
        });
      },
      onReset: () => {},
      onDrained: () => {},
      onClosed: (connection) => {
        peers.delete(connection.id);
        this.#open.delete(connection);
      },
    };
  }
}

/** One connection of the stub. */
class StubPeer {
  readonly #number: number;
  readonly #options: StubOptions;
  readonly #decoder = new BatchDecoder(LIMITS);
  readonly #splitter = new FrameSplitter(16 * 1024 * 1024);
  #isGreeted = false;
  #frames = 0;

  constructor(number: number, options: StubOptions) {
    this.#number = number;
    this.#options = options;
  }

  receive(
    connection: QuicConnection,
    streamId: number,
    bytes: Uint8Array,
    take: (batch: ReceivedBatch) => Answer,
  ): void {
    if (!this.#isGreeted && this.#options.greets !== false) {
      const hello = encodeHello({ ...TEST_HELLO, ...this.#options.hello });
      connection.write(streamId, encodeFrame(hello));
    }
    this.#isGreeted = true;
    this.#splitter.push(bytes, (frame) => {
      const batch = this.#decode(frame);
      this.#frames += 1;
      respond(connection, streamId, { batch, frame: this.#frames }, take(batch));
    });
  }

  #decode(frame: Uint8Array): ReceivedBatch {
    const result = this.#decoder.decode(frame);
    if (!result.ok) throw new Error(`the client sent a bad batch: ${result.message}`);
    const { batch } = result;
    return {
      connection: this.#number,
      epoch: batch.epoch,
      sequence: batch.sequence,
      sampleCount: batch.samples.series.length,
      tableId: batch.table.id,
      values: [...batch.samples.values],
      bytes: Buffer.from(frame),
      content: Buffer.from(encodeBatch(batch)),
      receivedMs: performance.now(),
    };
  }
}

function respond(
  connection: QuicConnection,
  streamId: number,
  { batch, frame }: { batch: ReceivedBatch; frame: number },
  answer: Answer,
): void {
  if (answer.kind === 'silence') return;
  if (answer.kind === 'close') connection.close(answer.code, 'scripted');
  else if (answer.kind === 'bytes') connection.write(streamId, answer.bytes);
  else connection.write(streamId, encodeFrame(encodeAck(ackOf(batch, answer), frame)));
}

function ackOf(
  batch: ReceivedBatch,
  answer: Exclude<Answer, { kind: 'silence' | 'close' | 'bytes' }>,
): BatchAck {
  const { epoch, sequence, sampleCount } = batch;
  const ack = { epoch, sequence, rejections: [], retryAfterMs: 0, message: '' };
  switch (answer.kind) {
    case 'accept':
      return { ...ack, status: 'accepted', accepted: sampleCount, rejected: 0 };
    case 'duplicate':
      return { ...ack, status: 'duplicate', accepted: 0, rejected: 0 };
    case 'reject':
      return { ...ack, status: 'rejected', accepted: 0, rejected: sampleCount };
    case 'refuse':
      return { ...ack, ...refusal(answer.reason, sampleCount) };
    case 'unreadable':
      return { ...ack, ...refusal('bad_frame', sampleCount), epoch: 0, sequence: 0 };
    case 'partial': {
      const { rejected, rejections = [] } = answer;
      return { ...ack, status: 'partial', accepted: sampleCount - rejected, rejected, rejections };
    }
    case 'throttle': {
      const { retryAfterMs } = answer;
      return { ...ack, status: 'throttled', accepted: 0, rejected: 0, retryAfterMs };
    }
  }
}

function refusal(reason: BatchRejectReason, count: number) {
  const rejections = [{ reason, count, firstSeries: '' }];
  return { status: 'rejected' as const, accepted: 0, rejected: count, rejections };
}
