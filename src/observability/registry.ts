/**
 * The Prometheus registry of the process. Every room adds its own metrics to it; this file adds
 * what belongs to the process as a whole.
 */
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';

/** prom-client's defaults that `promtool check metrics` objects to: gauges named like counters. */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];

/**
 * A registry with the process' own metrics (CPU, memory, event loop, garbage collection, build).
 * `program` begins the name of the build's metric.
 */
export function createRegistry(version: string, program = 'telemetry_collector'): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
  new Gauge({
    name: `${program}_build_info`,
    help: 'Always 1; the version is in the label.',
    labelNames: ['version', 'node_version'],
    registers: [registry],
  }).set({ version, node_version: process.version }, 1);
  return registry;
}
