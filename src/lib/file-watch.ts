/**
 * Notices that files have changed. It looks at them four times a second: notifications
 * of the system miss the symlink swaps by which Kubernetes and cert-manager replace mounted files.
 *
 * A change counts once it looks the same twice, so that a file is not read while it is written, nor
 * a certificate while its key still is the old one.
 */
import fs from 'node:fs';
import type { Clock } from './clock.ts';
import { repeat } from './repeat.ts';

const LOOK_INTERVAL_MS = 250;

export class FileWatch {
  readonly #paths: readonly string[];
  readonly #clock: Clock;
  readonly #onChange: () => void;
  /** As of the last `markRead`. */
  #readVersion = '';
  #seenVersion = '';
  #stop: () => void = () => {};

  /** `onChange` is called once for each change, after `start`; it is to call `markRead`. */
  constructor(paths: readonly string[], clock: Clock, onChange: () => void) {
    this.#paths = paths;
    this.#clock = clock;
    this.#onChange = onChange;
    this.markRead();
  }

  /** What the files are now; ask before they are read, for `markRead` once they are in use. */
  version(): string {
    return this.#paths.map(versionOf).join(' ');
  }

  /** The files as of `version` are no change any more. */
  markRead(version = this.version()): void {
    this.#readVersion = version;
    this.#seenVersion = version;
  }

  start(): void {
    this.#stop();
    this.#stop = repeat(this.#clock, LOOK_INTERVAL_MS, () => this.#look());
  }

  /** Idempotent. */
  close(): void {
    this.#stop();
  }

  #look(): void {
    const version = this.version();
    const isSettled = version === this.#seenVersion;
    this.#seenVersion = version;
    if (isSettled && version !== this.#readVersion) this.#onChange();
  }
}

/** Changes whenever the file is replaced, rewritten or removed. */
function versionOf(path: string): string {
  const stat = fs.statSync(path, { throwIfNoEntry: false, bigint: true });
  return stat === undefined ? 'absent' : `${stat.dev}:${stat.ino}:${stat.mtimeNs}:${stat.size}`;
}
