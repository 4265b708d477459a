/**
 * Journal records → lines. Samples of a record are brought into group order by a counting sort, so
 * that each line is written in one go whatever order they came in; a group whose timestamps go back
 * and forth is sorted by time first. Two samples for the same field and time make two lines, in
 * order, so that the later one wins.
 */
import type { WriterRecord } from '../writer.ts';
import { MAX_NUMBER_BYTES, writeNumber } from './format-number.ts';
import type { LineChunk } from './line-chunk.ts';
import { escapeKey } from './point.ts';
import type { TablePlan } from './table-plan.ts';

const COMMA = 44;
const SPACE = 32;
const LINE_FEED = 10;
/** Space, a timestamp, line feed. */
const LINE_TAIL_BYTES = MAX_NUMBER_BYTES + 2;

/** What the encoder reads of a record. */
export type EncodedRecord = Pick<WriterRecord, 'nodeId' | 'samples'>;

export class RecordEncoder {
  #record: EncodedRecord | undefined;
  #plan: TablePlan | undefined;
  #node = new Uint8Array(0);
  /** Sample indices in the order they are written. */
  #order = new Uint32Array(0);
  /** By group: where its samples begin in `#order`; one more at the end. */
  #groupStart = new Uint32Array(1);
  /** Progress: the group, and the next entry of `#order`. */
  #group = 0;
  #next = 0;
  /** Samples of the record that are no finite number; no line can say them. */
  notFinite = 0;

  /**
   * Begins `record`, whose series are those of `plan`. The record must stay as it is until done.
   */
  start(record: EncodedRecord, plan: TablePlan): void {
    this.#record = record;
    this.#plan = plan;
    this.#node = Buffer.from(escapeKey(record.nodeId));
    this.#group = 0;
    this.#next = 0;
    this.notFinite = 0;
    this.#sortByGroup(record.samples.series, plan);
    this.#sortByTime(record.samples.timestampsMs, plan.groups);
  }

  /**
   * Appends lines of `owner` to `chunk` while it holds no more than `maxBytes`; one field is
   * written into an empty chunk whatever its size. True once the record is done.
   */
  encodeInto<Owner>(chunk: LineChunk<Owner>, maxBytes: number, owner: Owner): boolean {
    const record = this.#record!;
    const plan = this.#plan!;
    while (this.#group < plan.groups) {
      const end = this.#groupStart[this.#group + 1]!;
      while (this.#next < end) {
        if (!this.#encodeLine(chunk, { record, plan, end, maxBytes, owner })) return false;
      }
      this.#group += 1;
    }
    return true;
  }

  /** Writes one line from `#next` on; false where it does not fit. */
  #encodeLine<Owner>(chunk: LineChunk<Owner>, line: LineTask<Owner>): boolean {
    const { record, plan, end, maxBytes } = line;
    const { series, timestampsMs, values } = record.samples;
    const { arena, fieldAt, slotOf, slotLine } = plan;
    const order = this.#order;
    const group = this.#group;
    const first = order[this.#next]!;
    const timestamp = timestampsMs[first]!;
    const prefixBytes = plan.headAt[group + 1]! - plan.headAt[group]! + this.#node.length;
    const least =
      prefixBytes + fieldBytes(fieldAt, series[first]!) + MAX_NUMBER_BYTES + LINE_TAIL_BYTES;
    if (chunk.length > 0 && chunk.length + least > maxBytes) return false;
    chunk.reserve(Math.max(least, maxBytes - chunk.length));
    const out = chunk.bytes;
    const lastStart = Math.min(maxBytes, out.length) - MAX_NUMBER_BYTES - LINE_TAIL_BYTES;
    let at = this.#writePrefix(out, chunk.length, plan);
    const serial = ++plan.lineSerial;
    let samples = 0;
    let next = this.#next;
    for (; next < end; next++) {
      const i = order[next]!;
      if (timestampsMs[i]! !== timestamp) break;
      const value = values[i]!;
      if (value - value !== 0) {
        this.notFinite += 1;
        continue;
      }
      const s = series[i]!;
      const slot = slotOf[s]!;
      if (slotLine[slot] === serial) break;
      const from = fieldAt[s]!;
      const to = fieldAt[s + 1]!;
      if (samples > 0) {
        if (at + to - from + 1 > lastStart) break;
        out[at++] = COMMA;
      }
      slotLine[slot] = serial;
      for (let k = from; k < to; k++) out[at++] = arena[k]!;
      at = writeNumber(out, at, value);
      samples += 1;
    }
    this.#next = next;
    // Nothing but unspeakable values: no line, the bytes are overwritten by the next one.
    if (samples === 0) return true;
    out[at++] = SPACE;
    at = writeNumber(out, at, timestamp);
    out[at++] = LINE_FEED;
    chunk.endLine(at, samples, line.owner);
    return true;
  }

  #writePrefix(out: Uint8Array, start: number, plan: TablePlan): number {
    const head = plan.headAt[this.#group]!;
    const tail = plan.tailAt[this.#group]!;
    const end = plan.headAt[this.#group + 1]!;
    out.set(plan.arena.subarray(head, tail), start);
    let at = start + tail - head;
    out.set(this.#node, at);
    at += this.#node.length;
    out.set(plan.arena.subarray(tail, end), at);
    return at + end - tail;
  }

  #sortByGroup(series: Uint32Array, plan: TablePlan): void {
    const { groups, groupOf } = plan;
    const count = series.length;
    if (this.#order.length < count) this.#order = new Uint32Array(count * 2);
    if (this.#groupStart.length <= groups) this.#groupStart = new Uint32Array(groups * 2 + 1);
    const start = this.#groupStart.fill(0, 0, groups + 1);
    for (let i = 0; i < count; i++) start[groupOf[series[i]!]! + 1]! += 1;
    for (let g = 0; g < groups; g++) start[g + 1]! += start[g]!;
    // Filled backwards from each group's end, which leaves `start[g + 1]` at the group's beginning.
    for (let i = count - 1; i >= 0; i--) {
      const position = start[groupOf[series[i]!]! + 1]! - 1;
      start[groupOf[series[i]!]! + 1] = position;
      this.#order[position] = i;
    }
    for (let g = 0; g < groups; g++) start[g] = start[g + 1]!;
    start[groups] = count;
  }

  #sortByTime(timestampsMs: Float64Array, groups: number): void {
    for (let g = 0; g < groups; g++) {
      const from = this.#groupStart[g]!;
      const to = this.#groupStart[g + 1]!;
      for (let k = from + 1; k < to; k++) {
        if (timestampsMs[this.#order[k]!]! >= timestampsMs[this.#order[k - 1]!]!) continue;
        this.#order.subarray(from, to).sort((a, b) => timestampsMs[a]! - timestampsMs[b]! || a - b);
        break;
      }
    }
  }
}

interface LineTask<Owner> {
  readonly record: EncodedRecord;
  readonly plan: TablePlan;
  /** Where the samples of the group end in `#order`. */
  readonly end: number;
  readonly maxBytes: number;
  readonly owner: Owner;
}

function fieldBytes(fieldAt: Uint32Array, series: number): number {
  return fieldAt[series + 1]! - fieldAt[series]!;
}
