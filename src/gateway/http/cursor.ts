/**
 * Cursors of paged lists: the whole sort key of the last row, so that the next page begins right
 * behind it, whatever has come in between. A cursor also names the question that it belongs to:
 * with another one it would leave rows out silently, so it is refused.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { FirstRows } from '../query/first-rows.ts';
import type { SortKey } from '../query/sort-key.ts';
import { Problem } from './problem.ts';

const cursorSchema = z.tuple([
  z.literal(1),
  z.string(),
  z.array(z.union([z.string(), z.number(), z.null()])).max(16),
]);

/** The cursor behind a row with this sort key, for this question. */
function encodeCursor(question: unknown, key: SortKey): string {
  return Buffer.from(JSON.stringify([1, fingerprint(question), key])).toString('base64url');
}

/** The sort key in a cursor. Throws a Problem where it is none, or belongs to another question. */
function decodeCursor(question: unknown, cursor: string): SortKey {
  const result = cursorSchema.safeParse(parse(cursor));
  if (!result.success) {
    throw new Problem(400, 'cursor_invalid', 'cursor is not one that this API handed out');
  }
  const [, of, key] = result.data;
  if (of !== fingerprint(question)) {
    const detail = 'cursor belongs to a question with other parameters; start without it';
    throw new Problem(400, 'cursor_invalid', detail);
  }
  return key;
}

/** Which page of which question. */
export interface PageRequest {
  /** Whatever changes the rows or their order. */
  readonly question: unknown;
  readonly cursor: string | undefined;
  readonly limit: number;
  readonly isDescending?: boolean;
}

/** Rows of one page. */
export interface Page<T> {
  readonly rows: readonly T[];
  /** Undefined: there are no more. */
  readonly nextCursor: string | undefined;
}

/** The page of `rows`, which may come in any order. No two rows may have the same key. */
export function pageOf<T>(
  rows: Iterable<T>,
  keyOf: (row: T) => SortKey,
  request: PageRequest,
): Page<T> {
  const first = firstOfPage<T>(request);
  for (const row of rows) first.add(keyOf(row), row);
  return finishPage(first, keyOf, request);
}

/** Takes the rows of a page one by one. */
export function firstOfPage<T>({ question, cursor, limit, isDescending }: PageRequest) {
  const after = cursor === undefined ? undefined : decodeCursor(question, cursor);
  // One more than asked for tells whether there is another page.
  return new FirstRows<T>(limit + 1, after, isDescending);
}

/** The page, once all rows were taken. */
export function finishPage<T>(
  first: FirstRows<T>,
  keyOf: (row: T) => SortKey,
  { question, limit }: PageRequest,
): Page<T> {
  const taken = first.rows();
  const rows = taken.slice(0, limit);
  const last = rows.at(-1);
  if (taken.length <= limit || last === undefined) return { rows, nextCursor: undefined };
  return { rows, nextCursor: encodeCursor(question, keyOf(last)) };
}

function fingerprint(question: unknown): string {
  return createHash('sha256').update(JSON.stringify(question)).digest('base64url').slice(0, 16);
}

function parse(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, 'base64url').toString());
  } catch {
    return undefined;
  }
}
