/**
 * The keys that work now: the keys file in memory, read again when it changes. A file that cannot
 * be used changes nothing: the keys of before go on, and the log and a metric say so.
 *
 * Each key has one `ended` signal. It fires when the key is revoked, replaced or expired, and ends
 * the sessions and streams that the key opened.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../lib/clock.ts';
import { errorMessage } from '../../lib/errors.ts';
import { FileWatch } from '../../lib/file-watch.ts';
import { repeat } from '../../lib/repeat.ts';
import { isSecretOf, parseKey } from './api-key.ts';
import { RequestBudget } from './budget.ts';
import { type ApiKey, readKeysFile } from './keys-file.ts';

const EXPIRY_CHECK_MS = 1000;

export interface KeyRingOptions {
  readonly file: string;
  /** For keys that have no `requests_per_minute` of their own; 0 = no limit. */
  readonly requestsPerMinute: number;
  readonly requestsAtOnce: number;
}

/** A key that works. */
export interface LiveKey {
  readonly key: ApiKey;
  readonly budget: RequestBudget;
  readonly ended: AbortSignal;
}

export type KeyRefusal = 'malformed' | 'unknown' | 'expired';

interface Entry extends LiveKey {
  readonly end: AbortController;
  /** Infinity: never. */
  readonly expiresAtMs: number;
}

export class KeyRing {
  readonly #options: KeyRingOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #watch: FileWatch;
  readonly #entries = new Map<string, Entry>();
  /** Ids of keys that are in the file but past their time. */
  readonly #expired = new Set<string>();
  #isFileUsable = true;
  #stop: () => void = () => {};

  /** Reads the file. Throws OperatingError KEYS_FILE. */
  constructor(options: KeyRingOptions, clock: Clock, log: Logger) {
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
    this.#watch = new FileWatch([options.file], clock, () => this.reload());
    this.#take(readKeysFile(options.file), 'at the start');
  }

  start(): void {
    this.#watch.start();
    this.#stop = repeat(this.#clock, EXPIRY_CHECK_MS, () => this.#endExpired());
  }

  /** Idempotent. */
  close(): void {
    this.#watch.close();
    this.#stop();
  }

  get size(): number {
    return this.#entries.size;
  }

  /** False while the file on disk cannot be used and older keys go on. */
  get isFileUsable(): boolean {
    return this.#isFileUsable;
  }

  /** The key that `text` stands for, or why there is none. */
  find(text: string): LiveKey | KeyRefusal {
    const parts = parseKey(text);
    if (parts === undefined) return 'malformed';
    this.#endExpired();
    const entry = this.#entries.get(parts.id);
    if (entry === undefined) return this.#expired.has(parts.id) ? 'expired' : 'unknown';
    return isSecretOf(parts.secret, entry.key.hash) ? entry : 'unknown';
  }

  /** Reads the file again. */
  reload(): void {
    const version = this.#watch.version();
    try {
      this.#take(readKeysFile(this.#options.file), 'later');
      this.#isFileUsable = true;
    } catch (error) {
      this.#isFileUsable = false;
      this.#log.error({ error: errorMessage(error) }, 'keys file not usable; older keys go on');
    }
    this.#watch.markRead(version);
  }

  #take(keys: readonly ApiKey[], when: 'at the start' | 'later'): void {
    const next = new Map(keys.map((key) => [key.id, key]));
    for (const [id, { key }] of this.#entries) {
      // A key whose rights changed is another key to everything that it has opened.
      if (JSON.stringify(next.get(id)) === JSON.stringify(key)) continue;
      this.#drop(id, next.has(id) ? 'changed' : 'revoked');
    }
    this.#expired.clear();
    const nowMs = this.#clock.nowMs();
    for (const key of keys) {
      if (this.#entries.has(key.id)) continue;
      const entry = this.#createEntry(key);
      if (entry.expiresAtMs <= nowMs) this.#expired.add(key.id);
      else {
        this.#entries.set(key.id, entry);
        if (when === 'later') this.#logStart(key);
      }
    }
  }

  #logStart({ id, name, role, namespaces, nodes }: ApiKey): void {
    this.#log.info({ audit: 'keys', key: id, name, role, namespaces, nodes }, 'key works now');
  }

  #createEntry(key: ApiKey): Entry {
    const { requestsPerMinute, requestsAtOnce } = this.#options;
    const perMinute = key.requests_per_minute ?? requestsPerMinute;
    const end = new AbortController();
    return {
      key,
      budget: new RequestBudget(this.#clock, perMinute, requestsAtOnce),
      ended: end.signal,
      end,
      expiresAtMs: key.expires_at === undefined ? Infinity : Date.parse(key.expires_at),
    };
  }

  #endExpired(): void {
    const nowMs = this.#clock.nowMs();
    for (const [id, { expiresAtMs }] of this.#entries) {
      if (expiresAtMs > nowMs) continue;
      this.#expired.add(id);
      this.#drop(id, 'expired');
    }
  }

  #drop(id: string, why: 'changed' | 'revoked' | 'expired'): void {
    const entry = this.#entries.get(id);
    this.#entries.delete(id);
    this.#log.info({ audit: 'keys', key: id, name: entry?.key.name, why }, 'key ended');
    entry?.end.abort();
  }
}
