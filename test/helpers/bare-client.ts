/**
 * A client on the binding alone, for what our own endpoint refuses to do: connect without a
 * certificate, resume a session, reset streams.
 */
import { randomBytes } from 'node:crypto';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { buildQuicheConfig, clientDefault } from '@matrixai/quic/config.js';
import quiche from '@matrixai/quic/native/quiche.js';
import type { Connection } from '@matrixai/quic/native/types.js';
import type { QuicAddress, QuicCredentials } from '../../src/transport/quic-endpoint.ts';
import { TEST_TRANSPORT } from './quic-pair.ts';
import { SERVER_NAME } from './test-credentials.ts';

export interface BareClientOptions {
  readonly caPem: string;
  /** Absent: no certificate is shown. */
  readonly pair?: Pick<QuicCredentials, 'certPem' | 'keyPem'>;
  /** A session of an earlier connection, to be resumed. */
  readonly session?: Uint8Array;
  /** Default: the name of the collector of the test authorities. */
  readonly serverName?: string;
}

export class BareClient {
  readonly quiche: Connection;
  readonly #socket: dgram.Socket;
  readonly #server: QuicAddress;
  readonly #out = Buffer.alloc(1350);

  static async connect(server: QuicAddress, options: BareClientOptions): Promise<BareClient> {
    const socket = dgram.createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const client = new BareClient(socket, server, options);
    client.flush();
    return client;
  }

  private constructor(socket: dgram.Socket, server: QuicAddress, options: BareClientOptions) {
    const local = { host: '127.0.0.1', port: socket.address().port };
    const pair = options.pair && { cert: options.pair.certPem, key: options.pair.keyPem };
    const config = buildQuicheConfig({
      ...clientDefault,
      ...pair,
      ca: options.caPem,
      applicationProtos: [TEST_TRANSPORT.alpn],
      maxIdleTimeout: 10_000,
    });
    const serverName = options.serverName ?? SERVER_NAME;
    this.quiche = quiche.Connection.connect(serverName, randomBytes(20), local, server, config);
    if (options.session !== undefined) this.quiche.setSession(options.session);
    this.#socket = socket;
    this.#server = server;
    socket.on('message', (datagram) => {
      try {
        this.quiche.recv(datagram, { from: server, to: local });
      } catch {
        // The connection keeps the error, and `flush` tells the server.
      }
      this.flush();
    });
  }

  /** Sends what the connection has to say; to be called after every change to it. */
  flush(): void {
    const { port, host } = this.#server;
    for (let sent = this.quiche.send(this.#out); sent; sent = this.quiche.send(this.#out)) {
      this.#socket.send(Buffer.from(this.#out.subarray(0, sent[0])), port, host);
    }
  }

  close(): void {
    this.#socket.close();
  }
}
