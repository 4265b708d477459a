/**
 * TCP between clients and a server, and a firewall on its way: passes everything, swallows
 * everything as one that drops packets does, or refuses and resets like one that rejects.
 */
import { once } from 'node:events';
import net from 'node:net';
import type { QuicAddress } from '../../src/transport/quic-endpoint.ts';

/** What becomes of packets. */
export type Passage = 'open' | 'silent' | 'refused';

export class TcpRelay {
  readonly #server: QuicAddress;
  /** Of 127.0.0.1, where clients connect to. */
  readonly port: number;
  #passage: Passage = 'open';
  #listener: net.Server | undefined;
  readonly #pipes = new Set<{ readonly near: net.Socket; readonly far: net.Socket }>();

  static async open(port: number, server: QuicAddress): Promise<TcpRelay> {
    const relay = new TcpRelay(port, server);
    await relay.#listen();
    return relay;
  }

  private constructor(port: number, server: QuicAddress) {
    this.port = port;
    this.#server = server;
  }

  /** For new connections and for those that are open. */
  async set(passage: Passage): Promise<void> {
    if (passage === this.#passage) return;
    this.#passage = passage;
    if (passage === 'refused') {
      await this.#refuse();
      return;
    }
    if (this.#listener === undefined) await this.#listen();
    for (const { near, far } of this.#pipes) {
      for (const socket of [near, far]) {
        if (passage === 'open') socket.resume();
        else socket.pause();
      }
    }
  }

  async close(): Promise<void> {
    await this.#refuse();
  }

  async #refuse(): Promise<void> {
    const listener = this.#listener;
    this.#listener = undefined;
    for (const { near, far } of this.#pipes) {
      near.resetAndDestroy();
      far.destroy();
    }
    if (listener !== undefined) await new Promise((resolve) => listener.close(resolve));
  }

  async #listen(): Promise<void> {
    const listener = net.createServer((near) => this.#accept(near));
    listener.listen(this.port, '127.0.0.1');
    await once(listener, 'listening');
    this.#listener = listener;
  }

  #accept(near: net.Socket): void {
    const far = net.connect(this.#server.port, this.#server.host);
    const pipe = { near, far };
    this.#pipes.add(pipe);
    join(near, far);
    join(far, near);
    far.on('close', () => {
      this.#pipes.delete(pipe);
      near.destroy();
    });
    near.on('close', () => far.destroy());
    if (this.#passage === 'open') return;
    near.pause();
    far.pause();
  }
}

function join(from: net.Socket, to: net.Socket): void {
  from.setNoDelay(true);
  from.on('error', () => {});
  from.on('data', (bytes) => to.write(bytes));
  from.on('end', () => to.end());
}
