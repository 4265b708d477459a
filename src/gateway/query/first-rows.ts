/**
 * The first rows of many in sorted order, without holding the many.
 */
import { compareKeys, type SortKey } from './sort-key.ts';

/** Rows beyond the page that may wait until they are sorted away. */
const SLACK = 1000;

/** Collects rows in any order and keeps the first `limit` that come after `after`. */
export class FirstRows<T> {
  readonly #limit: number;
  readonly #after: SortKey | undefined;
  readonly #isDescending: boolean;
  #rows: { readonly key: SortKey; readonly row: T }[] = [];

  constructor(limit: number, after: SortKey | undefined, isDescending = false) {
    this.#limit = limit;
    this.#after = after;
    this.#isDescending = isDescending;
  }

  add(key: SortKey, row: T): void {
    if (this.#after !== undefined && compareKeys(key, this.#after, this.#isDescending) <= 0) return;
    this.#rows.push({ key, row });
    if (this.#rows.length >= 2 * this.#limit + SLACK) this.#cut();
  }

  /** Sorted. */
  rows(): T[] {
    this.#cut();
    return this.#rows.map(({ row }) => row);
  }

  #cut(): void {
    this.#rows.sort((a, b) => compareKeys(a.key, b.key, this.#isDescending));
    if (this.#rows.length > this.#limit) this.#rows = this.#rows.slice(0, this.#limit);
  }
}
