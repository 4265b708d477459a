/**
 * Handlers that remember what they were told, for one endpoint's side of a test.
 */
import type {
  QuicCloseReason,
  QuicConnection,
  QuicHandlers,
} from '../../src/transport/quic-endpoint.ts';

export interface RecordedStream {
  readonly chunks: Buffer[];
  bytes: number;
  fin: boolean;
  reset: boolean;
}

export class QuicRecorder implements QuicHandlers {
  readonly connected: QuicConnection[] = [];
  readonly closed: { connection: QuicConnection; reason: QuicCloseReason }[] = [];
  readonly streams = new Map<string, RecordedStream>();
  drained = 0;
  /** Whether received bytes are kept. */
  keepsBytes = true;
  /** Called after recording; for servers that answer. */
  react: Partial<QuicHandlers> = {};

  stream(connection: QuicConnection, streamId: number): RecordedStream {
    const key = `${connection.id}/${streamId}`;
    const known = this.streams.get(key);
    if (known !== undefined) return known;
    const stream = { chunks: [], bytes: 0, fin: false, reset: false };
    this.streams.set(key, stream);
    return stream;
  }

  /** Bytes received over all streams and connections. */
  get bytes(): number {
    return [...this.streams.values()].reduce((sum, stream) => sum + stream.bytes, 0);
  }

  get lastReason(): QuicCloseReason | undefined {
    return this.closed.at(-1)?.reason;
  }

  onConnected(connection: QuicConnection): void {
    this.connected.push(connection);
    this.react.onConnected?.(connection);
  }

  onData(connection: QuicConnection, streamId: number, bytes: Uint8Array, fin: boolean): void {
    const stream = this.stream(connection, streamId);
    if (this.keepsBytes) stream.chunks.push(Buffer.from(bytes));
    stream.bytes += bytes.length;
    stream.fin ||= fin;
    this.react.onData?.(connection, streamId, bytes, fin);
  }

  onReset(connection: QuicConnection, streamId: number): void {
    this.stream(connection, streamId).reset = true;
    this.react.onReset?.(connection, streamId);
  }

  onDrained(connection: QuicConnection): void {
    this.drained += 1;
    this.react.onDrained?.(connection);
  }

  onClosed(connection: QuicConnection, reason: QuicCloseReason): void {
    this.closed.push({ connection, reason });
    this.react.onClosed?.(connection, reason);
  }
}
