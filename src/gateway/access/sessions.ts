/**
 * Sessions of browsers: a person shows an API key once and gets a cookie. The cookie's value is
 * random and known to this process only, so a restart logs everybody out. A session can do what its
 * key can, and ends with it.
 *
 * A cookie is sent by the browser whoever wrote the page, so requests that change something must
 * also carry the session's CSRF token, which only pages of our own can read.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';
import type { LiveKey } from './key-ring.ts';

/** At about 500 bytes each; the oldest goes first. */
const SESSIONS_MAX = 10_000;
const SESSIONS_PER_KEY_MAX = 100;
const TOKEN_BYTES = 32;

export interface Session {
  readonly live: LiveKey;
  readonly csrfToken: string;
  /** Unix ms. */
  readonly expiresAtMs: number;
}

export class Sessions {
  readonly #clock: Clock;
  readonly #lifetimeMs: number;
  /**
   * By the hash of the cookie's value, oldest first: a lookup by hash leaks no prefix by its time.
   */
  readonly #sessions = new Map<string, Session>();

  constructor(clock: Clock, lifetimeMs: number) {
    this.#clock = clock;
    this.#lifetimeMs = lifetimeMs;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** A new session and the value of its cookie. */
  open(live: LiveKey): { readonly cookie: string; readonly session: Session } {
    this.#dropExpired();
    const ofKey = [...this.#sessions].filter(([, session]) => session.live === live);
    if (ofKey.length >= SESSIONS_PER_KEY_MAX) this.#sessions.delete(ofKey[0]![0]);
    const [oldest] = this.#sessions.keys();
    if (this.#sessions.size >= SESSIONS_MAX && oldest !== undefined) this.#sessions.delete(oldest);
    const cookie = randomBytes(TOKEN_BYTES).toString('base64url');
    const session: Session = {
      live,
      csrfToken: randomBytes(TOKEN_BYTES).toString('base64url'),
      expiresAtMs: this.#clock.nowMs() + this.#lifetimeMs,
    };
    this.#sessions.set(hash(cookie), session);
    return { cookie, session };
  }

  /** The session behind a cookie; undefined where it has ended. */
  find(cookie: string): Session | undefined {
    const id = hash(cookie);
    const session = this.#sessions.get(id);
    if (session === undefined) return undefined;
    if (!session.live.ended.aborted && session.expiresAtMs > this.#clock.nowMs()) return session;
    this.#sessions.delete(id);
    return undefined;
  }

  /** Whole seconds that a session still has. */
  secondsLeft({ expiresAtMs }: Session): number {
    return Math.max(0, Math.floor((expiresAtMs - this.#clock.nowMs()) / 1000));
  }

  /** Ends a session; nothing happens where there is none. */
  close(cookie: string): void {
    this.#sessions.delete(hash(cookie));
  }

  #dropExpired(): void {
    const nowMs = this.#clock.nowMs();
    for (const [id, { live, expiresAtMs }] of this.#sessions) {
      if (live.ended.aborted || expiresAtMs <= nowMs) this.#sessions.delete(id);
    }
  }
}

/** Whether `token` is the one of the session. */
export function isCsrfTokenOf(session: Session, token: string): boolean {
  return timingSafeEqual(
    Buffer.from(hash(token), 'hex'),
    Buffer.from(hash(session.csrfToken), 'hex'),
  );
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
