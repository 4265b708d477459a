/**
 * The revocation lists in use: read at the start, again when the file or the authorities change. A
 * file that cannot be used leaves the lists in use in place.
 */
import type { X509Certificate } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';
import { errorMessage, OperatingError } from '../../lib/errors.ts';
import { FileWatch } from '../../lib/file-watch.ts';
import type { RevocationLists } from './crl-file.ts';

/** Who hears of what became of the file. */
export interface RevocationObserver {
  onLoaded(lists: RevocationLists): void;
  onReloadFailed(error: OperatingError): void;
}

export class Revocations {
  readonly #path: string;
  readonly #authorities: () => readonly X509Certificate[];
  readonly #observer: RevocationObserver;
  readonly #files: FileWatch | undefined;
  /** Loads follow one another, so that the newest file wins. */
  #loading: Promise<void> = Promise.resolve();

  /** `path` '' means no lists. Nothing is read yet. */
  constructor(
    path: string,
    clock: Clock,
    authorities: () => readonly X509Certificate[],
    observer: RevocationObserver,
  ) {
    this.#path = path;
    this.#authorities = authorities;
    this.#observer = observer;
    this.#files = path === '' ? undefined : new FileWatch([path], clock, () => void this.reload());
  }

  /** Reads the file for the first time. Rejects with OperatingError BAD_CRL. */
  async load(): Promise<void> {
    const take = await this.#prepare(this.#authorities());
    take();
  }

  /**
   * Reads the file again, signed by one of `authorities`; the lists are in use once the returned
   * function is called. Rejects with OperatingError where they cannot be used, which the observer
   * hears of as well.
   */
  async prepareReload(authorities: readonly X509Certificate[]): Promise<() => void> {
    try {
      return await this.#prepare(authorities);
    } catch (error) {
      const fault = asOperatingError(error);
      this.#observer.onReloadFailed(fault);
      throw fault;
    }
  }

  async #prepare(authorities: readonly X509Certificate[]): Promise<() => void> {
    if (this.#path === '') return () => {};
    const version = this.#files?.version();
    try {
      // Loaded here, because most installations do without, and the parser is large.
      const { readCrlFile } = await import('./crl-file.ts');
      const lists = await readCrlFile(this.#path, authorities);
      return () => {
        this.#files?.markRead(version);
        this.#observer.onLoaded(lists);
      };
    } catch (error) {
      this.#files?.markRead(version);
      throw error;
    }
  }

  /** Reads the file again. Resolves when it is in use, or the observer knows why not. */
  reload(): Promise<void> {
    this.#loading = this.#loading.then(async () => {
      try {
        await this.load();
      } catch (error) {
        this.#observer.onReloadFailed(asOperatingError(error));
      }
    });
    return this.#loading;
  }

  /** Reloads by itself when the file changes, until `close`. */
  watch(): void {
    this.#files?.start();
  }

  close(): void {
    this.#files?.close();
  }
}

function asOperatingError(error: unknown): OperatingError {
  if (error instanceof OperatingError) return error;
  const message = `cannot use security.crl_path: ${errorMessage(error)}`;
  return new OperatingError('BAD_CRL', message, { cause: error });
}
