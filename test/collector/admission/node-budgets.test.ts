import { describe, expect, it } from 'vitest';
import { Admission } from '../../../src/collector/admission/admission.ts';
import { BackpressureGate } from '../../../src/collector/admission/backpressure-gate.ts';
import { SeriesLimiter } from '../../../src/collector/admission/series-limiter.ts';
import { encodeSeriesTable } from '../../../src/codec/series-table.ts';
import type { LimitsConfig } from '../../../src/config/schema.ts';
import type { Batch, Labels, PeerIdentity, SeriesTable } from '../../../src/domain/telemetry.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';
import { testLimits } from '../../helpers/test-limits.ts';

const HOUR_MS = 3_600_000;
/** Half past an hour. */
const NOW = 487_000 * HOUR_MS + HOUR_MS / 2;

function peer(nodeId: string): PeerIdentity {
  return { nodeIds: [nodeId], fingerprint256: '', serialNumber: '', validToMs: 0 };
}

function worldWith(overrides: Partial<LimitsConfig> = {}) {
  const clock = new FakeClock(NOW);
  const limits = testLimits(overrides);
  const gate = new BackpressureGate({ maxBatches: 10, maxBytes: 1000 });
  const series = new SeriesLimiter(clock, limits, () => {});
  const producer = () => 'new' as const;
  const admission = new Admission({ clock, limits, delegates: [], producer, gate, series });
  const admit = (nodeId: string, table: SeriesTable, times: readonly number[]) =>
    admission.admit(peer(nodeId), batchOf(table, times));
  return { clock, series, admission, admit };
}

/** A sample of the table's first series at each of these times. */
function batchOf(table: SeriesTable, times: readonly number[]): Batch {
  return {
    schemaVersion: 1,
    nodeId: '',
    epoch: 1,
    sequence: 0,
    table,
    samples: {
      series: new Uint32Array(times.length),
      timestampsMs: Float64Array.from(times),
      values: new Float64Array(times.length),
    },
  };
}

function tableOf(name: string, labels: Labels = [], unit = ''): SeriesTable {
  return encodeSeriesTable([{ name, labels, kind: 'gauge', unit }]);
}

/** As many labels as a series may have, of quotes, as long as they may be. */
const QUOTES: Labels = Array.from({ length: 31 }, (_, index) => [
  `l${String(index).padStart(2, '0')}`,
  '"'.repeat(1024),
]);

const hoursAgo = (hours: number) => NOW - hours * HOUR_MS;
const hoursBack = (first: number, count: number) =>
  Array.from({ length: count }, (_, index) => hoursAgo(first + index));

describe('hours', () => {
  it('of a batch beyond the limit cost their samples, not the batch', () => {
    const { admit } = worldWith({ max_hours_per_batch: 3 });
    const verdict = admit('n', tableOf('m'), [...hoursBack(0, 160), NOW, hoursAgo(1)]);
    expect(verdict).toMatchObject({
      kind: 'accept',
      samples: { timestampsMs: Float64Array.of(...hoursBack(0, 3), NOW, hoursAgo(1)) },
      rejections: [{ reason: 'too_many_hours', count: 157, firstSeries: 'm' }],
    });
  });

  it('of a node beyond the limit of a minute have the batch come again', () => {
    const { admit, clock } = worldWith({ node_hours_per_minute: 4 });
    const table = tableOf('m');
    expect(admit('n', table, hoursBack(2, 4)).kind).toBe('accept');
    clock.advance(10_000);
    const postponed = { kind: 'throttle', reason: 'node_hours', retryAfterMs: 50_000 };
    expect(admit('n', table, [hoursAgo(6)])).toEqual(postponed);
    // Hours of this minute, the present, and other nodes are not held up.
    expect(admit('n', table, [hoursAgo(5), hoursAgo(1), NOW]).kind).toBe('accept');
    expect(admit('other', table, hoursBack(2, 4)).kind).toBe('accept');
    clock.advance(50_000);
    expect(admit('n', table, [hoursAgo(6)]).kind).toBe('accept');
  });

  it('let an honest spool of three days drain as fast as it can, with the defaults', () => {
    const { admit } = worldWith();
    const table = tableOf('m');
    const everyTenMinutes = Array.from({ length: 72 * 6 }, (_, index) => index * 10 * 60_000);
    for (const age of everyTenMinutes.reverse()) {
      const times = Array.from({ length: 100 }, (_, second) => NOW - age + second * 1000);
      const verdict = admit('n', table, times);
      expect(verdict).toMatchObject({ kind: 'accept', rejections: [] });
    }
  });
});

