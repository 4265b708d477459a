/** Bytes of a MetricBatch to a batch; so far only the signatures. */
import type { Batch, BatchRejectReason } from '../telemetry.ts';

/** The bounds of one batch. */
export interface DecodeLimits {
  readonly maxBatchSamples: number;
  readonly maxLabelsPerSeries: number;
  /** Of a metric name, a label key, a unit, a node id. */
  readonly maxNameBytes: number;
  readonly maxLabelValueBytes: number;
}

/** A batch, or why its bytes are none; then with what is known of it, and 0 for what is not. */
export type DecodeResult =
  | { readonly ok: true; readonly batch: Batch }
  | {
      readonly ok: false;
      readonly reason: BatchRejectReason;
      readonly message: string;
      readonly epoch: number;
      readonly sequence: number;
      readonly sampleCount: number;
    };

export class BatchDecoder {
  readonly #limits: DecodeLimits;
  constructor(limits: DecodeLimits) {
    this.#limits = limits;
  }
  /** Decodes one frame. */
  decode(frame: Uint8Array): DecodeResult {
    const message = `not yet: ${frame.length} of ${this.#limits.maxBatchSamples}`;
    return { ok: false, reason: 'bad_frame', message, epoch: 0, sequence: 0, sampleCount: 0 };
  }
}
