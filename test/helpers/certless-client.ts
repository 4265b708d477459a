/**
 * A client that shows no certificate, which our own endpoint cannot do: the binding alone, for one
 * handshake.
 */
import { randomBytes } from 'node:crypto';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { buildQuicheConfig, clientDefault } from '@matrixai/quic/config.js';
import quiche from '@matrixai/quic/native/quiche.js';
import type { QuicAddress } from '../../src/lib/quic/quic-endpoint.ts';
import { TEST_TRANSPORT } from './quic-pair.ts';
import { SERVER_NAME } from './test-credentials.ts';

export interface CertlessOutcome {
  /** Whether the client took the handshake for complete. */
  readonly believedConnected: boolean;
  readonly isApplication: boolean;
  readonly code: number;
}

/** Tries to connect and resolves with what the server said to that. */
export async function connectWithoutCertificate(
  server: QuicAddress,
  caPem: string,
): Promise<CertlessOutcome> {
  const config = buildQuicheConfig({
    ...clientDefault,
    ca: caPem,
    applicationProtos: [TEST_TRANSPORT.alpn],
    enableEarlyData: false,
    maxIdleTimeout: 10_000,
  });
  const socket = dgram.createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const local = { host: '127.0.0.1', port: socket.address().port };
  const scid = randomBytes(20);
  const connection = quiche.Connection.connect(SERVER_NAME, scid, local, server, config);
  const out = Buffer.alloc(1350);
  const flush = () => {
    for (let sent = connection.send(out); sent !== null; sent = connection.send(out)) {
      socket.send(Buffer.from(out.subarray(0, sent[0])), server.port, server.host);
    }
  };
  flush();
  while (connection.peerError() === null) {
    const [datagram] = (await once(socket, 'message')) as [Buffer];
    connection.recv(datagram, { from: server, to: local });
    flush();
  }
  socket.close();
  const { isApp: isApplication, errorCode: code } = connection.peerError()!;
  return { believedConnected: connection.isEstablished(), isApplication, code };
}
