/**
 * How metrics are named and explained: the rules of Prometheus and the prefix of this program.
 */
import type { MetricEntry } from '../../helpers/render-metrics-docs.ts';

/** What is wrong with a metric. */
export function metricFaults({ name, type, labels, help }: MetricEntry): string[] {
  const faults: string[] = [];
  if (!/^telemetry_(collector|agent|gateway)(_[a-z0-9]+)+$/.test(name))
    faults.push(`${name} is not a fit name`);
  if (/_(ms|millis|milliseconds|micros|kib|mib|kb|mb|percent)(_total)?$/.test(name)) {
    faults.push(`${name} is not in a base unit`);
  }
  const isTotal = name.endsWith('_total');
  if (isTotal !== (type === 'counter')) faults.push(`${name} is a ${type}; counters end in _total`);
  if (!/^[A-Z0-9].*\.$/s.test(help)) faults.push(`${name} is not explained by a sentence: ${help}`);
  const wrong = labels.filter((label) => !/^[a-z][a-z0-9_]*$/.test(label));
  if (wrong.length > 0) faults.push(`${name} has labels that are not snake_case: ${wrong}`);
  return faults;
}
