/**
 * A collector that stores nothing and answers as a step demands: real QUIC, the real codec, and
 * behaviour that a healthy collector rarely shows.
 */
import { Reader, Writer } from 'protobufjs';
import { encodeAck, encodeHello } from '../../codec/collector-message.ts';
import { BatchDecoder, type DecodeLimits } from '../../codec/decode-batch.ts';
import { scanFrame } from '../../codec/frame-scan.ts';
import { encodeFrame, FrameSplitter } from '../../codec/framing.ts';
import { asBuffer } from '../../codec/text.ts';
import { ALPN_PROTOCOL, type BatchAck, type Hello } from '../../domain/telemetry.ts';
import type { Clock } from '../../lib/clock.ts';
import type {
  QuicAddress,
  QuicConnection,
  QuicCredentials,
  QuicEndpoint,
  QuicStack,
} from '../../transport/quic-endpoint.ts';
import type { ClientWatch, WatchedBatch } from './client-watch.ts';
import type { Judge } from './rules.ts';

const STOPPING = 0x1000;
/** A field that no version of the contract has. */
const UNKNOWN_FIELD = Buffer.from([0xa0, 0x06, 0x01]);

/** One batch on its way in, to be answered or not. */
export interface Arrival {
  readonly batch: WatchedBatch;
  readonly peer: Peer;
  readonly streamId: number;
  readonly frame: number;
}

interface Peer {
  readonly number: number;
  readonly connection: QuicConnection;
  readonly hello: Hello;
  readonly decoder: BatchDecoder;
  readonly streams: Map<number, { readonly splitter: FrameSplitter; frames: number }>;
  isClosed: boolean;
}

export interface StandInParts {
  readonly clock: Clock;
  readonly judge: Judge;
  readonly watch: ClientWatch;
  readonly stack: QuicStack;
}

export class StandInCollector {
  /** Shown to connections to come. */
  credentials: QuicCredentials;
  hello: Hello;
  /** Closes connections as soon as they are open. */
  refuses = false;
  /** What is done about a batch. */
  onBatch: (arrival: Arrival) => void = () => {};
  /** Monotonic ms of every connection that stood. */
  readonly connectedAtMs: number[] = [];
  /** Handshakes that came to nothing. */
  failedHandshakes = 0;
  /** Bytes of streams, whatever they were. */
  streamBytes = 0;
  readonly #parts: StandInParts;
  readonly #peers = new Map<QuicConnection, Peer>();
  #bind: QuicAddress;
  #endpoint: QuicEndpoint | undefined;

  constructor(
    parts: StandInParts,
    options: { bind: QuicAddress; credentials: QuicCredentials; hello: Hello },
  ) {
    this.#parts = parts;
    this.#bind = options.bind;
    this.credentials = options.credentials;
    this.hello = options.hello;
  }

  get connections(): number {
    return this.#peers.size;
  }

  get address(): QuicAddress {
    return this.#bind;
  }

