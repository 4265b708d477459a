/** Every reason for which the daemon is not ready, one at a time. */
import { describe, expect, it } from 'vitest';
import type { CanaryAge } from '../../../src/collector/health/canary.ts';
import { configSchema } from '../../../src/config/schema.ts';
import { OperatingError } from '../../../src/lib/errors.ts';
import { Readiness } from '../../../src/observability/readiness.ts';
import { addReadinessChecks } from '../../../src/collector/health/readiness-checks.ts';
import type { WriterStatus } from '../../../src/collector/writers/writer-status.ts';

const HOUR_MS = 3_600_000;

const WELL: WriterStatus = {
  ...{ state: 'running', breaker: 'closed', headSeq: 9, readSeq: 9, cursor: 9, lagMs: 0 },
  ...{ failingMs: 0, silentMs: 500, lastSuccessMs: 1, lastError: '', restarts: 0, writes: 1 },
  ...{ failures: {}, deadLetters: { kept: 0, skipped: {} }, damagedRecords: 0, stats: {} },
};

interface Troubles {
  readonly influxdb?: Partial<WriterStatus>;
  readonly parquet?: Partial<WriterStatus>;
  readonly canary?: Partial<CanaryAge> & { readonly stage: string };
  readonly refusal?: string;
  readonly shortage?: string;
  readonly failure?: OperatingError;
  readonly stall?: { readonly durationMs: number; readonly agoMs: number };
}

/** The reasons of the checks that fail. */
function reasons(troubles: Troubles = {}): Record<string, string> {
  const readiness = new Readiness();
  const ages = ['journal', 'influxdb', 'parquet'].map((stage) => {
    const age = { stage, ageMs: 1000, hasPassed: true, stuckMs: 1000, waiting: 1 };
    return stage === troubles.canary?.stage ? { ...age, ...troubles.canary } : age;
  });
  addReadinessChecks(readiness, {
    live: { config: configSchema.parse({ journal: { min_free_bytes: 1000 } }) },
    journal: { failure: troubles.failure, shortage: () => troubles.shortage },
    writers: [
      { name: 'influxdb', status: { ...WELL, ...troubles.influxdb } },
      { name: 'parquet', status: { ...WELL, ...troubles.parquet } },
    ],
    canary: { ages, refusal: troubles.refusal ?? '' },
    eventLoop: { lastStall: troubles.stall },
  });
  const { checks, ready } = readiness.report();
  const failed = Object.entries(checks).flatMap(([name, check]) =>
    check.ok ? [] : [[name, check.reason]],
  );
  expect(ready).toBe(failed.length === 0);
  return Object.fromEntries(failed);
}

describe('readiness', () => {
  it('is given where nothing is wrong', () => {
    expect(reasons()).toEqual({});
    expect(reasons({ stall: { durationMs: 5000, agoMs: 10_001 } })).toEqual({});
    expect(reasons({ influxdb: { failingMs: 6000, silentMs: 6000 } })).toEqual({});
    expect(reasons({ parquet: { lagMs: HOUR_MS, stats: { disk_free_bytes: 1000 } } })).toEqual({});
  });

  const cases: [what: string, troubles: Troubles, check: string, reason: RegExp][] = [
    [
      'the event loop stood still',
      { stall: { durationMs: 2500, agoMs: 900 } },
      'event loop',
      /^stood still for 2\.5 s, until 0\.9 s ago$/,
    ],
    ['the disk is low', { shortage: 'disk low' }, 'journal', /^disk low; agents are throttled$/],
    [
      'the journal cannot be written',
      { failure: new OperatingError('JOURNAL_UNAVAILABLE', 'cannot write journal: EROFS') },
      'journal',
      /EROFS/,
    ],
    [
      'no canary has become durable yet',
      { canary: { stage: 'journal', hasPassed: false } },
      'journal',
      /the canary is still on its way/,
    ],
    [
      'canaries are sent back',
      { canary: { stage: 'journal', ageMs: 7001 }, refusal: 'throttled: backpressure' },
      'journal',
      /for 7\.0 s: the canary was throttled: backpressure/,
    ],
    [
      'a writer is broken',
      { influxdb: { state: 'broken', lastError: 'writer ended: heap' } },
      'writer influxdb',
      /^writer ended: heap$/,
    ],
    [
      'a thread says nothing',
      { parquet: { silentMs: 6001 } },
      'writer parquet',
      /^its thread hangs: silent for 6\.0 s$/,
    ],
    [
      'a sink fails',
      { influxdb: { failingMs: 6001, lastError: 'HTTP 503' } },
      'writer influxdb',
      /^failing for 6\.0 s: HTTP 503$/,
    ],
    [
      'no canary has come through a writer yet',
      { canary: { stage: 'parquet', hasPassed: false, ageMs: 300 } },
      'writer parquet',
      /since the start, 0\.3 s ago/,
    ],
    [
      'a writer stands still',
      { canary: { stage: 'influxdb', stuckMs: 6001 } },
      'writer influxdb',
      /^stands still: nothing has come through for 6\.0 s$/,
    ],
    [
      'a writer lags',
      { canary: { stage: 'influxdb', ageMs: 120_001 } },
      'writer influxdb',
      /^lags: the last canary that came through was sent 120 s ago$/,
    ],
    [
      'records wait for InfluxDB',
      { influxdb: { lagMs: 120_001 } },
      'writer influxdb',
      /^lags: records have waited for 120 s$/,
    ],
    [
      'rows wait far longer than a rotation',
      { parquet: { lagMs: 1.05 * HOUR_MS + 180_001 } },
      'writer parquet',
      /^lags: records have waited for 3960 s$/,
    ],
    [
      'the disk of the warehouse is low',
      { parquet: { stats: { disk_free_bytes: 999 } } },
      'writer parquet',
      /^disk low: 999 bytes are free, less than journal\.min_free_bytes, 1000$/,
    ],
  ];

  it.each(cases)('is withdrawn when %s', (_, troubles, check, reason) => {
    expect(reasons(troubles)).toEqual({ [check]: expect.stringMatching(reason) });
  });
});
