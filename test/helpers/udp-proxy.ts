/**
 * A bad network between one client and a server, and a NAT that forgets: drops, doubles and
 * reorders datagrams by a seed, keeps what passes, and on demand speaks to the server from another
 * port.
 */
import dgram from 'node:dgram';
import { once } from 'node:events';
import type { QuicAddress } from '../../src/transport/quic-endpoint.ts';
import { type SeededRandom, seededRandom } from './seeded-random.ts';

export interface UdpProxyOptions {
  readonly seed?: number;
  readonly dropChance?: number;
  readonly duplicateChance?: number;
  /** Chance that a datagram is held until the next one has passed. */
  readonly reorderChance?: number;
}

export class UdpProxy {
  /** Loses everything while true. */
  isCut = false;
  /** Everything the client sent, while `records` is true. */
  readonly fromClient: Buffer[] = [];
  /** What the client may send; everything by default. */
  filter: (datagram: Buffer) => boolean = () => true;
  records = false;
  /** Larger datagrams are lost, either way. */
  maxDatagramBytes = Number.POSITIVE_INFINITY;
  /** The largest datagram that passed, each way. */
  readonly largest = { fromClient: 0, fromServer: 0 };
  readonly #server: QuicAddress;
  readonly #options: UdpProxyOptions;
  readonly #random: SeededRandom;
  readonly #front = dgram.createSocket('udp4');
  #back = dgram.createSocket('udp4');
  #client: dgram.RemoteInfo | undefined;
  #heldBack: (() => void) | undefined;

  private constructor(server: QuicAddress, options: UdpProxyOptions) {
    this.#server = server;
    this.#options = options;
    this.#random = seededRandom(options.seed ?? 1);
  }

  static async open(server: QuicAddress, options: UdpProxyOptions = {}): Promise<UdpProxy> {
    const proxy = new UdpProxy(server, options);
    proxy.#front.bind(0, '127.0.0.1');
    await once(proxy.#front, 'listening');
    proxy.#front.on('message', (datagram, from) => {
      proxy.#client = from;
      if (proxy.records) proxy.fromClient.push(datagram);
      if (!proxy.filter(datagram)) return;
      if (!proxy.#fits(datagram, 'fromClient')) return;
      proxy.#pass(() => proxy.#back.send(datagram, server.port, server.host));
    });
    await proxy.rebind();
    return proxy;
  }

  /** Where the client connects to. */
  get address(): QuicAddress {
    return { host: '127.0.0.1', port: this.#front.address().port };
  }

  /** Where the server sees the client. */
  get seenPort(): number {
    return this.#back.address().port;
  }

  /** From now on the server sees another port; answers to the old one are lost. */
  async rebind(): Promise<void> {
    const old = this.#back;
    const back = await boundSocket();
    back.on('message', (datagram) => {
      const client = this.#client;
      if (!this.#fits(datagram, 'fromServer')) return;
      if (client) this.#pass(() => this.#front.send(datagram, client.port, client.address));
    });
    this.#back = back;
    old.close();
  }

  /** Sends a datagram to the server from the client's present port. */
  inject(datagram: Buffer): void {
    this.#back.send(datagram, this.#server.port, this.#server.host);
  }

  close(): void {
    this.#front.close();
    this.#back.close();
  }

  #fits({ length }: Buffer, way: 'fromClient' | 'fromServer'): boolean {
    if (length > this.maxDatagramBytes) return false;
    this.largest[way] = Math.max(this.largest[way], length);
    return true;
  }

  #pass(send: () => void): void {
    if (this.isCut) return;
    const { dropChance = 0, duplicateChance = 0, reorderChance = 0 } = this.#options;
    if (this.#random.next() < dropChance) return;
    if (this.#heldBack === undefined && this.#random.next() < reorderChance) {
      this.#heldBack = send;
      return;
    }
    send();
    if (this.#random.next() < duplicateChance) send();
    this.#heldBack?.();
    this.#heldBack = undefined;
  }
}

/** A socket on the loopback that drops what nobody listens for. */
export async function boundSocket(): Promise<dgram.Socket> {
  const socket = dgram.createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  socket.on('message', () => {});
  return socket;
}
