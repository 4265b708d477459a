/**
 * The agent's half of `MetricBatch.series_table_id`: of the frames of one connection, those with
 * the same series table as the frame before go without it and name it instead. Of a batch with a
 * reading of each series that is three quarters of the bytes.
 *
 * Works on frames that are encoded already, so that what lies in a spool is complete and can be
 * sent over any connection.
 */

import { scanFrame } from './frame-scan.ts';
import { FRAME_HEADER_BYTES } from './framing.ts';
import { BATCH_TAGS } from './messages.ts';
import { varintBytes } from './packed.ts';
import { seriesTableId, TABLE_ID_BYTES } from './series-table.ts';
import { asBuffer } from './text.ts';

const TABLE_ID_FIELD_BYTES = 2 + TABLE_ID_BYTES;

/** The series tables that one connection has sent: the last one, to be exact. */
export class TableNaming {
  #sent: Buffer | undefined;
  #idField: Uint8Array = new Uint8Array(0);

  /**
   * A frame of `encodeBatch`, its length in front, as it is to be sent now: in parts, which may be
   * views of it.
   */
  shorten(frame: Uint8Array): readonly Uint8Array[] {
    const payload = asBuffer(frame.subarray(FRAME_HEADER_BYTES));
    const { table, fault } = scanFrame(payload);
    const isPlain = fault === undefined && table.length > 0 && table.bytes === payload;
    if (!isPlain) return [frame];
    if (this.#sent === undefined || !this.#sent.equals(table.view())) {
      this.#sent = Buffer.from(table.view());
      this.#idField = seriesTableIdField(seriesTableId(this.#sent));
      return [frame];
    }
    const fieldStart = table.start - varintBytes(table.length) - 1;
    return [headOf(payload, fieldStart, table.end, this.#idField), payload.subarray(table.end)];
  }
}

/** The field `series_table_id` of a batch, as bytes. */
export function seriesTableIdField(id: string): Uint8Array {
  const field = Buffer.alloc(TABLE_ID_FIELD_BYTES);
  field[0] = BATCH_TAGS.seriesTableId;
  field[1] = TABLE_ID_BYTES;
  field.write(id, 2, 'hex');
  return field;
}

/** The length of the shorter frame and everything up to where its table was. */
function headOf(
  payload: Buffer,
  fieldStart: number,
  fieldEnd: number,
  idField: Uint8Array,
): Uint8Array {
  const length = payload.length - (fieldEnd - fieldStart) + idField.length;
  const head = Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES + fieldStart + idField.length);
  head.writeUInt32BE(length, 0);
  payload.copy(head, FRAME_HEADER_BYTES, 0, fieldStart);
  head.set(idField, FRAME_HEADER_BYTES + fieldStart);
  return head;
}
