/**
 * A frame's whole way to its verdict: codec and admission, as one connection runs them.
 */
import { Admission } from '../../../src/collector/admission/admission.ts';
import { BackpressureGate } from '../../../src/collector/admission/backpressure-gate.ts';
import { SeriesLimiter } from '../../../src/collector/admission/series-limiter.ts';
import { BatchDecoder, type DecodeResult } from '../../../src/codec/decode-batch.ts';
import { decodeSeriesTable } from '../../../src/codec/series-table.ts';
import { configSchema } from '../../../src/config/schema.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import type { Batch, PeerIdentity } from '../../../src/domain/telemetry.ts';
import { type FuzzTarget, must } from '../fuzz-target.ts';
import { validBatches, WIRE_TOKENS } from './wire-samples.ts';

const LIMITS = {
  maxBatchSamples: 1000,
  maxLabelsPerSeries: 4,
  maxNameBytes: 64,
  maxLabelValueBytes: 64,
  maxSeries: 2000,
  maxTextCharacters: 100_000,
  maxTextPerByte: 32,
};
const PEER: PeerIdentity = {
  nodeIds: ['node-1'],
  fingerprint256: '',
  serialNumber: '',
  validToMs: Number.MAX_SAFE_INTEGER,
};
const FRAMES_PER_DECODER = 50;

/** Decoder and admission; a decoder serves some frames, since it remembers tables. */
export function batchTarget(): FuzzTarget {
  const admission = createAdmission();
  let decoder = new BatchDecoder(LIMITS);
  let frames = 0;
  return {
    name: 'batches',
    what: 'MetricBatch to verdict: decoder, tables, rows, admission',
    seeds: validBatches(),
    tokens: WIRE_TOKENS,
    run(input) {
      frames += 1;
      if (frames % FRAMES_PER_DECODER === 0) decoder = new BatchDecoder(LIMITS);
      const result = decoder.decode(input);
      checkResult(result);
      const fresh = new BatchDecoder(LIMITS).decode(input);
      const isUnknown = !fresh.ok && fresh.message.includes('names no table that came before');
      must(isUnknown || shape(result) === shape(fresh), 'what a decoder remembers does not show');
      if (result.ok) checkVerdict(admission, result.batch);
    },
  };
}

function createAdmission(): Admission {
  const limits = configSchema.parse({ limits: { max_cardinality: 5000 } }).limits;
  return new Admission({
    clock: systemClock,
    limits,
    delegates: [],
    producer: () => 'new',
    gate: new BackpressureGate({ maxBatches: 10, maxBytes: 1e9 }),
    series: new SeriesLimiter(systemClock, limits, () => {}),
  });
}

function checkResult(result: DecodeResult): void {
  if (result.ok) {
    checkBatch(result.batch);
    return;
  }
  must(result.message !== '' && result.message.length < 500, 'a refusal says why, and briefly');
  const { epoch, sequence } = result;
  must(Number.isSafeInteger(epoch) && Number.isSafeInteger(sequence), 'the numbers are numbers');
}

/** What the stages behind the codec need not ask. */
function checkBatch({ table, samples, epoch, sequence }: Batch): void {
  must(Number.isSafeInteger(epoch) && Number.isSafeInteger(sequence), 'the numbers are numbers');
  const { series, values, timestampsMs } = samples;
  must(series.length === values.length, 'columns have one length');
  must(timestampsMs.length === values.length, 'columns have one length');
  must(values.length <= LIMITS.maxBatchSamples, 'a batch keeps to its bound');
  must(
    series.every((index) => index < table.series.length),
    'samples point at series',
  );
  must(
    timestampsMs.every((time) => Math.abs(time) <= 8.64e15),
    'times are possible',
  );
  for (const { name, labels } of table.series) {
    must(name !== '', 'series have names');
    must(
      labels.every(([key, value]) => key !== '' && value !== ''),
      'labels are not empty',
    );
    const isSorted = labels.every(([key], at) => at === 0 || labels[at - 1]![0] < key);
    must(isSorted, 'labels are sorted and unique');
  }
  const again = decodeSeriesTable(table.bytes);
  must(again.id === table.id, 'a table is known by its bytes');
  must(again.series.length === table.series.length, 'readers of the journal see the same table');
}

function checkVerdict(admission: Admission, batch: Batch): void {
  const verdict = admission.admit(PEER, batch);
  if (verdict.kind !== 'accept') return;
  const kept = verdict.samples.values.length;
  const refused = verdict.rejections.reduce((sum, { count }) => sum + count, 0);
  must(kept + refused === batch.samples.values.length, 'every sample is kept or refused');
  must(verdict.samples.values.every(Number.isFinite), 'what is kept is a number');
}

/** Enough of a result to tell two apart. */
function shape(result: DecodeResult): string {
  if (!result.ok) return JSON.stringify(result);
  const { table, samples, nodeId, epoch, sequence } = result.batch;
  const columns = [samples.series, samples.values, samples.timestampsMs].map((column) =>
    Buffer.from(column.buffer, column.byteOffset, column.byteLength).toString('latin1'),
  );
  return JSON.stringify([table.id, table.series, nodeId, epoch, sequence, columns]);
}
