/**
 * The network between agents and the daemon, with weather: loses, doubles, reorders, corrupts and
 * delays datagrams, and lets clients appear under another port, as a NAT does. Beside UDP there is
 * TCP on the same port, which passes or, where everything is cut, stands still.
 */
import dgram from 'node:dgram';
import { once } from 'node:events';
import type { SeededRandom } from '../../src/agent/sources/seeded-random.ts';
import type { Clock } from '../../src/lib/clock.ts';
import type { QuicAddress } from '../../src/transport/quic-endpoint.ts';
import { freePort } from '../harness/free-port.ts';
import { TcpRelay } from '../harness/tcp-relay.ts';

/** Chances per datagram, each way. */
export interface Weather {
  readonly drop?: number;
  readonly duplicate?: number;
  /** Held until the next datagram has passed. */
  readonly reorder?: number;
  /** One bit is turned over. */
  readonly corrupt?: number;
  /** Each datagram waits up to this long, by chance. */
  readonly delayMs?: number;
  readonly isCut?: boolean;
  /** UDP alone, as a firewall does. */
  readonly isUdpCut?: boolean;
}

interface Client {
  readonly address: string;
  readonly port: number;
  back: dgram.Socket;
}

const CLIENTS_MAX = 64;

export class NetworkProxy {
  #weather: Weather = {};
  readonly #server: QuicAddress;
  readonly #random: SeededRandom;
  readonly #clock: Clock;
  readonly #tcp: TcpRelay;
  readonly address: QuicAddress;
  readonly #front = dgram.createSocket('udp4');
  readonly #clients = new Map<string, Client>();
  #held: (() => void) | undefined;
  #isClosed = false;

  private constructor(server: QuicAddress, random: SeededRandom, clock: Clock, tcp: TcpRelay) {
    this.#server = server;
    this.#tcp = tcp;
    this.address = { host: '127.0.0.1', port: tcp.port };
    this.#random = random;
    this.#clock = clock;
  }

  static async open(
    server: QuicAddress,
    random: SeededRandom,
    clock: Clock,
  ): Promise<NetworkProxy> {
    const tcp = await TcpRelay.open(await freePort(), server);
    const proxy = new NetworkProxy(server, random, clock, tcp);
    proxy.#front.on('message', (datagram, from) => proxy.#fromClient(datagram, from));
    proxy.#front.bind(tcp.port, '127.0.0.1');
    await once(proxy.#front, 'listening');
    return proxy;
  }

  set weather(weather: Weather) {
    this.#weather = weather;
    void this.#tcp.set(weather.isCut === true ? 'silent' : 'open');
  }

  /** From now on the daemon sees every client under another port; answers to the old are lost. */
  rebind(): void {
    for (const client of this.#clients.values()) {
      client.back.close();
      client.back = this.#openBack(client);
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#tcp.close();
    this.#front.close();
    for (const { back } of this.#clients.values()) back.close();
  }

  #fromClient(datagram: Buffer, from: dgram.RemoteInfo): void {
    const key = `${from.address}:${from.port}`;
    let client = this.#clients.get(key);
    if (client === undefined) {
      client = this.#addClient(key, from);
    }
    const known = client;
    this.#pass(datagram, (bytes) => known.back.send(bytes, this.#server.port, this.#server.host));
  }

  #addClient(key: string, { address, port }: dgram.RemoteInfo): Client {
    const oldest = this.#clients.entries().next().value;
    if (this.#clients.size >= CLIENTS_MAX && oldest !== undefined) {
      oldest[1].back.close();
      this.#clients.delete(oldest[0]);
    }
    const client = { address, port, back: this.#openBack({ address, port }) };
    this.#clients.set(key, client);
    return client;
  }

  #openBack({ address, port }: Pick<Client, 'address' | 'port'>): dgram.Socket {
    const back = dgram.createSocket('udp4');
    back.on('error', () => {});
    back.on('message', (datagram) => {
      this.#pass(datagram, (bytes) => this.#front.send(bytes, port, address));
    });
    return back;
  }

  #pass(datagram: Buffer, send: (bytes: Buffer) => void): void {
    const { drop = 0, duplicate = 0, reorder = 0, corrupt = 0, delayMs = 0 } = this.#weather;
    const { isCut, isUdpCut } = this.#weather;
    if (isCut === true || isUdpCut === true || this.#chance(drop)) return;
    const bytes = this.#chance(corrupt) ? this.#corrupted(datagram) : datagram;
    const go = () => {
      if (!this.#isClosed) sendQuietly(send, bytes);
    };
    if (delayMs > 0) {
      this.#clock.after(this.#random.next() * delayMs, go);
      return;
    }
    if (this.#held === undefined && this.#chance(reorder)) {
      this.#held = go;
      return;
    }
    go();
    if (this.#chance(duplicate)) go();
    this.#held?.();
    this.#held = undefined;
  }

  #chance(probability: number): boolean {
    return probability > 0 && this.#random.next() < probability;
  }

  #corrupted(datagram: Buffer): Buffer {
    const bytes = Buffer.from(datagram);
    const at = Math.floor(this.#random.next() * bytes.length);
    bytes[at] = bytes[at]! ^ (1 << Math.floor(this.#random.next() * 8));
    return bytes;
  }
}

/** The socket may have been replaced while the datagram waited. */
function sendQuietly(send: (bytes: Buffer) => void, bytes: Buffer): void {
  try {
    send(bytes);
  } catch {
    // Lost, as datagrams may be.
  }
}
