/**
 * When the oldest record that is not safe yet was received. One note per second of reception, so
 * the hour that a Parquet file may hold back costs 3600 of them; past the bound the resolution
 * halves.
 */

const MAX_NOTES = 8192;

export class LagTracker {
  /** Each covers the records from its seq up to the next note. */
  #notes: { readonly firstSeq: number; readonly receivedAtMs: number }[] = [];
  #resolutionMs = 1000;
  #lastSeq = 0;

  /** A record was read; one that was added before changes nothing. */
  add(seq: number, receivedAtMs: number): void {
    if (seq <= this.#lastSeq) return;
    this.#lastSeq = seq;
    const last = this.#notes.at(-1);
    if (last !== undefined && receivedAtMs < last.receivedAtMs + this.#resolutionMs) return;
    this.#notes.push({ firstSeq: seq, receivedAtMs });
    if (this.#notes.length <= MAX_NOTES) return;
    this.#notes = this.#notes.filter((_, i) => i % 2 === 0);
    this.#resolutionMs *= 2;
  }

  /** Unix ms; 0 where every record added is at or below `cursor`. The cursor does not go back. */
  oldestUnsafeMs(cursor: number): number {
    if (cursor >= this.#lastSeq) {
      this.#notes = [];
      return 0;
    }
    const next = this.#notes.findIndex((note) => note.firstSeq > cursor + 1);
    const oldest = next === -1 ? this.#notes.length - 1 : Math.max(0, next - 1);
    if (oldest > 0) this.#notes = this.#notes.slice(oldest);
    return this.#notes[0]?.receivedAtMs ?? 0;
  }
}
