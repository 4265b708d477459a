/**
 * What "ready" means for this daemon: agents can connect, what they send becomes durable, and every
 * writer makes progress. Each check names its reason.
 */
import type { Config } from './config/schema.ts';
import type { Journal } from './journal/journal.ts';
import type { CheckResult, Readiness } from './observability/readiness.ts';
import type { WriterThread } from './writers/writer-thread.ts';

const READY: CheckResult = { ok: true };

export interface CheckedParts {
  /** The running configuration; a reload replaces it. */
  readonly live: { readonly config: Config };
  readonly journal: Journal;
  readonly writers: readonly WriterThread[];
}

/** Called when the listener is bound: before that there is nothing to be ready for. */
export function addReadinessChecks(readiness: Readiness, parts: CheckedParts): void {
  const { live, journal, writers } = parts;
  readiness.add('listener', () => READY);
  readiness.add('journal', () => checkJournal(journal));
  for (const writer of writers) {
    readiness.add(`writer ${writer.name}`, () => {
      return checkWriter(writer, live.config.observability.max_writer_lag_secs);
    });
  }
}

function checkJournal(journal: Journal): CheckResult {
  const { failure } = journal;
  if (failure !== undefined) return notReady(failure.message);
  if (journal.isFull()) return notReady('the journal or its disk is full; agents are throttled');
  return READY;
}

function checkWriter(writer: WriterThread, maxFailingSeconds: number): CheckResult {
  const { state, failingMs, lastError } = writer.status;
  if (state === 'broken') return notReady(lastError);
  if (failingMs > maxFailingSeconds * 1000) {
    return notReady(`failing for ${Math.round(failingMs / 1000)} s: ${lastError}`);
  }
  return READY;
}

function notReady(reason: string): CheckResult {
  return { ok: false, reason };
}
