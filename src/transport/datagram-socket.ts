/**
 * The UDP socket of an endpoint: binding, buffers, sending without a lookup per datagram, and
 * errors that end nothing. A datagram that cannot be sent is a datagram lost, which QUIC is made
 * for.
 */
import dgram from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import type { Clock } from '../lib/clock.ts';
import { sleep } from '../lib/clock.ts';
import { errorMessage, OperatingError } from '../lib/errors.ts';
import type { QuicAddress } from './quic-endpoint.ts';

const CLOSE_WAIT_MS = 200;
const CLOSE_POLL_MS = 5;

export type DatagramHandler = (datagram: Buffer, from: dgram.RemoteInfo) => void;

export class DatagramSocket {
  readonly address: QuicAddress;
  /** What the kernel gave of the buffer that was asked for. Known after the close as well. */
  readonly receiveBufferBytes: number;
  readonly #socket: dgram.Socket;
  readonly #onSent = (error: Error | null) => {
    this.#sendsInFlight -= 1;
    if (error) this.#sendErrors += 1;
  };
  #sendsInFlight = 0;
  #sent = 0;
  #sentBytes = 0;
  #sendErrors = 0;
  #isClosed = false;

  private constructor(socket: dgram.Socket) {
    this.#socket = socket;
    const { address, port } = socket.address();
    this.address = { host: address, port };
    // Linux doubles what it gives, for its own bookkeeping, and reports the double.
    const bytes = socket.getRecvBufferSize();
    this.receiveBufferBytes = process.platform === 'linux' ? bytes / 2 : bytes;
    socket.on('error', () => {
      this.#sendErrors += 1;
    });
  }

  /** Rejects with OperatingError CANNOT_BIND. */
  static async bind(bind: QuicAddress, bufferBytes: number): Promise<DatagramSocket> {
    const family = isIPv6(bind.host) ? 6 : 4;
    const socket = dgram.createSocket({
      type: family === 6 ? 'udp6' : 'udp4',
      recvBufferSize: bufferBytes,
      sendBufferSize: bufferBytes,
      // Hosts here are addresses already; without this the socket asks the resolver for each send.
      lookup: (host, _options, callback) => callback(null, host, family),
    });
    try {
      // With a lookup that answers at once, so does bind: listen first.
      const listening = once(socket, 'listening');
      socket.bind(bind.port, bind.host);
      await listening;
      return new DatagramSocket(socket);
    } catch (error) {
      socket.on('error', () => {});
      socket.close();
      const why = errorMessage(error);
      const where = `${bind.host}:${bind.port}`;
      throw new OperatingError('CANNOT_BIND', `cannot bind UDP ${where}: ${why}`, { cause: error });
    }
  }

  get sent(): number {
    return this.#sent;
  }

  get sentBytes(): number {
    return this.#sentBytes;
  }

  /** Datagrams the system would not take, and other errors of the socket. */
  get errors(): number {
    return this.#sendErrors;
  }

  onDatagram(handler: DatagramHandler): void {
    this.#socket.on('message', handler);
  }

  /** Takes over `datagram`: it must not change afterwards. Never throws. */
  send(datagram: Uint8Array, to: QuicAddress): void {
    if (this.#isClosed) return;
    this.#sent += 1;
    this.#sentBytes += datagram.length;
    this.#sendsInFlight += 1;
    try {
      this.#socket.send(datagram, to.port, to.host, this.#onSent);
    } catch {
      // Port zero, for example: a peer chose it, so it is no bug of ours.
      this.#sendsInFlight -= 1;
      this.#sendErrors += 1;
    }
  }

  /** Closes the socket once the system has taken what was sent, or shortly after. Idempotent. */
  async close(clock: Clock): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const deadlineMs = clock.monotonicMs() + CLOSE_WAIT_MS;
    while (this.#sendsInFlight > 0 && clock.monotonicMs() < deadlineMs) {
      await sleep(clock, CLOSE_POLL_MS);
    }
    this.#socket.removeAllListeners('message');
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }
}
