/**
 * The network between agents and a collector, with a firewall in it: one port for UDP and for TCP,
 * each of which passes, is dropped without a word or is refused; and a path may be too narrow for
 * large datagrams.
 */
import dgram from 'node:dgram';
import { once } from 'node:events';
import type { QuicAddress } from '../../src/transport/quic-endpoint.ts';
import { freePort } from './free-port.ts';
import { type Passage, TcpRelay } from './tcp-relay.ts';

const LONG_HEADER = 0x80;

export class Firewall {
  /**
   * Where set: larger datagrams of connections that are through their handshake are dropped, both
   * ways.
   */
  datagramBytesMax: number | undefined;
  readonly address: QuicAddress;
  readonly #server: QuicAddress;
  readonly #tcp: TcpRelay;
  #udp: Passage = 'open';
  #front: dgram.Socket | undefined;
  readonly #backs = new Map<string, dgram.Socket>();

  static async open(server: QuicAddress): Promise<Firewall> {
    const port = await freePort();
    const firewall = new Firewall(server, port, await TcpRelay.open(port, server));
    await firewall.#bind();
    return firewall;
  }

  private constructor(server: QuicAddress, port: number, tcp: TcpRelay) {
    this.#server = server;
    this.#tcp = tcp;
    this.address = { host: '127.0.0.1', port };
  }

  /** `refused`: the sender gets an ICMP message that the port is unreachable. */
  async setUdp(passage: Passage): Promise<void> {
    this.#udp = passage;
    if (passage === 'refused') await this.#unbind();
    else if (this.#front === undefined) await this.#bind();
  }

  setTcp(passage: Passage): Promise<void> {
    return this.#tcp.set(passage);
  }

  async close(): Promise<void> {
    await Promise.all([this.#unbind(), this.#tcp.close()]);
    for (const back of this.#backs.values()) back.close();
  }

  async #bind(): Promise<void> {
    const front = dgram.createSocket('udp4');
    front.on('message', (datagram, { address, port }) => {
      const back = this.#backFor(address, port);
      if (this.#passes(datagram)) back.send(datagram, this.#server.port, this.#server.host);
    });
    front.bind(this.address.port, this.address.host);
    await once(front, 'listening');
    this.#front = front;
  }

  async #unbind(): Promise<void> {
    const front = this.#front;
    this.#front = undefined;
    if (front !== undefined) await new Promise<void>((resolve) => front.close(resolve));
  }

  #backFor(host: string, port: number): dgram.Socket {
    const key = `${host}:${port}`;
    let back = this.#backs.get(key);
    if (back === undefined) {
      back = dgram.createSocket('udp4');
      back.on('message', (datagram) => {
        if (this.#passes(datagram)) this.#front?.send(datagram, port, host);
      });
      this.#backs.set(key, back);
    }
    return back;
  }

  #passes(datagram: Buffer): boolean {
    if (this.#udp !== 'open') return false;
    const isHandshake = (datagram[0]! & LONG_HEADER) !== 0;
    return isHandshake || datagram.length <= (this.datagramBytesMax ?? Number.POSITIVE_INFINITY);
  }
}
