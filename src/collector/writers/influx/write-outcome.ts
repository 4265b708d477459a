/**
 * What an answer of the server means for the lines that were sent. Pure.
 */
import type { WriteFaultReason } from '../write-fault.ts';

export type WriteOutcome =
  | { readonly kind: 'written' }
  /** Some of the lines, or all, will never be taken. */
  | { readonly kind: 'poison'; readonly status: number; readonly message: string }
  | { readonly kind: 'too_large'; readonly status: number; readonly message: string }
  /** Try again later. */
  | {
      readonly kind: 'failed';
      readonly reason: WriteFaultReason;
      readonly status: number;
      readonly message: string;
      readonly retryAfterMs: number;
    };

/** Longest wait a server may ask for: past this it is asked again anyway. */
const MAX_RETRY_AFTER_MS = 300_000;
const MAX_MESSAGE_CHARS = 300;

/** Judges a whole answer. `retryAfter` is the header as it came; `body` may be cut short. */
export function judgeAnswer(
  status: number,
  body: string,
  retryAfter: string | undefined,
  nowMs: number,
): WriteOutcome {
  const message = serverMessage(status, body);
  // Some servers answer 201 when they took only a part, and say in the body what they left out.
  if (status === 201 && body.trim() !== '') return { kind: 'poison', status, message };
  if (status >= 200 && status < 300) return { kind: 'written' };
  if (status === 400 || status === 422) return { kind: 'poison', status, message };
  if (status === 413) return { kind: 'too_large', status, message };
  return {
    kind: 'failed',
    reason: faultReason(status),
    status,
    message,
    retryAfterMs: parseRetryAfter(retryAfter, nowMs),
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
  let text = body;
  try {
    const parsed: unknown = JSON.parse(body);
    if (typeof parsed === 'object' && parsed !== null && 'message' in parsed) {
      text = String(parsed.message);
    }
  } catch {
    // Not JSON: the text itself is the message.
  }
  const line = text
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim()
    .slice(0, MAX_MESSAGE_CHARS);
  return line === '' ? `HTTP status ${status}` : line;
}
