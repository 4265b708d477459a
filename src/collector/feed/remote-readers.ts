/**
 * Readers on other hosts: TLS 1.3 over TCP, mutual, in the feed's thread, so that no byte of theirs
 * costs the main thread anything. OpenSSL checks a certificate against the authorities in the
 * handshake; who may read is for the main thread to say, which knows the denylist, the revocation
 * lists and `security.readers`. It is asked for each connection, and again every few seconds for
 * those that are open.
 *
 *     handshake ─► asked ──allowed──► reader ─► asked again and again
 *                    └──refused──► `denied`
 */
import { constants } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import tls, { type SecureContextOptions, type TLSSocket } from 'node:tls';
import { encodeFrame } from '../../codec/framing.ts';
import { encodeCollectorMessage } from '../../feed/feed-codec.ts';
import { FEED_ALPN } from '../../feed/feed-contract.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorMessage, OperatingError } from '../../lib/errors.ts';
import { repeat } from '../../lib/repeat.ts';
import type { FeedReader } from './feed-reader.ts';
import type { FeedVerdict, RemoteSettings } from './feed-thread-messages.ts';

const HANDSHAKE_TIMEOUT_MS = 10_000;
const JUDGE_INTERVAL_MS = 5000;
/** Handshakes, and connections that wait for their verdict. */
const STRANGERS_MAX = 32;
const LINGER_MS = 1000;
/** Longer chains are nobody's. */
const CHAIN_LENGTH_MAX = 10;

export interface RemoteReadersDeps {
  readonly clock: Clock;
  /** Takes a socket as a reader; undefined where there are too many. */
  readonly accept: (socket: TLSSocket) => FeedReader | undefined;
  /** Asks whether who showed this chain (DER, leaf first) may read; `verdict` has the answer. */
  readonly judge: (id: number, chain: readonly Uint8Array[]) => void;
  readonly onDenied: (message: string) => void;
}

interface Remote {
  readonly socket: TLSSocket;
  readonly chain: readonly Uint8Array[];
  /** Undefined until the first verdict. */
  reader: FeedReader | undefined;
}

export class RemoteReaders {
  readonly #deps: RemoteReadersDeps;
  readonly #settings: RemoteSettings;
  readonly #server: tls.Server;
  readonly #remotes = new Map<number, Remote>();
  #lastId = 0;
  #stopJudging: () => void = () => {};

  constructor(deps: RemoteReadersDeps, settings: RemoteSettings, maxReaders: number) {
    this.#deps = deps;
    this.#settings = settings;
    this.#server = tls.createServer({
      ...contextOf(settings.credentials),
      requestCert: true,
      rejectUnauthorized: true,
      ALPNProtocols: [FEED_ALPN],
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    });
    this.#server.maxConnections = maxReaders + STRANGERS_MAX;
    this.#server.on('secureConnection', (socket) => this.#meet(socket));
    // What a stranger did wrong is the stranger's affair: its socket is closed.
    this.#server.on('tlsClientError', (_error, socket) => socket.destroy());
  }

  /** The port that was bound. Rejects with OperatingError FEED_CANNOT_LISTEN. */
  async listen(): Promise<number> {
    const { host, port } = this.#settings;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#server.once('error', reject);
        this.#server.listen(port, host, resolve);
      });
    } catch (error) {
      const message = `cannot listen on ${host}:${port}: ${errorMessage(error)}`;
      throw new OperatingError('FEED_CANNOT_LISTEN', message, { cause: error });
    }
    this.#stopJudging = repeat(this.#deps.clock, JUDGE_INTERVAL_MS, () => {
      for (const [id, { chain }] of this.#remotes) this.#deps.judge(id, chain);
    });
    return (this.#server.address() as AddressInfo).port;
  }

  /** For the handshakes that come from now on. */
  renewCredentials(credentials: RemoteSettings['credentials']): void {
    this.#server.setSecureContext(contextOf(credentials));
  }

  /** The answer to `judge`. */
  verdict(id: number, verdict: FeedVerdict): void {
    const remote = this.#remotes.get(id);
    if (remote === undefined) return;
    if (!verdict.ok) {
      this.#deny(id, remote, verdict.message);
      return;
    }
    if (remote.reader !== undefined) return;
    remote.reader = this.#deps.accept(remote.socket);
    if (remote.reader === undefined) this.#remotes.delete(id);
  }

  /** Takes no more connections; the readers are for their server to end. */
  close(): void {
    this.#stopJudging();
    this.#server.close();
    for (const { reader, socket } of this.#remotes.values()) {
      if (reader === undefined) socket.destroy();
    }
  }

  #meet(socket: TLSSocket): void {
    const waiting = [...this.#remotes.values()].filter(({ reader }) => reader === undefined);
    if (waiting.length >= STRANGERS_MAX) {
      socket.destroy();
      return;
    }
    this.#lastId += 1;
    const id = this.#lastId;
    const chain = chainOf(socket);
    this.#remotes.set(id, { socket, chain, reader: undefined });
    socket.on('error', () => {});
    socket.on('close', () => this.#remotes.delete(id));
    this.#deps.judge(id, chain);
  }

  #deny(id: number, { socket, reader }: Remote, message: string): void {
    this.#remotes.delete(id);
    if (reader !== undefined) {
      reader.end('denied', message);
      return;
    }
    this.#deps.onDenied(message);
    socket.end(encodeFrame(encodeCollectorMessage({ kind: 'closing', word: 'denied', message })));
    this.#deps.clock.after(LINGER_MS, () => socket.destroy());
  }
}

/** What the peer showed, DER, leaf first. */
function chainOf(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate = socket.getPeerX509Certificate();
  // A root names itself as its issuer.
  while (certificate !== undefined && chain.length < CHAIN_LENGTH_MAX) {
    chain.push(certificate.raw);
    const issuer = certificate.issuerCertificate;
    certificate = issuer?.raw.equals(certificate.raw) ? undefined : issuer;
  }
  return chain;
}

/** Without tickets: whoever comes shows its certificate, which a resumed session would not. */
function contextOf({
  certPem,
  keyPem,
  caPem,
}: RemoteSettings['credentials']): SecureContextOptions {
  return {
    ...{ cert: certPem, key: keyPem, ca: caPem },
    minVersion: 'TLSv1.3',
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}
