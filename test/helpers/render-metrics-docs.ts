/**
 * docs/metrics.md, made from the metrics that the rooms really create.
 */
import { Registry } from 'prom-client';
import { packageFile } from '../../src/lib/package-root.ts';
import { createRegistry } from '../../src/observability/registry.ts';

/** The metrics of one file, named after it: `src/journal/lmdb/journal-metrics.ts`. */
export interface MetricGroup {
  readonly source: string;
  readonly metrics: readonly MetricEntry[];
}

export interface MetricEntry {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
  readonly help: string;
}

/** Calls every `create…Metrics(registry)` of the given files and collects what appears. */
export async function collectMetrics(sources: readonly string[]): Promise<MetricGroup[]> {
  const groups: MetricGroup[] = [];
  for (const source of sources) {
    const registry = new Registry();
    const module = (await import(packageFile(source))) as Record<string, unknown>;
    for (const [name, create] of Object.entries(module)) {
      if (!/^create\w*Metrics$/.test(name) || typeof create !== 'function') continue;
      create(registry, ANYTHING);
    }
    groups.push({ source, metrics: entriesOf(registry) });
  }
  return groups;
}

/** What belongs to the process as a whole. */
export function collectProcessMetrics(): MetricGroup {
  const source = 'src/observability/registry.ts';
  return { source, metrics: entriesOf(createRegistry('0.0.0')) };
}

/**
 * Stands for whatever else a room's metrics are made from: every property of it, and every call, is
 * itself, and it is an empty list. Nothing is asked of it beyond creating the metrics.
 */
const ANYTHING: unknown = new Proxy(() => undefined, {
  get: (_target, property) => (property === Symbol.iterator ? [][Symbol.iterator] : ANYTHING),
  apply: () => ANYTHING,
});

/** What prom-client keeps of a metric; its types do not tell. */
interface CreatedMetric {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly string[];
}

function entriesOf(registry: Registry): MetricEntry[] {
  const metrics = registry.getMetricsAsArray() as unknown as CreatedMetric[];
  return metrics
    .map((metric) => ({
      name: metric.name,
      help: metric.help,
      type: metric.constructor.name.toLowerCase(),
      labels: [...metric.labelNames].sort(),
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

const INTRODUCTION = `# Metrics

The metrics of \`/metrics\`, room by room. This page is generated from the code: the help texts are those
that Prometheus gets. The rules for these numbers (received = accepted + duplicate + rejected + throttled,
and accepted = written + pending + dead-lettered for each writer) are in [operating.md](operating.md).
`;

/** The whole page. */
export function renderMetricsPage(groups: readonly MetricGroup[]): string {
  const sections = groups
    .filter((group) => group.metrics.length > 0)
    .map(
      (group) => `## ${titleOf(group.source)}\n\n\`${group.source}\`\n\n${table(group.metrics)}`,
    );
  return [INTRODUCTION, ...sections].join('\n');
}

/** `src/journal/lmdb/ledger-metrics.ts` → "journal: ledger". */
function titleOf(source: string): string {
  const [, ...parts] = source
    .replace(/(-metrics)?\.ts$/, '')
    .replace(/^src\/collector\//, 'src/')
    .split('/');
  if (source.endsWith('registry.ts')) return 'process';
  return [...new Set(parts)].join(': ');
}

function table(metrics: readonly MetricEntry[]): string {
  const rows = metrics.map(({ name, type, labels, help }) => {
    const cells = [`\`${name}\``, type, labels.map((label) => `\`${label}\``).join(', '), help];
    return `| ${cells.join(' | ')} |`;
  });
  return `${['| Name | Type | Labels | Meaning |', '|---|---|---|---|', ...rows].join('\n')}\n`;
}
