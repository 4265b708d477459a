/**
 * The agent's certificate files, read again when they change or on request. What cannot
 * work leaves the old ones in use.
 */
import type { Logger } from 'pino';
import { type CredentialFiles, readCredentials } from '../client/credential-files.ts';
import type { Clock } from '../lib/clock.ts';
import { FileWatch } from '../lib/file-watch.ts';
import type { QuicCredentials } from '../transport/quic-endpoint.ts';

export class CredentialWatch {
  readonly #files: CredentialFiles;
  readonly #logger: Logger;
  readonly #use: (credentials: QuicCredentials) => void;
  readonly #watch: FileWatch;

  /** Watches until `close`; `use` is given what was read, and throws what the TLS stack minds. */
  constructor(
    files: CredentialFiles,
    deps: { readonly clock: Clock; readonly logger: Logger },
    use: (credentials: QuicCredentials) => void,
  ) {
    this.#files = files;
    this.#logger = deps.logger;
    this.#use = use;
    const paths = [files.certFile, files.keyFile, files.caFile];
    this.#watch = new FileWatch(paths, deps.clock, () => this.reload());
    this.#watch.start();
  }

  /** Reads the files now. */
  reload(): void {
    this.#watch.markRead();
    try {
      this.#use(readCredentials(this.#files));
      this.#logger.info('certificate files were read again');
    } catch (error) {
      this.#logger.error({ err: error }, 'certificate files are not usable; the old ones stay');
    }
  }

  /** Idempotent. */
  close(): void {
    this.#watch.close();
  }
}
