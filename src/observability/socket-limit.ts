/**
 * Bounds on the sockets of an HTTP server that strangers can reach.
 *
 * When there are too many sockets, the one that has been without a request the longest goes, so
 * that clients that begin requests and never end them cannot keep a health probe out. A socket may
 * have one request unanswered: pages asked for ahead of time, by the thousand and never read, would
 * all have to be held.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export class SocketLimit {
  readonly #maxSockets: number;
  /** By their latest request, or their opening where there was none; oldest first. */
  readonly #sockets = new Set<Socket>();
  readonly #busy = new WeakSet<Socket>();

  /** Watches the sockets of `server` from now on. */
  constructor(server: Server, maxSockets: number) {
    this.#maxSockets = maxSockets;
    server.on('connection', (socket: Socket) => this.#opened(socket));
  }

  get sockets(): number {
    return this.#sockets.size;
  }

  /**
   * Whether a request may be handled. Where it may not, its socket has been closed and there is
   * nobody to answer.
   */
  admit({ socket }: IncomingMessage, response: ServerResponse): boolean {
    if (socket.destroyed || this.#busy.has(socket)) {
      socket.destroy();
      return false;
    }
    this.#busy.add(socket);
    response.once('close', () => this.#busy.delete(socket));
    if (this.#sockets.delete(socket)) this.#sockets.add(socket);
    return true;
  }

  #opened(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    if (this.#sockets.size <= this.#maxSockets) return;
    const leaving = this.#longestIdle();
    if (leaving === undefined) return;
    this.#sockets.delete(leaving);
    leaving.destroy();
  }

  /** One that waits for an answer goes only where all of them do. */
  #longestIdle(): Socket | undefined {
    for (const socket of this.#sockets) if (!this.#busy.has(socket)) return socket;
    const [oldest] = this.#sockets;
    return oldest;
  }
}
