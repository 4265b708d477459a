/**
 * A client with a certificate and without manners.
 */
import { systemClock } from '../../../src/lib/clock.ts';
import type {
  QuicCloseReason,
  QuicConnection,
  QuicCredentials,
  QuicStack,
  QuicTransportOptions,
} from '../../../src/transport/quic-endpoint.ts';
import { quicheStack } from '../../../src/transport/quiche/quiche-endpoint.ts';
import { ALPN_PROTOCOL } from '../../../src/domain/telemetry.ts';
import { type AttackTask, turn } from '../attack.ts';

const TRANSPORT: QuicTransportOptions = {
  alpn: ALPN_PROTOCOL,
  idleTimeoutMs: 60_000,
  maxStreamsBidi: 16,
  maxStreamsUni: 16,
  streamWindowBytes: 1 << 20,
  connectionWindowBytes: 2 << 20,
  maxUdpPayloadBytes: 1350,
};
/** A frame that is answered with a refusal: the schema version is seven. */
export const REFUSED_FRAME = Buffer.from([0, 0, 0, 2, 0x08, 0x07]);

export interface AttackPeer {
  readonly connection: QuicConnection;
  /** Resolves with the collector's first byte. */
  readonly greeted: Promise<void>;
  readonly closed: Promise<QuicCloseReason>;
  readonly isGreeted: boolean;
  readonly isOpen: boolean;
  readonly receivedBytes: number;
  leave(): Promise<void>;
}

/** Connects, and asks for a greeting by a first frame unless `isSilent`. */
export async function connectPeer(
  task: Pick<AttackTask, 'remote'>,
  credentials: QuicCredentials,
  options: {
    /** Default: QUIC. */
    readonly stack?: QuicStack;
    readonly isSilent?: boolean;
    readonly transport?: Partial<QuicTransportOptions>;
    readonly onConnected?: (connection: QuicConnection) => void;
  } = {},
): Promise<AttackPeer> {
  const { promise: greeted, resolve: greet } = promiseParts<void>();
  const { promise: closed, resolve: close } = promiseParts<QuicCloseReason>();
  const state = { isGreeted: false, isOpen: true, receivedBytes: 0 };
  const { stack = quicheStack } = options;
  const endpoint = await stack.openEndpoint(
    {
      bind: { host: '127.0.0.1', port: 0 },
      transport: { ...TRANSPORT, ...options.transport },
      socketBufferBytes: 1 << 20,
    },
    systemClock,
  );
  const connection = endpoint.connect({
    remote: task.remote,
    serverName: 'localhost',
    credentials,
    handshakeTimeoutMs: 5000,
    handlers: {
      onConnected(connection) {
        options.onConnected?.(connection);
        if (options.isSilent === true) return;
        const streamId = connection.openStream('bidi');
        if (streamId !== undefined) connection.write(streamId, REFUSED_FRAME, true);
      },
      onData(_connection, _streamId, bytes) {
        state.receivedBytes += bytes.length;
        state.isGreeted = true;
        greet();
      },
      onReset() {},
      onDrained() {},
      onClosed(_connection, reason) {
        state.isOpen = false;
        close(reason);
      },
    },
  });
  const leave = () => endpoint.close(0x2000, 'left');
  return Object.assign(state, { connection, greeted, closed, leave });
}

/** Waits while the stack holds back more than `bytes` of a peer that is still connected. */
export async function untilTaken(peer: AttackPeer, bytes = 256 * 1024): Promise<void> {
  while (peer.isOpen && peer.connection.queuedBytes > bytes) await turn();
}

function promiseParts<T>() {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((fulfil) => {
    resolve = fulfil;
  });
  return { promise, resolve };
}
