/**
 * The collector's certificate, key and authorities, as files that change under a running daemon.
 * What is in use is always a trio that was valid when it was read: a reload that finds anything
 * wrong keeps the old one and says so, in the log by its owner and in the metrics here.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import type { SecurityConfig } from '../../config/schema.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorMessage, OperatingError } from '../../lib/errors.ts';
import type { QuicCredentials } from '../../transport/quic-endpoint.ts';
import { FileWatch } from '../../lib/file-watch.ts';

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

/** The settings that name the files. */
export type TlsPaths = Pick<SecurityConfig, 'tls_cert_path' | 'tls_key_path' | 'tls_ca_path'>;

export type ReloadResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly error: OperatingError };

/** Who hears of reloads, besides the caller of `reload`. */
export interface CredentialObserver {
  onLoaded(
    certificate: CertificateFacts,
    caPem: string,
    authorities: readonly X509Certificate[],
  ): void;
  onReloadFailed(error: OperatingError): void;
}

/** What an operator wants to know of the certificate in use. */
export interface CertificateFacts {
  readonly subject: string;
  readonly serialNumber: string;
  readonly fingerprint256: string;
  /** The earliest end in its chain: agents refuse it from then on. */
  readonly validToMs: number;
}

/** Credentials that were read and are not in use yet. */
export interface PreparedCredentials {
  readonly authorities: readonly X509Certificate[];
  readonly take: () => void;
}

export class TlsCredentials {
  readonly #paths: TlsPaths;
  readonly #clock: Clock;
  readonly #observer: CredentialObserver;
  readonly #tryOut: (credentials: QuicCredentials) => void;
  readonly #files: FileWatch;
  #current: QuicCredentials;

  /**
   * Reads the files; `tryOut` throws where the TLS stack would not take what is in them. Throws
   * OperatingError BAD_CREDENTIALS naming the configuration key and file.
   */
  constructor(
    paths: TlsPaths,
    clock: Clock,
    observer: CredentialObserver,
    tryOut: (credentials: QuicCredentials) => void,
  ) {
    this.#paths = paths;
    this.#clock = clock;
    this.#observer = observer;
    this.#tryOut = tryOut;
    const { tls_cert_path, tls_key_path, tls_ca_path } = paths;
    const files = [tls_cert_path, tls_key_path, tls_ca_path];
    this.#files = new FileWatch(files, clock, () => void this.reload());
    const loaded = this.#load();
    this.#current = loaded.credentials;
    this.#tell(loaded);
  }

  get current(): QuicCredentials {
    return this.#current;
  }

  /**
   * Reads the files again and changes nothing yet. Throws OperatingError where they cannot be used,
   * which the observer hears of as well.
   */
  prepareReload(): PreparedCredentials {
    const version = this.#files.version();
    try {
      const loaded = this.#load();
      const take = () => {
        this.#files.markRead(version);
        this.#current = loaded.credentials;
        this.#tell(loaded);
      };
      return { authorities: loaded.authorities, take };
    } catch (error) {
      this.#files.markRead(version);
      const fault = asOperatingError(error);
      this.#observer.onReloadFailed(fault);
      throw fault;
    }
  }

  /** Reads the files again now. On failure the old trio stays in use. */
  reload(): ReloadResult {
    try {
      this.prepareReload().take();
      return { ok: true };
    } catch (error) {
      return { ok: false, error: asOperatingError(error) };
    }
  }

  /** Reloads by itself when a file changes, until `close`. */
  watch(): void {
    this.#files.start();
  }

  close(): void {
    this.#files.close();
  }

  #tell({ facts, credentials, authorities }: LoadedCredentials): void {
    this.#observer.onLoaded(facts, credentials.caPem, authorities);
  }

  #load(): LoadedCredentials {
    const loaded = readCredentials(this.#paths, this.#clock.nowMs());
    this.#tryOut(loaded.credentials);
    return loaded;
  }
}

interface LoadedCredentials {
  readonly credentials: QuicCredentials;
  readonly facts: CertificateFacts;
  readonly authorities: readonly X509Certificate[];
}

/** Throws OperatingError BAD_CREDENTIALS. */
function readCredentials(paths: TlsPaths, nowMs: number): LoadedCredentials {
  const cert = new PemFile('security.tls_cert_path', paths.tls_cert_path);
  const key = new PemFile('security.tls_key_path', paths.tls_key_path);
  const ca = new PemFile('security.tls_ca_path', paths.tls_ca_path);
  const chain = cert.certificates();
  const [leaf] = chain;
  if (Date.parse(leaf.validTo) <= nowMs)
    throw cert.fault(`the certificate expired on ${leaf.validTo}`);
  if (Date.parse(leaf.validFrom) > nowMs) {
    throw cert.fault(`the certificate is not valid before ${leaf.validFrom}`);
  }
  if (!leaf.checkPrivateKey(key.privateKey())) {
    throw key.fault(`it is not the key of the certificate in ${paths.tls_cert_path}`);
  }
  const authorities = ca.certificates();
  if (!authorities.some(({ validTo }) => Date.parse(validTo) > nowMs))
    throw ca.fault('every authority in it has expired');
  return {
    credentials: { certPem: cert.text, keyPem: key.text, caPem: ca.text },
    facts: {
      subject: leaf.subject.replaceAll('\n', ', '),
      serialNumber: leaf.serialNumber,
      fingerprint256: leaf.fingerprint256,
      validToMs: Math.min(...chain.map(({ validTo }) => Date.parse(validTo))),
    },
    authorities,
  };
}

/** A PEM file that knows which setting it came from, for errors that can be acted upon. */
class PemFile {
  readonly text: string;
  readonly #key: string;
  readonly #path: string;

  constructor(key: string, path: string) {
    this.#key = key;
    this.#path = path;
    this.text = this.#attempt('', () => fs.readFileSync(path, 'utf8'));
  }

  fault(why: string, cause?: unknown): OperatingError {
    const message = `cannot use ${this.#key} ${this.#path}: ${why}`;
    return new OperatingError('BAD_CREDENTIALS', message, { cause });
  }

  certificates(): [X509Certificate, ...X509Certificate[]] {
    const [first, ...others] = this.text.match(PEM_CERTIFICATE) ?? [];
    if (first === undefined) throw this.fault('it holds no PEM certificate');
    const parse = (pem: string) =>
      this.#attempt(
        'it holds a certificate that cannot be parsed: ',
        () => new X509Certificate(pem),
      );
    return [parse(first), ...others.map(parse)];
  }

  privateKey() {
    return this.#attempt('it holds no private key that can be read: ', () =>
      createPrivateKey(this.text),
    );
  }

  #attempt<T>(what: string, action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw this.fault(`${what}${errorMessage(error)}`, error);
    }
  }
}

function asOperatingError(error: unknown): OperatingError {
  if (error instanceof OperatingError) return error;
  const message = `cannot use TLS credentials: ${errorMessage(error)}`;
  return new OperatingError('BAD_CREDENTIALS', message, { cause: error });
}
