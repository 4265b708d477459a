/**
 * What an answer of the server means for the lines that were sent, and what it says about them.
 * Pure. The forms of words are those of InfluxDB 1.8, 2 and 3:
 *
 *     partial write: points beyond retention policy dropped=3                          (1.8, 2.0)
 *     … partial write: dropped 3 points outside retention policy of duration 1h0m0s - …  (2.7)
 *     partial write: field type conflict: input field "util" on measurement "gpu" is type float,
 *       already exists as type integer dropped=1
 *     unable to parse 'gpu,x= util=1 1': missing tag value
 *     {"error":"partial write of line protocol occurred","data":[{"line_number":2, …}]}      (3)
 */
import type { WriteFaultReason } from '../write-fault.ts';

/** What the server said about the lines of a request that it did not take as a whole. */
export interface RefusalWords {
  /** It has judged lines one by one: those that it does not complain of are written. */
  readonly isPartial: boolean;
  /** At least so many lines are not written; 0 where it gives no number. */
  readonly dropped: number;
  /** The lines are too old or too new for the bucket. */
  readonly isTime: boolean;
  /** Field key that has another type in the bucket, not escaped; '' where it names none. */
  readonly conflictingField: string;
  /** Lines quoted as unreadable. */
  readonly unreadable: readonly string[];
  /** Positions of refused lines, from 0. */
  readonly positions: readonly number[];
}

export type WriteOutcome =
  | { readonly kind: 'written' }
  /** Some of the lines, or all, will never be taken. */
  | Refusal
  /** Try again later. */
  | {
      readonly kind: 'failed';
      readonly reason: WriteFaultReason;
      readonly status: number;
      readonly message: string;
      readonly retryAfterMs: number;
    };

/** Lines refused for good, or a request that is larger than the server allows. */
export interface Refusal {
  readonly kind: 'poison' | 'too_large';
  readonly status: number;
  readonly message: string;
  readonly words: RefusalWords;
}

/** Longest wait a server may ask for: past this it is asked again anyway. */
const MAX_RETRY_AFTER_MS = 300_000;
const MAX_MESSAGE_CHARS = 300;
/** Lines that one answer may name; a search finds the others. */
const NAMED_LINES_MAX = 1000;

/** Judges a whole answer. `retryAfter` is the header as it came; `body` may be cut short. */
export function judgeAnswer(
  status: number,
  body: string,
  retryAfter: string | undefined,
  nowMs: number,
): WriteOutcome {
  const message = serverMessage(status, body);
  // Some servers answer 201 when they took only a part, and say in the body what they left out.
  const isLeftOut = status === 201 && body.trim() !== '';
  if (status >= 200 && status < 300 && !isLeftOut) return { kind: 'written' };
  const said = { status, message, words: refusalWords(body) };
  // InfluxDB 2.0 answers 500 to a partial write.
  const isJudged = status >= 500 && said.words.isPartial && said.words.dropped > 0;
  if (isLeftOut || status === 400 || status === 422 || isJudged) return { kind: 'poison', ...said };
  if (status === 413) return { kind: 'too_large', ...said };
  const retryAfterMs = parseRetryAfter(retryAfter, nowMs);
  return { kind: 'failed', reason: faultReason(status), status, message, retryAfterMs };
}

/** True for what servers say to a request without lines: the request itself was in order. */
export function isAboutEmptiness(message: string): boolean {
  return /requires points|no points|no data|empty/i.test(message);
}

/** True where the words are about lines, so that the server is one that reads them. */
export function isAboutLines({ isPartial, conflictingField, unreadable, isTime }: RefusalWords) {
  return isPartial || isTime || conflictingField !== '' || unreadable.length > 0;
}

/** Reads the words out of a body of any form. */
export function refusalWords(body: string): RefusalWords {
  const data = parsed(body);
  const text = messageOf(data) ?? body;
  const dropped = /dropped=(\d{1,9})/.exec(text) ?? /\bdropped (\d{1,9}) points\b/.exec(text);
  const conflict = /field type conflict: input field "(.*?)" on measurement "/.exec(text);
  return {
    isPartial: text.includes('partial write'),
    dropped: dropped === null ? 0 : Number(dropped[1]),
    isTime: /beyond retention policy|outside retention policy|outside write window/.test(text),
    conflictingField: conflict?.[1] ?? '',
    unreadable: [...text.matchAll(/unable to parse '([^\n]*?)': /g)]
      .slice(0, NAMED_LINES_MAX)
      .map((match) => match[1]!),
    positions: positionsOf(data),
  };
}

function faultReason(status: number): WriteFaultReason {
  if (status === 429 || status === 503) return 'throttled';
  if (status === 408 || status === 425) return 'timeout';
  return status >= 500 ? 'server_error' : 'operator';
}

/** Retry-After in ms: seconds or a date; 0 where it is absent or makes no sense. */
export function parseRetryAfter(header: string | undefined, nowMs: number): number {
  if (header === undefined) return 0;
  const text = header.trim();
  const waitMs = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return waitMs > 0 ? Math.min(waitMs, MAX_RETRY_AFTER_MS) : 0;
}

/** What the server said, on one line and of bounded length. */
function serverMessage(status: number, body: string): string {
  const line = (messageOf(parsed(body)) ?? body)
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim()
    .slice(0, MAX_MESSAGE_CHARS);
  return line === '' ? `HTTP status ${status}` : line;
}

/** InfluxDB 2 says `message`, 1.8 and 3 say `error`. What is no text there says nothing. */
function messageOf(data: Readonly<Record<string, unknown>> | undefined): string | undefined {
  const words = [data?.message, data?.error];
  return words.find((word): word is string => typeof word === 'string');
}

function positionsOf(data: Readonly<Record<string, unknown>> | undefined): number[] {
  if (!Array.isArray(data?.data)) return [];
  return (data.data as readonly unknown[]).slice(0, NAMED_LINES_MAX).flatMap((entry) => {
    const line = (entry as { line_number?: unknown } | null)?.line_number;
    return typeof line === 'number' && Number.isInteger(line) && line > 0 ? [line - 1] : [];
  });
}

function parsed(body: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null
      ? (value as Readonly<Record<string, unknown>>)
      : undefined;
  } catch {
    return undefined;
  }
}
