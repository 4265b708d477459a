/**
 * Certificates that are valid but refused: lost, stolen, or of a node that was sold. One a line,
 * by the serial number in hex or by the SHA-256 fingerprint; `#` begins a comment, colons do not
 * matter.
 *
 *     # node returned to the vendor
 *     4F:1A:22:09
 *     9C5E…64 hex digits…   # gpu-017, key leaked
 *
 * A changed file is loaded automatically. If a list cannot be used, the old one stays in place.
 */
import fs from 'node:fs';
import type { Clock } from '../../lib/clock.ts';
import { errorMessage, OperatingError } from '../../lib/errors.ts';
import { FileWatch } from '../../lib/file-watch.ts';
import type { PeerIdentity } from '../../domain/telemetry.ts';

/** A list of a hundred thousand fingerprints; whatever is larger was given by mistake. */
const FILE_BYTES_MAX = 16 * 1024 * 1024;
const FINGERPRINT_DIGITS = 64;
/** RFC 5280 allows serial numbers of 20 bytes. */
const SERIAL_DIGITS_MAX = 40;
const PRINTED_CHARACTERS_MAX = 80;

export type CertificateNames = Pick<PeerIdentity, 'fingerprint256' | 'serialNumber'>;

/** Serial numbers and fingerprints in one spelling: upper case, no colons, no leading zeros. */
export type DeniedCertificates = ReadonlySet<string>;

/** Who hears of what became of the file, besides the caller of `reload`. */
export interface DenylistObserver {
  onLoaded(entries: number): void;
  onReloadFailed(error: OperatingError): void;
}

export class Denylist {
  readonly #path: string;
  readonly #observer: DenylistObserver;
  readonly #files: FileWatch | undefined;
  #denied: DeniedCertificates = new Set();

  /**
   * Reads the file; '' means none. Throws OperatingError BAD_DENYLIST naming line and
   * content.
   */
  constructor(path: string, clock: Clock, observer: DenylistObserver) {
    this.#path = path;
    this.#observer = observer;
    if (path !== '') this.#files = new FileWatch([path], clock, () => void this.reload());
    this.#prepare()();
  }

  /** Whether the certificate with these names is denied. */
  has({ fingerprint256, serialNumber }: CertificateNames): boolean {
    if (this.#denied.size === 0) return false;
    return this.#denied.has(canonical(fingerprint256)) || this.#denied.has(canonical(serialNumber));
  }

  /**
   * Reads the file again; the list is in use once the returned function is called. Throws
   * OperatingError where it cannot be used, which the observer hears of as well.
   */
  prepareReload(): () => void {
    try {
      return this.#prepare();
    } catch (error) {
      this.#files?.markRead();
      this.#observer.onReloadFailed(error as OperatingError);
      throw error;
    }
  }

  /** Reads the file again now. True where it could be used; otherwise the old list stays. */
  reload(): boolean {
    try {
      this.prepareReload()();
      return true;
    } catch {
      return false;
    }
  }

  /** Reloads by itself when the file changes, until `close`. */
  watch(): void {
    this.#files?.start();
  }

  close(): void {
    this.#files?.close();
  }

  #prepare(): () => void {
    if (this.#path === '') return () => {};
    const version = this.#files?.version();
    const denied = readDenylist(this.#path);
    return () => {
      this.#files?.markRead(version);
      this.#denied = denied;
      this.#observer.onLoaded(denied.size);
    };
  }
}

/** Reads a whole list. Throws OperatingError BAD_DENYLIST. */
export function readDenylist(path: string): DeniedCertificates {
  let text: string;
  try {
    const { size } = fs.statSync(path);
    if (size > FILE_BYTES_MAX) throw new Error(`it has ${size} bytes, more than ${FILE_BYTES_MAX}`);
    text = fs.readFileSync(path, 'utf8');
  } catch (error) {
    throw badDenylist(path, errorMessage(error), error);
  }
  const denied = new Set<string>();
  for (const [index, line] of text.split('\n').entries()) {
    const entry = line.replace(/#.*/, '').trim();
    if (entry === '') continue;
    if (!isName(entry)) {
      const printed = JSON.stringify(entry.slice(0, PRINTED_CHARACTERS_MAX));
      throw badDenylist(
        path,
        `line ${index + 1} is ${printed}, but must be a serial number in hex or a SHA-256 fingerprint`,
      );
    }
    denied.add(canonical(entry));
  }
  return denied;
}

function isName(entry: string): boolean {
  if (!/^(0x)?[0-9a-f]+(:[0-9a-f]+)*$/i.test(entry)) return false;
  const digits = entry.replace(/^0x|:/gi, '').length;
  return digits === FINGERPRINT_DIGITS || digits <= SERIAL_DIGITS_MAX;
}

function canonical(name: string): string {
  return name
    .replace(/^0x|:/gi, '')
    .replace(/^0+(?=.)/, '')
    .toUpperCase();
}

function badDenylist(path: string, why: string, cause?: unknown): OperatingError {
  const message = `cannot use security.denylist_path ${path}: ${why}`;
  return new OperatingError('BAD_DENYLIST', message, { cause });
}
