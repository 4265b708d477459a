/**
 * A spool on disk for one test, with frames that say which batch they are.
 */
import { onTestFinished } from 'vitest';
import { DiskSpool, type DiskSpoolOptions } from '../../src/client/disk-spool.ts';
import type { SpooledBatch } from '../../src/client/spool.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { createRecordingLogger, type RecordingLogger } from './recording-logger.ts';

export interface OpenedSpool {
  readonly spool: DiskSpool;
  readonly log: RecordingLogger;
}

/** Opens a spool of node-1 that is closed with the test. */
export async function openSpool(
  options: Partial<DiskSpoolOptions> & { readonly dir: string },
  clock: Clock = systemClock,
): Promise<OpenedSpool> {
  const log = createRecordingLogger();
  const spool = await DiskSpool.open(
    { maxBytes: 1_000_000, newEpoch: 7, nodeId: 'node-1', ...options },
    { clock, logger: log.logger },
  );
  onTestFinished(() => spool.close());
  return { spool, log };
}

/** A frame that no other batch has. */
export function frameOf({ epoch, sequence, bytes }: SpooledBatch): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, at) => (epoch * 31 + sequence * 7 + at) % 251);
}

/** A batch of the spool's own epoch. */
export function batchOf(spool: DiskSpool, sequence: number, bytes = 100 + sequence): SpooledBatch {
  return { epoch: spool.epoch, sequence, sampleCount: sequence * 2, bytes };
}

/** Puts the batches with these sequences, and returns them. */
export function putAll(
  spool: DiskSpool,
  sequences: readonly number[],
  bytes?: number,
): SpooledBatch[] {
  return sequences.map((sequence) => {
    const batch = batchOf(spool, sequence, bytes);
    spool.put(batch, frameOf(batch));
    return batch;
  });
}

/** Those of `batches` whose frames come back as they were put. */
export function readable(spool: DiskSpool, batches: readonly SpooledBatch[]): SpooledBatch[] {
  return batches.filter((batch) => {
    const frame = spool.frame(batch);
    return frame !== undefined && Buffer.from(frame).equals(Buffer.from(frameOf(batch)));
  });
}
