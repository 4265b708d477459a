/**
 * What a client has done so far. In samples, at any moment:
 * offered = acked + duplicate + rejected + dropped + spooled + pending.
 */
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { TransportName } from '../transport/quic-endpoint.ts';
import type { RefusalReason } from './rejection-log.ts';
import type { SpoolHealth } from './spool.ts';

/** Counters since the client was opened, except the `pending` ones, which are levels. */
export interface ClientStats {
  /** Given to `send`, or found in the spool directory at the start. */
  readonly offeredBatches: number;
  readonly offeredSamples: number;
  /** The part of `offered` that an earlier run left in the spool directory. */
  readonly recoveredBatches: number;
  readonly recoveredSamples: number;
  /** Transmitted at least once. */
  readonly sentBatches: number;
  readonly sentSamples: number;
  /** Transmissions after the first. */
  readonly resentBatches: number;
  /** Answered ACCEPTED or PARTIAL. */
  readonly ackedBatches: number;
  /** Durable at the collector by the batch's first answer. */
  readonly ackedSamples: number;
  readonly duplicateBatches: number;
  /** Durable at the collector already, as a resent batch found out. */
  readonly duplicateSamples: number;
  /** Answered REJECTED. */
  readonly rejectedBatches: number;
  /** Refused by the collector for good, in REJECTED and PARTIAL batches. */
  readonly rejectedSamples: number;
  /** Given up by this client: no room, too large, or closed without an answer. */
  readonly droppedBatches: number;
  readonly droppedSamples: number;
  /** Without an answer at `close`, and kept in the spool directory for the next run. */
  readonly spooledBatches: number;
  readonly spooledSamples: number;
  /** Without a final answer now. */
  readonly pendingBatches: number;
  readonly pendingSamples: number;
  /** Bytes of the spool in use now. */
  readonly spoolBytes: number;
  /** How well the spool keeps what it was given. */
  readonly spool: SpoolHealth;
  /** Hellos after the first. */
  readonly reconnects: number;
  /** What carries the batches now; undefined while there is no connection. */
  readonly transport: TransportName | undefined;
  /** Hellos by transport. */
  readonly connects: Readonly<Record<TransportName, number>>;
  /** How often TLS had to take over because QUIC did not get through. */
  readonly fallbacks: number;
  /** THROTTLED answers. */
  readonly throttled: number;
  /** Answers to batches that were not waiting for one; ignored. */
  readonly unknownAcks: number;
  /** Samples refused by the collector, by reason. */
  readonly rejectedByReason: ReadonlyMap<RefusalReason, number>;
  /** How far this clock is ahead of the collector's; undefined where the collector did not say. */
  readonly clockAheadMs: number | undefined;
  /** Microseconds from a batch's first transmission to its final answer. */
  readonly ackLatency: RecordableHistogram;
}

type Counted = Exclude<
  keyof ClientStats,
  | 'pendingBatches'
  | 'pendingSamples'
  | 'spoolBytes'
  | 'spool'
  | 'transport'
  | 'connects'
  | 'fallbacks'
  | 'rejectedByReason'
  | 'clockAheadMs'
  | 'ackLatency'
>;

/** The counters while they grow. */
export type ClientCounters = { -readonly [key in Counted]: number };

/** The ways in which a batch can end, as counter prefixes. */
export type BatchFate = 'acked' | 'duplicate' | 'rejected' | 'dropped' | 'spooled';

/** Counters that all stand at 0. */
export function createCounters(): ClientCounters {
  return {
    offeredBatches: 0,
    offeredSamples: 0,
    recoveredBatches: 0,
    recoveredSamples: 0,
    sentBatches: 0,
    sentSamples: 0,
    resentBatches: 0,
    ackedBatches: 0,
    ackedSamples: 0,
    duplicateBatches: 0,
    duplicateSamples: 0,
    rejectedBatches: 0,
    rejectedSamples: 0,
    droppedBatches: 0,
    droppedSamples: 0,
    spooledBatches: 0,
    spooledSamples: 0,
    reconnects: 0,
    throttled: 0,
    unknownAcks: 0,
  };
}

/**
 * A histogram of microseconds up to an hour, within 1 %; about 20 kB, so a client may have its own.
 */
export function createLatencyHistogram(): RecordableHistogram {
  return createHistogram({ lowest: 1, highest: 3_600_000_000, figures: 2 });
}

/** One line for a person: what became of everything that was offered. */
export function summarize(stats: ClientStats): string {
  const parts = [
    `${number(stats.offeredSamples)} samples in ${number(stats.offeredBatches)} batches`,
    `${number(stats.ackedSamples)} acked`,
    `${number(stats.duplicateSamples)} duplicate`,
    `${number(stats.rejectedSamples)} rejected`,
    `${number(stats.droppedSamples)} dropped`,
    `${number(stats.spooledSamples)} kept in the spool`,
    `${number(stats.pendingSamples)} unacked`,
    `${number(stats.reconnects)} reconnects`,
    `${number(stats.throttled)} throttled`,
  ];
  if (stats.ackLatency.count > 0) {
    const quantile = (percent: number) => milliseconds(stats.ackLatency.percentile(percent));
    parts.push(`ack p50 ${quantile(50)} p99 ${quantile(99)}`);
  }
  return parts.join(', ');
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}

function milliseconds(microseconds: number): string {
  return `${(microseconds / 1000).toFixed(microseconds < 10_000 ? 2 : 0)} ms`;
}
