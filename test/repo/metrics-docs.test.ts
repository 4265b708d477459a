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

/** Where metrics are made that belong to the whole process, and those of every room. */
const HELPERS = ['src/observability/registry.ts', 'src/observability/metrics.ts'];

const sources = sourceFiles('src')
  .filter((file) => file.path.endsWith('-metrics.ts') && /\bcreate\w*Metrics\(/.test(file.text))
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
    const declaring = sourceFiles('src')
      .filter((file) => /\bnew (RoomMetrics|Counter|Gauge|Histogram|Summary)\(/.test(file.text))
      .map((file) => file.path)
      .filter((path) => !HELPERS.includes(path));
    expect(declaring.filter((path) => !sources.includes(path))).toEqual([]);
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
