/**
 * What `check-config` finds out: one entry for everything that was looked at.
 */
import { hidePasswords } from '../../../config/hide-passwords.ts';
import type { ExitName } from '../exit-codes.ts';

/** The kinds of checks, worst first: the first kind with an error decides the exit code. */
export const CHECK_KINDS = ['config', 'certificates', 'directories', 'sinks', 'port'] as const;
export type CheckKind = (typeof CHECK_KINDS)[number] & ExitName;

export interface Check {
  readonly check: CheckKind;
  readonly status: 'ok' | 'warning' | 'error';
  /** A sentence without a full stop; never a secret. */
  readonly message: string;
  /** The configuration key it is about; '' where there is none. */
  readonly key: string;
  /** What to do about it; '' where the message says it. */
  readonly hint: string;
}

/** Makes the entries of one kind. */
export class CheckList {
  readonly entries: Check[] = [];
  readonly #kind: CheckKind;

  constructor(kind: CheckKind) {
    this.#kind = kind;
  }

  ok(key: string, message: string): void {
    this.#add('ok', key, message, '');
  }

  warn(key: string, message: string, hint: string): void {
    this.#add('warning', key, message, hint);
  }

  fail(key: string, message: string, hint: string): void {
    this.#add('error', key, message, hint);
  }

  /** Messages quote what libraries say, and fetch, for one, quotes URLs with their passwords. */
  #add(status: Check['status'], key: string, message: string, hint: string): void {
    const entry = { check: this.#kind, status, key, message: hidePasswords(message), hint };
    this.entries.push(entry);
  }
}