describe('bytes after expansion', () => {
  it('refuse a sample whose line would be over the limit', () => {
    const { admit } = worldWith();
    expect(admit('n', tableOf('m', QUOTES), [NOW, NOW])).toMatchObject({
      kind: 'accept',
      samples: { values: new Float64Array(0) },
      rejections: [{ reason: 'expanded_bytes', count: 2 }],
    });
  });

  it('count quotes twice, as they are written', () => {
    const { admit } = worldWith({ max_expanded_bytes: 1500 });
    const plain = tableOf('m', [['label', 'x'.repeat(1000)]]);
    const quotes = tableOf('m', [['label', '"'.repeat(1000)]]);
    expect(admit('n', plain, [NOW])).toMatchObject({ rejections: [] });
    expect(admit('n', quotes, [NOW])).toMatchObject({ rejections: [{ reason: 'expanded_bytes' }] });
  });

  it('of a node in a second have the batch come again, and cost its neighbour nothing', () => {
    const limits = { max_expanded_bytes: 100_000, node_expanded_bytes_per_second: 6_000_000 };
    const { admit, clock } = worldWith(limits);
    const table = tableOf('m', QUOTES);
    const times = new Array<number>(1000).fill(NOW);
    // 64 MB of lines for 32 kB of table: more than the whole bucket, which it may owe once.
    expect(admit('n', table, times).kind).toBe('accept');
    expect(admit('n', table, times)).toMatchObject({ kind: 'throttle', reason: 'node_bytes' });
    expect(admit('other', tableOf('m'), times).kind).toBe('accept');
    clock.advance(11_000);
    expect(admit('n', table, times).kind).toBe('accept');
  });
});

describe('reading tables', () => {
  const limits = { node_table_bytes_per_minute: 60_000 };

  it('has a node that is over its budget wait, and no other', () => {
    const { admission, clock } = worldWith(limits);
    const read = (nodeId: string) => admission.chargeReading(peer(nodeId), '', 10_000);
    expect(read('n')).toBe(0);
    expect(read('n')).toBeGreaterThan(0);
    expect(read('other')).toBe(0);
    const [most, ...others] = admission.topUsers(1).table_reading ?? [];
    expect(most).toEqual({ nodeId: expect.any(String), share: expect.closeTo(2.756, 3) });
    expect(others).toEqual([]);
    clock.advance(read('n'));
    expect(read('n')).toBe(0);
  });

  it('is paid by the peer itself where it claims another name, and by no connection', () => {
    const { admission } = worldWith(limits);
    for (let round = 0; round < 9; round += 1) {
      admission.chargeReading(peer('n'), 'victim', 10_000);
    }
    expect(admission.chargeReading(peer('victim'), '', 10_000)).toBe(0);
    expect(admission.chargeReading(peer('n'), 'n', 10_000)).toBeGreaterThan(0);
  });
});

describe('new tables', () => {
  it('are paid for once, and beyond the limit of a minute have the batch come again', () => {
    const { admit, clock } = worldWith({ node_table_bytes_per_minute: 10_000 });
    let accepted = 0;
    for (let round = 0; round < 100; round += 1) {
      if (admit('n', tableOf(`m_${round}`), [NOW]).kind === 'accept') accepted += 1;
    }
    // Each counts for its bytes and for a kilobyte of what keeping it costs.
    expect(accepted).toBe(9);
    expect(admit('n', tableOf('m_0'), [NOW]).kind).toBe('accept');
    expect(admit('n', tableOf('new'), [NOW])).toMatchObject({ reason: 'node_tables' });
    expect(admit('other', tableOf('new'), [NOW]).kind).toBe('accept');
    clock.advance(60_000);
    expect(admit('n', tableOf('new'), [NOW]).kind).toBe('accept');
  });

  it('cost nothing where no sample of the batch is kept, and so not twice when it comes again', () => {
    const { admission, admit } = worldWith();
    admit('n', tableOf('m'), [NOW]);
    const used = admission.mostUsedShares().get('table_bytes');
    for (let round = 0; round < 100; round += 1) {
      const verdict = admit('n', tableOf('old'), [hoursAgo(1000)]);
      expect(verdict).toMatchObject({ kind: 'accept', rejections: [{ reason: 'too_old' }] });
    }
    expect(admission.mostUsedShares().get('table_bytes')).toBe(used);
  });

  it('that were sent back have not used up their node', () => {
    const limits = { node_table_bytes_per_minute: 100_000, node_samples_per_second: 1 };
    const { admission, admit } = worldWith(limits);
    expect(admit('n', tableOf('m'), new Array<number>(10).fill(NOW)).kind).toBe('accept');
    const used = admission.mostUsedShares().get('table_bytes');
    expect(admit('n', tableOf('another'), [NOW])).toMatchObject({ reason: 'node_rate' });
    expect(admission.mostUsedShares().get('table_bytes')).toBe(used);
  });
});
