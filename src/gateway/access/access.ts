/**
 * Who asks, and what they may do. With keys, a caller shows a key (`Authorization: Bearer tk_…`)
 * or, in a browser, the cookie of a session that a key opened. Open access, for this host alone,
 * has one caller that reads and writes everything.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../lib/clock.ts';
import { RequestBudget } from './budget.ts';
import { KeyRing, type KeyRefusal, type LiveKey } from './key-ring.ts';
import {
  type GuardOptions,
  type GuardRefusal,
  guardRequest,
  isOwnOrigin,
  isSafeMethod,
  type RequestHead,
} from './request-guard.ts';
import { includesRole, isUnscoped, type Role, type Scope } from './roles.ts';
import { isCsrfTokenOf, type Session, Sessions } from './sessions.ts';

export interface AccessOptions extends GuardOptions {
  /** Only read where `mode` is `keys`. */
  readonly keysFile: string;
  /** Requests per minute of a key that has no limit of its own; 0 = no limit. */
  readonly requestsPerMinute: number;
  /** Requests of one caller at once. */
  readonly requestsAtOnce: number;
  readonly sessionLifetimeMs: number;
}

export interface Caller {
  /** The id of the key, or `local`: for logs. */
  readonly id: string;
  readonly role: Role;
  readonly scope: Scope;
  readonly budget: RequestBudget;
  /** Fires when the key no longer works; streams of the caller end then. */
  readonly ended: AbortSignal;
}

/** What a route asks of its caller. */
export interface RouteRights {
  readonly role: Role;
  /** The answer cannot be cut down to a scope, so only callers who see everything get it. */
  readonly unscoped?: boolean;
}

export type AccessCode =
  | GuardRefusal['code']
  | 'key_missing'
  | `key_${KeyRefusal}`
  | 'session_ended'
  | 'csrf_token'
  | 'role_too_low'
  | 'scope_too_small';

export interface Refusal {
  readonly kind: 'refused';
  readonly status: 401 | 403 | 415;
  readonly code: AccessCode;
  readonly detail: string;
}

const KEY_REFUSALS: Readonly<Record<KeyRefusal, string>> = {
  malformed: 'the key has not the form tk_<id>_<secret>',
  unknown: 'the key is not known; it may have been revoked',
  expired: 'the key has expired',
};

export class Access {
  readonly mode: GuardOptions['mode'];
  readonly keys: KeyRing | undefined;
  readonly sessions: Sessions;
  readonly #options: AccessOptions;
  readonly #local: Caller;

  /** Reads the keys file. Throws OperatingError KEYS_FILE. */
  constructor(options: AccessOptions, clock: Clock, log: Logger) {
    this.#options = options;
    this.mode = options.mode;
    this.sessions = new Sessions(clock, options.sessionLifetimeMs);
    const { keysFile: file, requestsPerMinute, requestsAtOnce } = options;
    if (options.mode === 'keys') {
      this.keys = new KeyRing({ file, requestsPerMinute, requestsAtOnce }, clock, log);
    }
    this.#local = {
      id: 'local',
      role: 'writer',
      scope: {},
      // A host's own people need no rate; a number at once bounds what they do by mistake.
      budget: new RequestBudget(clock, 0, requestsAtOnce),
      ended: new AbortController().signal,
    };
  }

  start(): void {
    this.keys?.start();
  }

  /** Idempotent. */
  close(): void {
    this.keys?.close();
  }

  /** The checks that every request must pass, those without a caller too. */
  guard(head: RequestHead): Refusal | undefined {
    const refusal = guardRequest(head, this.#options);
    if (refusal === undefined) return undefined;
    return refused(refusal.code === 'content_type' ? 415 : 403, refusal.code, refusal.detail);
  }

  /** Who asks, if they may have what the route offers. */
  admit(head: RequestHead, cookie: string | undefined, rights: RouteRights): Caller | Refusal {
    const caller = this.#identify(head, cookie);
    if ('kind' in caller) return caller;
    if (!includesRole(caller.role, rights.role)) {
      const detail = `the key has the role ${caller.role}, but this needs ${rights.role}`;
      return refused(403, 'role_too_low', detail);
    }
    if (rights.unscoped === true && !isUnscoped(caller.scope)) {
      const detail = 'the key sees only part of the fleet, and this answers for all of it';
      return refused(403, 'scope_too_small', detail);
    }
    return caller;
  }

  /** Opens a session for the key that `text` is. */
  openSession(text: string): { cookie: string; session: Session } | Refusal {
    const live = this.keys?.find(text) ?? 'unknown';
    return typeof live === 'string' ? refusedKey(live) : this.sessions.open(live);
  }

  #identify(head: RequestHead, cookie: string | undefined): Caller | Refusal {
    if (this.keys === undefined) return this.#local;
    const { authorization } = head.headers;
    if (typeof authorization === 'string') {
      const [, text] = /^Bearer +(\S+)$/i.exec(authorization) ?? [];
      const live = this.keys.find(text ?? '');
      return typeof live === 'string' ? refusedKey(live) : callerOf(live);
    }
    if (cookie !== undefined) return this.#identifySession(head, cookie);
    return refused(401, 'key_missing', 'there is no header Authorization: Bearer tk_…');
  }

  #identifySession(head: RequestHead, cookie: string): Caller | Refusal {
    const session = this.sessions.find(cookie);
    if (session === undefined) {
      return refused(401, 'session_ended', 'the session has ended; log in again');
    }
    if (!isOwnOrigin(head, this.#options.behindProxy)) {
      return refused(403, 'origin_not_allowed', 'a session serves the pages of the gateway alone');
    }
    const token = head.headers['x-csrf-token'];
    if (!isSafeMethod(head.method) && !isCsrfTokenOf(session, String(token ?? ''))) {
      return refused(403, 'csrf_token', 'the header X-CSRF-Token is not the one of the session');
    }
    return callerOf(session.live);
  }
}

function callerOf({ key, budget, ended }: LiveKey): Caller {
  const { namespaces, nodes } = key;
  return { id: key.id, role: key.role, scope: { namespaces, nodes }, budget, ended };
}

function refusedKey(why: KeyRefusal): Refusal {
  return refused(401, `key_${why}`, KEY_REFUSALS[why]);
}

function refused(status: Refusal['status'], code: AccessCode, detail: string): Refusal {
  return { kind: 'refused', status, code, detail };
}
