/**
 * What "ready" means for this daemon: agents can connect, what they send becomes durable, every
 * writer makes progress, and the event loop turns. The canary (canary.ts) proves it;
 * the absence of errors would not. Each check names its reason.
 */
import type { Canary, CanaryAge } from './canary.ts';
import type { Config } from '../../config/schema.ts';
import type { LogHealth } from '../../journal/append-log.ts';
import type { EventLoopWatch } from '../../lib/event-loop-watch.ts';
import type { CheckResult, Readiness } from '../../observability/readiness.ts';
import type { WriterStatus } from '../writers/writer-status.ts';

const READY: CheckResult = { ok: true };
/** A canary passes the journal every two seconds, under load a little later. */
const JOURNAL_CANARY_AGE_MAX_MS = 7000;
/** For how long a stall of the event loop is reported. */
const STALL_TOLD_MS = 10_000;
/** What the writing of due files may take after the rotation. */
const SEAL_ALLOWANCE_SECS = 60;

export interface CheckedParts {
  /** The running configuration; a reload replaces it. */
  readonly live: { readonly config: Config };
  readonly journal: LogHealth;
  readonly writers: readonly { readonly name: string; readonly status: WriterStatus }[];
  readonly canary: Pick<Canary, 'ages' | 'refusal'>;
  readonly eventLoop: Pick<EventLoopWatch, 'lastStall'>;
}

/** Called when the listener is bound: before that there is nothing to be ready for. */
export function addReadinessChecks(readiness: Readiness, parts: CheckedParts): void {
  const { live, journal, writers, canary, eventLoop } = parts;
  const ageOf = (stage: string) => canary.ages.find((age) => age.stage === stage);
  readiness.add('listener', () => READY);
  readiness.add('event loop', () => checkEventLoop(eventLoop));
  readiness.add('journal', () => checkJournal(journal, ageOf('journal'), canary.refusal));
  for (const writer of writers) {
    readiness.add(`writer ${writer.name}`, () => {
      return checkWriter(writer, ageOf(writer.name), live.config);
    });
  }
}

function checkEventLoop({ lastStall }: CheckedParts['eventLoop']): CheckResult {
  if (lastStall === undefined || lastStall.agoMs > STALL_TOLD_MS) return READY;
  const { durationMs, agoMs } = lastStall;
  return notReady(`stood still for ${seconds(durationMs)}, until ${seconds(agoMs)} ago`);
}

function checkJournal(
  journal: CheckedParts['journal'],
  canary: CanaryAge | undefined,
  refusal: string,
): CheckResult {
  const shortage = journal.shortage();
  if (shortage !== undefined) return notReady(`${shortage}; agents are throttled`);
  if (journal.failure !== undefined) return notReady(journal.failure.message);
  if (canary === undefined || (canary.hasPassed && canary.ageMs <= JOURNAL_CANARY_AGE_MAX_MS)) {
    return READY;
  }
  const why = refusal === '' ? 'the canary is still on its way' : `the canary was ${refusal}`;
  return notReady(`no canary has become durable for ${seconds(canary.ageMs)}: ${why}`);
}

function checkWriter(
  { name, status }: CheckedParts['writers'][number],
  canary: CanaryAge | undefined,
  { observability, parquet, journal }: Config,
): CheckResult {
  const { state, failingMs, silentMs, lastError, lagMs, stats } = status;
  const failingMaxMs = observability.max_sink_failing_secs * 1000;
  const lagMaxMs = observability.max_writer_lag_secs * 1000;
  if (state === 'broken') return notReady(lastError);
  if (silentMs > failingMaxMs) return notReady(`its thread hangs: silent for ${seconds(silentMs)}`);
  if (failingMs > failingMaxMs) {
    return notReady(`failing for ${seconds(failingMs)}: ${lastError}`);
  }
  if (canary !== undefined && !canary.hasPassed) {
    return notReady(`no canary has come through since the start, ${seconds(canary.ageMs)} ago`);
  }
  if (canary !== undefined && canary.stuckMs > failingMaxMs) {
    return notReady(`stands still: nothing has come through for ${seconds(canary.stuckMs)}`);
  }
  if (canary !== undefined && canary.ageMs > lagMaxMs) {
    return notReady(
      `lags: the last canary that came through was sent ${seconds(canary.ageMs)} ago`,
    );
  }
  const heldBackMs =
    name === 'parquet' ? (parquet.rotation_interval_secs * 1.05 + SEAL_ALLOWANCE_SECS) * 1000 : 0;
  if (lagMs > lagMaxMs + heldBackMs) {
    return notReady(`lags: records have waited for ${seconds(lagMs)}`);
  }
  const freeBytes = stats.disk_free_bytes;
  if (freeBytes !== undefined && freeBytes < journal.min_free_bytes) {
    const bound = `journal.min_free_bytes, ${journal.min_free_bytes}`;
    return notReady(`disk low: ${freeBytes} bytes are free, less than ${bound}`);
  }
  return READY;
}

function seconds(ms: number): string {
  return `${ms < 10_000 ? (ms / 1000).toFixed(1) : Math.round(ms / 1000)} s`;
}

function notReady(reason: string): CheckResult {
  return { ok: false, reason };
}
