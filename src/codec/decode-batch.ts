/**
 * Bytes of a MetricBatch to a batch. Written for untrusted bytes: whatever they are, the
 * outcome is a `DecodeResult`, in time and memory bounded by the frame.
 *
 * One decoder serves one connection. A sender's series rarely change, so the decoder remembers its
 * last tables: what is per series is paid for once, and a frame costs a walk over its fields, three
 * loops over the columns, and a look at the table's id or one comparison of its bytes. Series that
 * are new are read as far as the node's budget goes.
 */
import {
  type Batch,
  type BatchRejectReason,
  type SampleColumns,
  SCHEMA_VERSION,
  type SeriesTable,
} from '../domain/telemetry.ts';
import { ConnectionTables, type SentTable } from './connection-tables.ts';
import { type ScannedFrame, scanFrame } from './frame-scan.ts';
import { firstAtLeast, firstImpossibleTime, readPackedTimes, readPackedUint32 } from './packed.ts';
import { RowReader } from './row-form.ts';
import { encodeSeriesTable, seriesTableOf, TABLE_ID_BYTES } from './series-table.ts';
import {
  type TableBudget,
  type TablePostponed,
  postponed,
  UNLIMITED_TABLES,
} from './table-budget.ts';
import { parseSeriesTable, type TableLimits } from './table-parser.ts';
import { asBuffer, decodeText } from './text.ts';

/** The bounds of one batch. */
export interface DecodeLimits extends TableLimits {
  readonly maxBatchSamples: number;
}

/**
 * A batch, or why there is none: its bytes are refused for good, or its series are not read now.
 * Then with what is known of it, and 0 for what is not.
 */
export type DecodeResult =
  | { readonly ok: true; readonly batch: Batch }
  | (BatchNumbers & (Refusal | TablePostponed));

/** What is known of a batch that was not decoded. */
export interface BatchNumbers {
  readonly epoch: number;
  readonly sequence: number;
  readonly sampleCount: number;
}

interface Refusal {
  readonly ok: false;
  readonly reason: BatchRejectReason;
  /** One sentence for the sender: what is wrong, and where. */
  readonly message: string;
}

type Step<T> = { ok: true; value: T } | Refusal | TablePostponed;

const DOUBLE_BYTES = 8;
const SAMPLE_BYTES = 2 * DOUBLE_BYTES + 4;

/** The decoder of one connection; remembers the tables that the connection used last. */
export class BatchDecoder {
  readonly #limits: DecodeLimits;
  readonly #budget: TableBudget;
  readonly #rows: RowReader;
  readonly #noTable = seriesTableOf(new Uint8Array(0), []);
  readonly #tables = new ConnectionTables();

  constructor(limits: DecodeLimits, budget: TableBudget = UNLIMITED_TABLES) {
    this.#limits = limits;
    this.#budget = budget;
    this.#rows = new RowReader(limits);
  }

  /**
   * Decodes one frame. Never throws, whatever the bytes. The batch holds no view of `frame`; its
   * table is shared with the connection's other batches, and its three columns share one buffer.
   */
  decode(frame: Uint8Array): DecodeResult {
    const scan = scanFrame(asBuffer(frame));
    const step = this.#decodeScanned(scan);
    if (step.ok) return { ok: true, batch: step.value };
    const { epoch, sequence, sampleCount } = scan;
    return {
      ...step,
      epoch: Number.isSafeInteger(epoch) ? epoch : 0,
      sequence: Number.isSafeInteger(sequence) ? sequence : 0,
      sampleCount,
    };
  }

