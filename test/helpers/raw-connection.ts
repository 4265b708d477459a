/**
 * A client without manners: a QUIC connection that writes whatever bytes a test wants.
 */

import { decodeCollectorMessage } from '../../src/codec/collector-message.ts';
import { FrameSplitter } from '../../src/codec/framing.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type {
  QuicAddress,
  QuicCloseReason,
  QuicConnection,
  QuicCredentials,
} from '../../src/transport/quic-endpoint.ts';
import { quinnStack } from '../../src/transport/quinn/quinn-endpoint.ts';
import { ALPN_PROTOCOL, type BatchAck, type Hello } from '../../src/domain/telemetry.ts';

export interface RawConnection {
  readonly connection: QuicConnection;
  readonly closed: Promise<QuicCloseReason>;
  readonly hellos: readonly Hello[];
  readonly acks: readonly BatchAck[];
  /** Opens a stream as soon as the client's side of the handshake is done and writes. */
  writeWhenConnected(bytes: Uint8Array, kind?: 'bidi' | 'uni'): void;
  close(): Promise<void>;
}

export async function connectRaw(
  remote: QuicAddress,
  credentials: QuicCredentials,
  alpn: string = ALPN_PROTOCOL,
): Promise<RawConnection> {
  const transport = {
    alpn,
    idleTimeoutMs: 5000,
    maxStreamsBidi: 16,
    maxStreamsUni: 16,
    streamWindowBytes: 1 << 20,
    connectionWindowBytes: 1 << 21,
    maxUdpPayloadBytes: 1350,
  };
  const bind = { host: '127.0.0.1', port: 0 };
  const endpoint = await quinnStack.openEndpoint(
    { bind, transport, socketBufferBytes: 1 << 20 },
    systemClock,
  );
  const hellos: Hello[] = [];
  const acks: BatchAck[] = [];
  const splitter = new FrameSplitter(1 << 20);
  const waiting: (() => void)[] = [];
  let isConnected = false;
  let onClosed: (reason: QuicCloseReason) => void = () => {};
  const closed = new Promise<QuicCloseReason>((resolve) => {
    onClosed = resolve;
  });
  const connection = endpoint.connect({
    remote,
    serverName: 'localhost',
    credentials,
    handshakeTimeoutMs: 5000,
    handlers: {
      onConnected() {
        isConnected = true;
        for (const action of waiting) action();
      },
      onData(_connection, _streamId, bytes) {
        splitter.push(bytes, (frame) => {
          const message = decodeCollectorMessage(frame);
          if ('hello' in message) hellos.push(message.hello);
          else acks.push(message.ack);
        });
      },
      onReset() {},
      onDrained() {},
      onClosed: (_connection, reason) => onClosed(reason),
    },
  });
  return {
    connection,
    closed,
    hellos,
    acks,
    writeWhenConnected(bytes, kind = 'bidi') {
      const write = () => {
        const streamId = connection.openStream(kind);
        if (streamId !== undefined) connection.write(streamId, bytes);
      };
      if (isConnected) write();
      else waiting.push(write);
    },
    close: () => endpoint.close(0, 'test over'),
  };
}
