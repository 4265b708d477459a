import { expect, test } from 'vitest';
import type { Attack } from '../../../trials/flood/attack.ts';
import { ATTACKS } from '../../../trials/flood/attacks.ts';
import { type FloodReport, runFlood } from '../../../trials/flood/run-flood.ts';

const TIMING = { quietSeconds: 0.5, seconds: 2, settleSeconds: 0.5 };
const MB = 1e6;
/** Over what the daemon had before; ten times what is measured on an idle machine. */
const GROWTH_MAX = 600 * MB;

/** Most of what it sent was not even read. */
const expectUnread = ({ metrics }: FloodReport) => {
  const throttled = metrics.sum('samples_throttled_total', { reason: 'node_tables' });
  expect(throttled).toBeGreaterThan(metrics.sum('samples_rejected_total'));
  expect(metrics.sum('samples_accepted_total')).toBeGreaterThan(0);
};

/** The attacker got through, and the QUIC stack took it without a panic or much memory. */
function isBorne({ done, metrics }: FloodReport): void {
  expect(done.packets).toBeGreaterThan(100);
  expect(metrics.sum('listener_transport_panics_total')).toBe(0);
  expect(metrics.sum('listener_transport_memory_bytes')).toBeLessThan(50 * MB);
}

/** Handshakes over TCP make room for one another; a stranger holds no more than that. */
function areBounded({ metrics, memory }: FloodReport): void {
  // server.max_handshakes, the neighbour and newcomers.
  expect(metrics.sum('listener_tcp_connections')).toBeLessThan(300);
  expect(metrics.sum('listener_handshake_failures_total')).toBeGreaterThan(10);
  expect(memory.peak - memory.before).toBeLessThan(200 * MB);
}

