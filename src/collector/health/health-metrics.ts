/**
 * Metrics of what readiness believes, so that an alert can say the same as /readyz.
 */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { CanaryAge } from './canary.ts';
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
  gauge(registry, 'ready', 'Whether /readyz says ready: 1 or 0.', [], (set) =>
    set({}, report().ready ? 1 : 0),
  );
  gauge(
    registry,
    'readiness_check_ok',
    'Whether a check of /readyz passes: 1 or 0.',
    ['check'],
    (set) => {
      for (const [check, { ok }] of Object.entries(report().checks)) set({ check }, ok ? 1 : 0);
    },
  );
  gauge(
    registry,
    'canary_age_seconds',
    'Age of the newest canary that came through a stage; it grows where work stands still.',
    ['stage'],
    (set) => {
      for (const { stage, ageMs } of canary.ages) set({ stage }, ageMs / 1000);
    },
  );
  counter(registry, 'canaries_sent_total', 'Canaries sent to the journal and the writers.', () => {
    return canary.counts.sent;
  });
  counter(registry, 'canaries_refused_total', 'Canaries that the journal did not take.', () => {
    return canary.counts.refused;
  });
  counter(
    registry,
    'event_loop_stalls_total',
    'Times that the main event loop stood still for more than a second.',
    () => eventLoop.stalls,
  );
  counter(
    registry,
    'event_loop_stalled_seconds_total',
    'Time for which the main event loop stood still, in stalls of more than a second.',
    () => eventLoop.stalledMs / 1000,
  );
}

type SetGauge = (labels: Record<string, string>, value: number) => void;

function gauge(
  registry: Registry,
  name: string,
  help: string,
  labelNames: string[],
  read: (set: SetGauge) => void,
): void {
  new Gauge({
    name: `telemetry_collector_${name}`,
    help,
    labelNames,
    registers: [registry],
    collect() {
      read((labels, value) => this.set(labels, value));
    },
  });
}

function counter(registry: Registry, name: string, help: string, read: () => number): void {
  new Counter({
    name: `telemetry_collector_${name}`,
    help,
    registers: [registry],
    collect() {
      this.reset();
      this.inc(read());
    },
  });
}
