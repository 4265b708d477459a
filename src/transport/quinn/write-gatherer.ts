/**
 * Gathers small writes to one stream, one after the other, into one. The module keeps each write as
 * a segment of its own and walks over all of them for each datagram: two hundred thousand answers
 * of thirty bytes took four times the CPU.
 */

/** Writes from this size on go to the module as they are. */
export const GATHERED_BYTES_MAX = 16 * 1024;

/** The connection that a write is for. */
export interface WriteTarget {
  send(streamId: number, bytes: Uint8Array, fin: boolean): void;
}

/** One per endpoint. What it holds goes to the module before anything else is asked of it. */
export class WriteGatherer {
  readonly #bytes = Buffer.allocUnsafeSlow(GATHERED_BYTES_MAX);
  #length = 0;
  #target: { readonly connection: WriteTarget; readonly streamId: number } | undefined;

  /** Copies `bytes`, of which there are fewer than GATHERED_BYTES_MAX. */
  add(connection: WriteTarget, streamId: number, bytes: Uint8Array): void {
    const target = this.#target;
    const isSame = target?.connection === connection && target.streamId === streamId;
    if (!isSame || this.#length + bytes.length > GATHERED_BYTES_MAX) this.flush();
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    if (!isSame || this.#target === undefined) this.#target = { connection, streamId };
  }

  /** Gives everything to the module. */
  flush(): void {
    const target = this.#target;
    if (target === undefined) return;
    const bytes = this.#bytes.subarray(0, this.#length);
    this.#target = undefined;
    this.#length = 0;
    target.connection.send(target.streamId, bytes, false);
  }
}
