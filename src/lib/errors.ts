/**
 * The three kinds of failure: an expected outcome is a returned union, an operating fault is an
 * `OperatingError` with a stable code, a bug is an assertion that ends the process.
 */

/**
 * A fault outside the program (a file, a port, a certificate, a server) that an operator can fix.
 * Messages read `cannot <verb> <object>: <why>`.
 */
export class OperatingError extends Error {
  /** Stable, upper case with underscores, for programs. */
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'OperatingError';
    this.code = code;
  }
}

/** Throws when an invariant of our own does not hold; never for what a peer or an operator sent. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`BUG: ${message}`);
}

/** What to print of something thrown. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a Node or operating error, '' where there is none. */
export function errorCode(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'code' in error) {
    return String((error as { code: unknown }).code);
  }
  return '';
}
