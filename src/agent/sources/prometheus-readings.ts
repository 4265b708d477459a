/**
 * Samples of a Prometheus page → readings: identities renamed, blanks dropped, times and units
 * filled in. Pure.
 */
import type { Reading } from '../../client/reading.ts';
import { parseMetricValue } from './blank-values.ts';
import { describeMetric, isDcgmMetric, speaksRenamedVocabulary } from './metric-units.ts';
import type { PrometheusPage, PrometheusSample } from './prometheus-text.ts';
import { canonicalLabels } from './source-labels.ts';

/**
 * The readings of `page`; what has no usable value is counted in the page's tally. `scrapedAtMs` is
 * the time of samples that carry none.
 */
export function prometheusReadings(page: PrometheusPage, scrapedAtMs: number): Reading[] {
  const readings: Reading[] = [];
  for (const sample of page.samples) {
    const parsed = parseMetricValue(sample.valueText, { dcgm: isDcgmMetric(sample.name) });
    if (parsed.ok) readings.push(toReading(sample, parsed.value, scrapedAtMs));
    else page.skipped.add(sample.name, parsed.why);
  }
  return readings;
}

function toReading(sample: PrometheusSample, value: number, scrapedAtMs: number): Reading {
  const labels = canonicalLabels(Object.entries(sample.labels));
  const known = describeMetric(sample.name, speaksRenamedVocabulary(labels));
  return {
    name: sample.name,
    labels,
    kind: sample.kind ?? known.kind,
    unit: sample.unit ?? known.unit,
    timestampMs: sample.timestampMs ?? scrapedAtMs,
    value,
  };
}
