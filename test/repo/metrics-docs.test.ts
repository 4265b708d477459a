import { describe, expect, it } from 'vitest';
import { expectGenerated } from '../helpers/generated-file.ts';
import {
  collectMetrics,
  collectProcessMetrics,
  type MetricEntry,
  renderMetricsPage,
} from '../helpers/render-metrics-docs.ts';
import { metricFaults } from './rules/metric-rules.ts';
import { sourceFiles } from './rules/repo-files.ts';

const sources = sourceFiles('src')
  .filter((file) => file.path.endsWith('-metrics.ts') && file.text.includes("from 'prom-client'"))
  .map((file) => file.path)
  .sort();

describe('metrics', () => {
  it('stand all in docs/metrics.md, and nothing else does', async () => {
    const groups = [...(await collectMetrics(sources)), collectProcessMetrics()];
    expectGenerated('docs/metrics.md', renderMetricsPage(groups));
  });

  it('are created where the page looks for them', async () => {
    const groups = await collectMetrics(sources);
    expect(groups.filter((group) => group.metrics.length === 0)).toEqual([]);
    const creating = sourceFiles('src')
      .filter((file) => /\bnew (Counter|Gauge|Histogram|Summary)\(/.test(file.text))
      .map((file) => file.path)
      .filter((path) => path !== 'src/observability/registry.ts');
    expect(creating.filter((path) => !sources.includes(path))).toEqual([]);
  });

  it('are named and explained by the rules', async () => {
    const groups = await collectMetrics(sources);
    expect(groups.flatMap((group) => group.metrics).flatMap(metricFaults)).toEqual([]);
  });
});

describe('the rules of metrics', () => {
  const good: MetricEntry = {
    name: 'telemetry_collector_journal_commit_seconds',
    type: 'histogram',
    labels: ['writer'],
    help: 'Time of one commit.',
  };

  it('notice names, units and help texts that do not fit', () => {
    expect(metricFaults(good)).toEqual([]);
    const bad: Partial<MetricEntry>[] = [
      { name: 'collector_commits' },
      { name: 'telemetry_collector_commit_ms' },
      { name: 'telemetry_collector_commits', type: 'counter' },
      { name: 'telemetry_collector_commits_total', type: 'gauge' },
      { name: 'telemetry_collector_Commits', type: 'gauge' },
      { help: 'time of one commit' },
      { labels: ['nodeId'] },
    ];
    for (const change of bad) {
      expect(metricFaults({ ...good, ...change }), JSON.stringify(change)).toHaveLength(1);
    }
  });
});
