/**
 * Metrics of reloads (SIGHUP).
 */
import type { Registry } from 'prom-client';
import { RoomMetrics } from '../observability/metrics.ts';

export interface ReloadMetrics {
  /** A reload ended: everything was taken up, or nothing was. */
  count(result: 'done' | 'refused'): void;
}

/** Creates them on `registry`. */
export function createReloadMetrics(registry: Registry): ReloadMetrics {
  const metrics = new RoomMetrics(registry, 'telemetry_collector_');
  let isRefused = false;
  const reloads = metrics.counter(
    'config_reloads_total',
    'Reloads of the configuration, by result; a refused one changed nothing.',
    ['result'],
  );
  metrics.gauge(
    'config_reload_refused',
    'Whether the latest reload was refused: 1 until one is done, else 0.',
    () => (isRefused ? 1 : 0),
  );
  for (const result of ['done', 'refused']) reloads.inc({ result }, 0);
  return {
    count(result) {
      isRefused = result === 'refused';
      reloads.inc({ result });
    },
  };
}