  #decodeScanned(scan: ScannedFrame): Step<Batch> {
    const { schemaVersion, epoch, sequence } = scan;
    if (scan.fault !== undefined) return refuse('bad_frame', `not a MetricBatch: ${scan.fault}`);
    if (schemaVersion !== SCHEMA_VERSION) {
      return refuse('schema_version', `schema_version is ${schemaVersion}, not ${SCHEMA_VERSION}`);
    }
    const nodeId = this.#nodeId(scan);
    const payer = nodeId.ok ? nodeId.value : '';
    // First of all, for the next batch may name this table whatever becomes of this one.
    const table = this.#table(scan, payer);
    if (!table.ok) return table;
    if (!Number.isSafeInteger(epoch)) return refuse('bad_frame', 'epoch is 2^53 or more');
    if (!Number.isSafeInteger(sequence)) return refuse('bad_frame', 'sequence is 2^53 or more');
    const { maxBatchSamples } = this.#limits;
    if (scan.sampleCount > maxBatchSamples) {
      const message = `batch has ${scan.sampleCount} samples, over the limit of ${maxBatchSamples}`;
      return refuse('too_large', message);
    }
    if (!nodeId.ok) return nodeId;
    const columns = this.#columns(scan, table.value, payer);
    if (!columns.ok) return columns;
    return {
      ok: true,
      value: { schemaVersion, nodeId: nodeId.value, epoch, sequence, ...columns.value },
    };
  }

  #nodeId(scan: ScannedFrame): Step<string> {
    const { frame, nodeIdStart, nodeIdEnd } = scan;
    const { maxNameBytes } = this.#limits;
    const bytes = nodeIdEnd - nodeIdStart;
    if (bytes > maxNameBytes) {
      return refuse('bad_frame', `node_id has ${bytes} bytes, over the limit of ${maxNameBytes}`);
    }
    const value = decodeText(frame, nodeIdStart, nodeIdEnd);
    return value === undefined ? refuse('bad_frame', 'node_id is not UTF-8') : { ok: true, value };
  }

  /** The samples, and their table: that of the frame, with the series of its rows behind. */
  #columns(
    scan: ScannedFrame,
    table: SeriesTable,
    payer: string,
  ): Step<{ table: SeriesTable; samples: SampleColumns }> {
    const samples = allocateColumns(scan.sampleCount);
    const columnCount = scan.sampleCount - scan.rowCount;
    const fault = readColumns(scan, columnCount, table, samples);
    if (fault !== undefined) return refuse('bad_frame', fault);
    if (scan.rowCount === 0) return { ok: true, value: { table, samples } };

    const charge = (bytes: number) => this.#budget.charge(payer, bytes);
    const rows = this.#rows.read(scan, table, samples, columnCount, charge);
    if (!rows.ok) return rows;
    const late = firstImpossibleTime(samples.timestampsMs);
    if (late >= 0) return refuse('bad_frame', impossibleTime(late, samples));
    return { ok: true, value: { table: rows.table, samples } };
  }

  #table(scan: ScannedFrame, payer: string): Step<SeriesTable> {
    if (scan.tableIdEnd > scan.tableIdStart) {
      const named = this.#namedTable(scan);
      return named.ok ? this.#read(named.value, payer) : named;
    }
    if (scan.table.length === 0) return { ok: true, value: this.#noTable };
    return this.#read(this.#tables.sent(scan.table), payer);
  }

  #namedTable({ frame, table, tableIdStart, tableIdEnd }: ScannedFrame): Step<SentTable> {
    if (table.length > 0) {
      return refuse('bad_frame', 'both series_table and series_table_id are given');
    }
    if (tableIdEnd - tableIdStart !== TABLE_ID_BYTES) {
      const why = `series_table_id has ${tableIdEnd - tableIdStart} bytes, not ${TABLE_ID_BYTES}`;
      return refuse('bad_frame', why);
    }
    const id = frame.toString('hex', tableIdStart, tableIdEnd);
    const sent = this.#tables.named(id);
    if (sent !== undefined) return { ok: true, value: sent };
    return refuse('bad_series', `series_table_id ${id} names no table that came before`);
  }

  /** What the connection's newest table says. */
  #read(sent: SentTable, payer: string): Step<SeriesTable> {
    if (sent.table !== undefined) return { ok: true, value: sent.table };
    const waitMs = this.#budget.charge(payer, sent.bytes.length);
    if (waitMs > 0) return postponed(waitMs);
    const parsed = parseSeriesTable(sent.bytes, this.#limits);
    if (!parsed.ok) {
      this.#tables.forgetNewest();
      return refuse('bad_series', parsed.message);
    }
    const table = encodeSeriesTable(parsed.series);
    this.#tables.keepRead(table);
    return { ok: true, value: table };
  }
}

function refuse(reason: BatchRejectReason, message: string): Refusal {
  return { ok: false, reason, message };
}

/** One allocation for all three columns. */
function allocateColumns(count: number): SampleColumns {
  const memory = new ArrayBuffer(count * SAMPLE_BYTES);
  return {
    values: new Float64Array(memory, 0, count),
    timestampsMs: new Float64Array(memory, count * DOUBLE_BYTES, count),
    series: new Uint32Array(memory, 2 * count * DOUBLE_BYTES, count),
  };
}

/**
 * Fills the first `count` entries of `samples`; returns what is wrong with the columns, if
 * anything.
 */
function readColumns(
  scan: ScannedFrame,
  count: number,
  table: SeriesTable,
  samples: SampleColumns,
): string | undefined {
  const isAll = count === samples.values.length;
  const series = isAll ? samples.series : samples.series.subarray(0, count);
  const times = isAll ? samples.timestampsMs : samples.timestampsMs.subarray(0, count);

  const seriesField = scan.series;
  const seriesCount = readPackedUint32(
    seriesField.bytes,
    seriesField.start,
    seriesField.end,
    series,
  );
  if (seriesCount !== count) return wrongLength('series', seriesCount, count);

  const timesField = scan.times;
  const timesCount = readPackedTimes(timesField.bytes, timesField.start, timesField.end, times);
  if (timesCount !== count) return wrongLength('timestamp_delta_ms', timesCount, count);

  const stray = firstAtLeast(series, table.series.length);
  if (stray >= 0) {
    return `sample ${stray} points at series ${series[stray]} of ${table.series.length}`;
  }
  const late = firstImpossibleTime(times);
  if (late >= 0) return impossibleTime(late, samples);
  // Protobuf's doubles are little-endian, and so is every machine that Node runs the QUIC stack on.
  const raw = new Uint8Array(samples.values.buffer, 0, count * DOUBLE_BYTES);
  raw.set(scan.values.view());
  return undefined;
}

function wrongLength(name: string, found: number, count: number): string {
  if (found < 0) return `${name} holds a number that is too long`;
  if (found > count) return `${name} has more entries than value, which has ${count}`;
  return `${name} has ${found} entries and value has ${count}`;
}

function impossibleTime(index: number, samples: SampleColumns): string {
  return `sample ${index} has the impossible time ${samples.timestampsMs[index]} ms`;
}