  /** Listens; after `stop`, again on the same port. */
  async start(): Promise<void> {
    const { clock, stack } = this.#parts;
    this.#endpoint = await stack.openEndpoint(
      {
        bind: this.#bind,
        transport: {
          alpn: ALPN_PROTOCOL,
          idleTimeoutMs: 15_000,
          maxStreamsBidi: 16,
          maxStreamsUni: 16,
          streamWindowBytes: 1 << 20,
          connectionWindowBytes: 1 << 21,
          maxUdpPayloadBytes: 1350,
        },
        socketBufferBytes: 1 << 20,
        accept: {
          credentials: () => this.credentials,
          maxConnections: 100,
          maxHandshakes: 100,
          maxMemoryBytes: 1 << 30,
          handshakeTimeoutMs: 5000,
          alwaysRetry: false,
          onRefused: () => {},
          handlers: {
            onConnected: (connection) => this.#connected(connection),
            onData: (connection, streamId, bytes) => this.#data(connection, streamId, bytes),
            onReset: () => {},
            onDrained: () => {},
            onClosed: (connection) => this.#closed(connection),
          },
        },
      },
      clock,
    );
    this.#bind = this.#endpoint.address;
  }

  async stop(): Promise<void> {
    await this.#endpoint?.close(STOPPING, 'collector is stopping');
    this.#endpoint = undefined;
  }

  /** Closes all connections as a collector does that stops. */
  closeConnections(): void {
    for (const { connection } of [...this.#peers.values()]) connection.close(STOPPING, 'stopping');
  }

  /** Writes the answer, if the connection is still open. */
  answer(arrival: Arrival, verdict: Partial<BatchAck> & Pick<BatchAck, 'status'>): void {
    const { peer, batch, streamId } = arrival;
    if (peer.isClosed) return;
    const ack = ackOf(batch, verdict);
    peer.connection.write(streamId, encodeFrame(strange(encodeAck(ack, arrival.frame))));
    const by = { connection: peer.number, retryAfterMs: ack.retryAfterMs };
    this.#parts.watch.answered(batch, ack.status, by, this.#parts.clock.monotonicMs());
  }

  /** Writes the beginning of an answer, and closes. */
  answerInHalf({ peer, streamId }: Arrival): void {
    peer.connection.write(streamId, Buffer.from([0, 0, 0, 20, 0x12]));
    peer.connection.close(STOPPING, 'stopping');
  }

  #connected(connection: QuicConnection): void {
    this.connectedAtMs.push(this.#parts.clock.monotonicMs());
    if (this.refuses) {
      connection.close(STOPPING, 'refused');
      return;
    }
    this.#peers.set(connection, {
      number: this.connectedAtMs.length,
      connection,
      hello: this.hello,
      decoder: new BatchDecoder(limitsOf(this.hello)),
      streams: new Map(),
      isClosed: false,
    });
  }

  #data(connection: QuicConnection, streamId: number, bytes: Uint8Array): void {
    this.streamBytes += bytes.length;
    const peer = this.#peers.get(connection);
    const isBidi = connection.streamKind(streamId) === 'bidi';
    if (peer === undefined || peer.isClosed || !isBidi) return;
    let stream = peer.streams.get(streamId);
    if (stream === undefined) {
      stream = { splitter: new FrameSplitter(peer.hello.maxBatchBytes), frames: 0 };
      peer.streams.set(streamId, stream);
      connection.write(streamId, encodeFrame(strange(encodeHello(peer.hello))));
    }
    const { splitter } = stream;
    if (splitter.push(bytes, (frame) => this.#frame(peer, streamId, frame))) return;
    this.#parts.judge.fail('limits', splitter.brokenReason ?? 'a bad frame length');
    connection.close(0x1001, 'bad frame length');
  }

  #frame(peer: Peer, streamId: number, frame: Uint8Array): void {
    const { judge, watch, clock } = this.#parts;
    const stream = peer.streams.get(streamId)!;
    stream.frames += 1;
    const scan = scanFrame(asBuffer(frame));
    const namesTable = scan.tableIdEnd > scan.tableIdStart;
    const result = peer.decoder.decode(frame);
    if (!result.ok) {
      const rule = ruleOf(result.reason, namesTable);
      judge.fail(rule, `${result.epoch}/${result.sequence}: ${result.message}`);
      return;
    }
    const from = { connection: peer.number, hello: peer.hello, namesTable };
    const batch = watch.arrived(result.batch, from, clock.monotonicMs());
    this.onBatch({ batch, peer, streamId, frame: stream.frames });
  }

  #closed(connection: QuicConnection): void {
    const peer = this.#peers.get(connection);
    this.#peers.delete(connection);
    if (peer === undefined) {
      this.failedHandshakes += 1;
      return;
    }
    peer.isClosed = true;
    this.#parts.watch.connectionClosed(peer.number, this.#parts.clock.monotonicMs());
  }
}

function ruleOf(reason: string, namesTable: boolean) {
  if (reason === 'bad_series' && namesTable) return 'tables';
  return reason === 'bad_series' || reason === 'too_large' ? 'limits' : 'frames';
}

function limitsOf(hello: Hello): DecodeLimits {
  return {
    maxBatchSamples: hello.maxBatchSamples,
    maxLabelsPerSeries: hello.maxLabelsPerSeries,
    maxNameBytes: hello.maxNameBytes,
    maxLabelValueBytes: hello.maxLabelValueBytes,
    maxSeries: hello.maxTableSeries,
    maxTextCharacters: 8 * hello.maxBatchBytes,
    maxTextPerByte: 32,
  };
}

function ackOf(
  { epoch, sequence, samples }: WatchedBatch,
  verdict: Partial<BatchAck> & Pick<BatchAck, 'status'>,
): BatchAck {
  const accepted = verdict.status === 'accepted' ? samples : 0;
  const rejected = verdict.status === 'rejected' ? samples : 0;
  const rest = { rejections: [], retryAfterMs: 0, message: '' };
  return { epoch, sequence, accepted, rejected, ...rest, ...verdict };
}

/** A CollectorMessage with unknown fields, in it and in the messages inside it. */
function strange(message: Uint8Array): Uint8Array {
  const reader = Reader.create(message);
  const tag = reader.uint32();
  const inner = Buffer.concat([reader.bytes(), UNKNOWN_FIELD]);
  const outer = Writer.create().uint32(tag).bytes(inner).finish();
  return Buffer.concat([outer, UNKNOWN_FIELD]);
}