/** What each attack must have met with, beyond what all of them must. */
const MET: Readonly<Record<string, (report: FloodReport) => void>> = {
  'spoofed-initials': ({ done, metrics, memory }) => {
    expect(done.initials).toBe(50_000);
    // Past the bound on handshakes every one of them is answered by a retry and forgotten; how many
    // get as far as the daemon is a matter of the kernel's buffer.
    expect(metrics.sum('listener_retries_sent_total')).toBeGreaterThan(1000);
    expect(metrics.sum('listener_connections')).toBeLessThan(300);
    expect(memory.peak - memory.before).toBeLessThan(200 * MB);
  },
  'half-open': ({ metrics }) => {
    expect(metrics.sum('listener_connections')).toBeLessThanOrEqual(1000);
    expect(metrics.sum('listener_retries_sent_total')).toBeGreaterThan(0);
  },
  'foreign-certificates': ({ done, metrics }) => {
    expect(done.accepted).toBe(0);
    const labels = { reason: 'unknown_ca' };
    expect(metrics.sum('listener_handshake_failures_total', labels)).toBeGreaterThan(0);
  },
  'connection-churn': ({ metrics }) => {
    expect(metrics.sum('listener_connections_closed_total')).toBeGreaterThan(10);
  },
  'quic-crypto-initial': isBorne,
  'quic-crypto-handshake': isBorne,
  'quic-crypto-1rtt': isBorne,
  'quic-freezing-datagram': isBorne,
  'quic-stream-gaps': isBorne,
  'quic-key-updates': isBorne,
  'quic-migrations': isBorne,
  'quic-pings': isBorne,
  'tcp-silent': areBounded,
  'tcp-half-open': areBounded,
  'tcp-slow-handshakes': areBounded,
  'tcp-old-versions': ({ done, metrics }) => {
    expect(done.handshakes).toBeGreaterThan(10);
    expect(done.refused).toBe(done.handshakes);
    expect(metrics.sum('listener_handshake_failures_total')).toBeGreaterThan(0);
  },
  'tcp-churn': ({ done, metrics }) => {
    expect(done.accepted).toBeGreaterThan(1);
    expect(metrics.sum('listener_connections_closed_total')).toBeGreaterThan(1);
  },
  'tcp-dribbled': ({ metrics }) => {
    expect(metrics.sum('batches_rejected_total', { reason: 'schema_version' })).toBeGreaterThan(16);
  },
  'tcp-pings': ({ done, memory }) => {
    expect(done.records).toBeGreaterThan(1000);
    expect(memory.peak - memory.before).toBeLessThan(200 * MB);
  },
  'slow-streams': ({ done }) => expect(done.streams).toBeGreaterThan(900),
  'dribbled-frame': ({ metrics }) => {
    expect(metrics.sum('samples_accepted_total')).toBeGreaterThan(1);
  },
  'giant-length': ({ done, metrics }) => {
    expect(done.refused).toBe(done.connects);
    const labels = { reason: 'bad_frame_length' };
    expect(metrics.sum('listener_connections_closed_total', labels)).toBe(done.refused);
  },
  'unread-acks': ({ metrics }) => {
    expect(metrics.sum('batches_rejected_total', { reason: 'schema_version' })).toBeGreaterThan(16);
  },
  'many-streams': ({ done }) => expect(done.streams).toBeGreaterThan(500),
  'idle-connections': ({ done }) => {
    expect(done.connections).toBe(8);
    expect(done.replaced).toBeGreaterThan(0);
  },
  'cardinality-limit': ({ metrics }) => {
    const labels = { reason: 'cardinality_node' };
    expect(metrics.sum('samples_rejected_total', labels)).toBeGreaterThan(1000);
    expect(metrics.sum('admission_series')).toBeLessThan(11_000);
  },
  'costly-tables': ({ metrics }) => {
    // Within the bounds of a table: dear, and yet to be taken.
    expect(metrics.sum('batches_rejected_total', { reason: 'bad_series' })).toBe(0);
    expect(metrics.sum('admission_series')).toBeGreaterThanOrEqual(1500);
  },
  'alternating-tables': expectUnread,
  'alternating-rows': expectUnread,
  'tiny-tables': ({ metrics }) => {
    // So many new tables are not read at once; and of those that are, no more than these are kept.
    expect(metrics.sum('samples_throttled_total', { reason: 'node_tables' })).toBeGreaterThan(100);
    expect(metrics.sum('admission_tables')).toBeLessThan(3500);
  },
  'heavy-lines': ({ metrics }) => {
    // Within every limit but that of its lines in a second; what that lets through is written.
    expect(metrics.sum('samples_throttled_total', { reason: 'node_bytes' })).toBeGreaterThan(1000);
    expect(metrics.sum('samples_rejected_total')).toBe(0);
  },
  'rate-limit': ({ metrics }) => {
    const labels = { reason: 'node_rate' };
    expect(metrics.sum('samples_throttled_total', labels)).toBeGreaterThan(10_000);
  },
  expansion: ({ metrics }) => {
    const labels = { reason: 'expanded_bytes' };
    expect(metrics.sum('samples_rejected_total', labels)).toBeGreaterThan(1000);
  },
  'scattered-hours': ({ metrics }) => {
    const labels = { reason: 'too_many_hours' };
    expect(metrics.sum('samples_rejected_total', labels)).toBeGreaterThan(100);
  },
  'unused-symbols': ({ metrics }) => {
    // Those of the attacker, the neighbour and the canary.
    expect(metrics.sum('admission_tables')).toBeLessThan(5);
  },
  units: ({ metrics }) => expect(metrics.sum('admission_series')).toBeLessThan(1000),
  'long-texts': ({ metrics }) => {
    expect(metrics.sum('admission_node_series_text_bytes')).toBeLessThanOrEqual(16 * 1024 * 1024);
  },
  'all-slots': ({ metrics }) => {
    expect(metrics.sum('admission_series')).toBeLessThanOrEqual(100_000);
  },
  'huge-sequence': ({ metrics }) => {
    // A million for each of the two hundred epochs at most.
    expect(metrics.sum('journal_sequence_gaps_total')).toBeLessThanOrEqual(200e6);
  },
  'http-slow-clients': ({ probes }) => expect(probes.answered).toBeGreaterThan(0),
  'http-connections': ({ done }) => expect(done.answered).toBeGreaterThan(50),
  'http-odd-requests': ({ done }) => expect(done.requests).toBeGreaterThan(20),
  'http-unread-pages': ({ done }) => expect(done.connections).toBe(200),
};

const possible = ATTACKS.filter((attack) => attack.isPossible?.() !== false);

test.each(possible)('the daemon and its neighbours live through $name', async (attack: Attack) => {
  const report = await runFlood(attack, TIMING);
  const { attacked, memory, errors, metrics } = report;
  expect(errors).toEqual([]);
  expect(attacked.batches).toBeGreaterThan(10);
  expect(attacked.accepted).toBe(attacked.batches);
  const { influxdb, parquet } = report.arrivals.attacked;
  expect([influxdb.missing, parquet.missing]).toEqual([0, 0]);
  expect(report.neighbourReconnects).toBe(0);
  expect(report.newcomers.greeted).toBeGreaterThan(0);
  expect(memory.peak - memory.before).toBeLessThan(GROWTH_MAX);
  expect(metrics.ledger(['parquet', 'influxdb'])).toMatchObject({
    admission: 0,
    unaccounted: [0, 0],
  });
  expect(Object.keys(MET)).toContain(attack.name);
  MET[attack.name]?.(report);
});
