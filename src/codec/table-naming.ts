/**
 * The agent's half of `MetricBatch.series_table_id`: of the frames of one connection, those whose
 * series table the collector remembers go without it and name it instead. Of a batch with a reading
 * of each series that is three quarters of the bytes.
 *
 * Works on frames that are encoded already, so that what is in a spool is complete and can be
 * sent over any connection.
 */

import { scanFrame } from './frame-scan.ts';
import { FRAME_HEADER_BYTES } from './framing.ts';
import { BATCH_TAGS } from './messages.ts';
import { varintBytes } from './packed.ts';
import { type RememberedTables, remembered } from './remembered-tables.ts';
import { seriesTableId, TABLE_ID_BYTES } from './series-table.ts';
import { asBuffer } from './text.ts';

const TABLE_ID_FIELD_BYTES = 2 + TABLE_ID_BYTES;

interface SentTable {
  readonly bytes: Buffer;
  /** Names it. */
  readonly idField: Uint8Array;
}

/** The series tables that one connection has sent, as far as the collector remembers them. */
export class TableNaming {
  readonly #most: RememberedTables;
  /** Latest use first. */
  #sent: SentTable[] = [];

  constructor(most: RememberedTables) {
    this.#most = most;
  }

  /**
   * A frame of `encodeBatch`, its length in front, as it is to be sent now: in parts, which may be
   * views of it.
   */
  shorten(frame: Uint8Array): readonly Uint8Array[] {
    const payload = asBuffer(frame.subarray(FRAME_HEADER_BYTES));
    const { table, fault } = scanFrame(payload);
    if (fault !== undefined || table.length === 0) return [frame];
    const idField = this.#use(table.view());
    // A table in pieces is not cut out, but the collector remembers it like any other.
    if (idField === undefined || table.bytes !== payload) return [frame];
    const fieldStart = table.start - varintBytes(table.length) - 1;
    return [headOf(payload, fieldStart, table.end, idField), payload.subarray(table.end)];
  }

  /** The field that names the table; undefined where it has to be sent. Either way it is used. */
  #use(table: Buffer): Uint8Array | undefined {
    const place = this.#sent.findIndex(({ bytes }) => bytes.equals(table));
    const known = this.#sent[place];
    if (known === undefined) {
      const bytes = Buffer.from(table);
      const idField = seriesTableIdField(seriesTableId(bytes));
      this.#sent = remembered([{ bytes, idField }, ...this.#sent], this.#most);
      return undefined;
    }
    if (place > 0) {
      this.#sent.splice(place, 1);
      this.#sent.unshift(known);
    }
    return known.idField;
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
