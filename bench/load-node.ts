/**
 * The frames of one simulated node. What does not change from batch to batch (series table, series
 * column) is encoded once; values and times are written into the frame anew for every batch, so the
 * generator costs little and no two batches are alike. As agents do, it sends the table with its
 * first batch and names it in all others.
 */
import { simulateColumns } from '../src/agent/sources/simulate-columns.ts';
import { encodeBatch } from '../src/codec/encode-batch.ts';
import { FRAME_HEADER_BYTES } from '../src/codec/framing.ts';
import { packedTimesBytes, writePackedTimes } from '../src/codec/packed.ts';
import { encodeSeriesTable } from '../src/codec/series-table.ts';
import { seriesTableIdField } from '../src/codec/table-naming.ts';
import { assert } from '../src/lib/errors.ts';
import type { Series, SeriesTable } from '../src/domain/telemetry.ts';
import type { LoadShape } from './load-task.ts';

/** Fleet time between two readings of a series. */
const STEP_MS = 1000;
const EMPTY_TABLE: SeriesTable = { id: '', bytes: new Uint8Array(0), series: [] };
const NO_SAMPLES = {
  series: new Uint32Array(0),
  timestampsMs: new Float64Array(0),
  values: new Float64Array(0),
};

export class LoadNode {
  readonly nodeId: string;
  /** Samples of one batch. */
  readonly samples: number;
  readonly #epoch: number;
  readonly #simulation: ReturnType<typeof simulateColumns>;
  readonly #rounds: number;
  readonly #seriesCount: number;
  readonly #times: Float64Array;
  readonly #values: Float64Array;
  /** The series table; undefined once it has been sent. */
  #tableField: Uint8Array | undefined;
  readonly #tableIdField: Uint8Array;
  /** Everything behind the table; times and values are overwritten in place. */
  readonly #body: Uint8Array;
  readonly #timesAt: number;
  readonly #timesBytes: number;
  readonly #valuesAt: number;
  #timeMs: number;
  #sequence = 0;

  /** `startMs` is the time of the first reading, Unix ms. */
  constructor(nodeId: string, shape: LoadShape, startMs: number, epoch: number) {
    this.nodeId = nodeId;
    this.#epoch = epoch;
    this.#rounds = shape.rounds;
    const { gpus, extraMetrics } = shape;
    const options = { nodeId, gpus, extraMetrics, jobChurn: false, faultsPerGpuHour: 0 };
    this.#simulation = simulateColumns(options, startMs);
    const table = encodeSeriesTable(withLabels(this.#simulation.series, shape.extraLabels));
    this.#seriesCount = table.series.length;
    this.samples = this.#seriesCount * shape.rounds;
    this.#timeMs = startMs;
    this.#times = new Float64Array(this.samples);
    this.#values = new Float64Array(this.samples);
    this.#advance();
    const samples = {
      series: Uint32Array.from(this.#times, (_, index) => index % this.#seriesCount),
      timestampsMs: this.#times,
      values: this.#values,
    };
    const whole = encodeBatch({ nodeId: '', epoch: 0, sequence: 0, table, samples });
    // Without node, epoch and sequence only the schema version stands before the table: two bytes.
    const tableFieldBytes = 1 + lengthBytes(table.bytes.length) + table.bytes.length;
    this.#tableField = whole.subarray(2, 2 + tableFieldBytes);
    this.#tableIdField = seriesTableIdField(table.id);
    this.#body = whole.subarray(2 + tableFieldBytes);
    this.#timesBytes = packedTimesBytes(this.#times);
    this.#valuesAt = this.#body.length - this.#values.byteLength;
    const valuesHead = 1 + lengthBytes(this.#values.byteLength);
    this.#timesAt = this.#valuesAt - valuesHead - this.#timesBytes;
  }

  /** The sequence of the newest batch. */
  get sequence(): number {
    return this.#sequence;
  }

  /**
   * The next batch as a framed head and a body; the body is overwritten by the next call. With
   * `sequence` an earlier number is used again.
   */
  next(sequence?: number): { readonly head: Uint8Array; readonly body: Uint8Array } {
    this.#advance();
    assert(packedTimesBytes(this.#times) === this.#timesBytes, 'times keep their length');
    writePackedTimes(this.#body, this.#timesAt, this.#times);
    this.#body.set(new Uint8Array(this.#values.buffer), this.#valuesAt);
    if (sequence === undefined) this.#sequence += 1;
    const fields = encodeBatch({
      nodeId: this.nodeId,
      epoch: this.#epoch,
      sequence: sequence ?? this.#sequence,
      table: EMPTY_TABLE,
      samples: NO_SAMPLES,
    });
    const table = this.#tableField ?? this.#tableIdField;
    this.#tableField = undefined;
    const head = Buffer.allocUnsafe(FRAME_HEADER_BYTES + fields.length + table.length);
    head.writeUInt32BE(fields.length + table.length + this.#body.length);
    head.set(fields, FRAME_HEADER_BYTES);
    head.set(table, FRAME_HEADER_BYTES + fields.length);
    return { head, body: this.#body };
  }

  #advance(): void {
    for (let round = 0; round < this.#rounds; round += 1) {
      this.#timeMs += STEP_MS;
      this.#simulation.advance(this.#timeMs);
      const from = round * this.#seriesCount;
      this.#simulation.fill(this.#values, from);
      this.#times.fill(this.#timeMs, from, from + this.#seriesCount);
    }
  }
}

function withLabels(series: readonly Series[], count: number): readonly Series[] {
  if (count === 0) return series;
  const extra = Array.from({ length: count }, (_, index): readonly [string, string] => [
    `zone_${String(index).padStart(2, '0')}`,
    `value-${index}`,
  ]);
  return series.map((one) => ({ ...one, labels: [...one.labels, ...extra] }));
}

function lengthBytes(length: number): number {
  return length < 128 ? 1 : length < 16_384 ? 2 : 3;
}
