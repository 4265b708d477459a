/**
 * Metrics of what readiness is based on, so that an alert can say the same as /readyz.
 */
import type { Registry } from 'prom-client';
import type { CanaryAge } from './canary.ts';
import { RoomMetrics } from '../../observability/metrics.ts';
import type { ReadinessReport } from '../../observability/readiness.ts';

export interface HealthFigures {
  readonly report: () => ReadinessReport;
  readonly canary: {
    readonly ages: readonly CanaryAge[];
    readonly counts: { readonly sent: number; readonly refused: number };
  };
  readonly eventLoop: { readonly stalls: number; readonly stalledMs: number };
}

/** Creates them on `registry`; every figure is read when a scrape comes. */
export function createHealthMetrics(registry: Registry, figures: HealthFigures): void {
  const { report, canary, eventLoop } = figures;
  const metrics = new RoomMetrics(registry, 'telemetry_collector_');
  metrics.gauge('ready', 'Whether /readyz says ready: 1 or 0.', () => (report().ready ? 1 : 0));
  metrics.gaugeBy(
    ['check'],
    'readiness_check_ok',
    'Whether a check of /readyz passes: 1 or 0.',
    () =>
      Object.entries(report().checks).map(([check, { ok }]) => [{ check }, ok ? 1 : 0] as const),
  );
  metrics.gaugeBy(
    ['stage'],
    'canary_age_seconds',
    'Age of the newest canary that came through a stage; it grows where work stands still.',
    () => canary.ages.map(({ stage, ageMs }) => [{ stage }, ageMs / 1000] as const),
  );
  metrics.total(
    'canaries_sent_total',
    'Canaries sent to the journal and the writers.',
    () => canary.counts.sent,
  );
  metrics.total(
    'canaries_refused_total',
    'Canaries that the journal did not take.',
    () => canary.counts.refused,
  );
  metrics.total(
    'event_loop_stalls_total',
    'Times that the main event loop stood still for more than a second.',
    () => eventLoop.stalls,
  );
  metrics.total(
    'event_loop_stalled_seconds_total',
    'Time for which the main event loop stood still, in stalls of more than a second.',
    () => eventLoop.stalledMs / 1000,
  );
}
