/**
 * A wire that can be cut: passes datagrams between one client socket and a server, and on demand
 * loses them all, as when the server's machine is gone without a word.
 */
import dgram from 'node:dgram';

export interface UdpAddress {
  readonly host: string;
  readonly port: number;
}

export class UdpRelay {
  /** Where datagrams of clients go; replaceable. */
  target: UdpAddress;
  isCut = false;
  readonly #front = dgram.createSocket('udp4');
  readonly #backs = new Map<string, dgram.Socket>();

  static async open(target: UdpAddress): Promise<UdpRelay> {
    const relay = new UdpRelay(target);
    await new Promise<void>((resolve) => relay.#front.bind(0, '127.0.0.1', resolve));
    return relay;
  }

  private constructor(target: UdpAddress) {
    this.target = target;
    this.#front.on('message', (datagram, from) => {
      const back = this.#backFor(from.address, from.port);
      if (!this.isCut) back.send(datagram, this.target.port, this.target.host);
    });
  }

  get address(): UdpAddress {
    const { address, port } = this.#front.address();
    return { host: address, port };
  }

  close(): void {
    this.#front.close();
    for (const back of this.#backs.values()) back.close();
  }

  #backFor(host: string, port: number): dgram.Socket {
    const key = `${host}:${port}`;
    let back = this.#backs.get(key);
    if (back === undefined) {
      back = dgram.createSocket('udp4');
      back.on('message', (datagram) => {
        if (!this.isCut) this.#front.send(datagram, port, host);
      });
      this.#backs.set(key, back);
    }
    return back;
  }
}
