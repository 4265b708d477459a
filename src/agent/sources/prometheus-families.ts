/**
 * What the comments of one Prometheus page (`# TYPE`, `# UNIT`, `# HELP`) say of its metrics.
 */
import type { MetricKind } from '../../domain/telemetry.ts';

interface Family {
  type?: string;
  unit?: string;
}

/** Families described by comments; more than this many are not remembered. */
const MAX_FAMILIES = 20_000;

const COMMENT = /^#[ \t]+(TYPE|UNIT|HELP)[ \t]+("(?:[^"\\]|\\.)*"|[^ \t]+)(?:[ \t]+(.*))?$/;
const SAMPLE_SUFFIX = /_(?:total|bucket|count|sum|created|info|gcount|gsum)$/;
/**
 * dcgm-exporter's help says "SM clock frequency (in MHz)."; free text in brackets is not a unit.
 */
const UNIT_IN_HELP = /\(in (%|[A-Za-z]{1,5}(?:\/s)?)\)/;

/** Learns from comment lines, answers for sample names. Bounded; never throws. */
export class MetricFamilies {
  readonly #families = new Map<string, Family>();

  /** Takes in one comment line; one that says nothing of a metric is passed over. */
  learn(comment: string): void {
    const match = COMMENT.exec(comment);
    if (match === null) return;
    const [, keyword, quotedName = '', text = ''] = match;
    const name = quotedName.startsWith('"') ? quotedName.slice(1, -1) : quotedName;
    const family = this.#families.get(name) ?? {};
    if (this.#families.size >= MAX_FAMILIES && !this.#families.has(name)) return;
    this.#families.set(name, family);
    if (keyword === 'TYPE') family.type = text.trim().toLowerCase();
    else if (keyword === 'UNIT') family.unit = text.trim();
    else family.unit ??= UNIT_IN_HELP.exec(text)?.[1] ?? '';
  }

  /** undefined where the page does not say, or says "untyped". */
  kindOf(name: string, labels: Readonly<Record<string, string>>): MetricKind | undefined {
    const type = this.#find(name)?.type;
    if (type === 'counter') return name.endsWith('_created') ? 'gauge' : 'counter';
    if (type === 'histogram' || type === 'summary') {
      // All of a histogram only grows. A quantile moves both ways; a creation time stands still.
      const moves = Object.hasOwn(labels, 'quantile') || name.endsWith('_created');
      return moves ? 'gauge' : 'counter';
    }
    const isGauge = type !== undefined && GAUGE_TYPES.has(type);
    return isGauge ? 'gauge' : undefined;
  }

  /** undefined where the page does not say. */
  unitOf(name: string): string | undefined {
    const unit = this.#find(name)?.unit;
    if (unit === undefined || unit === '') return undefined;
    // A histogram's buckets and counts are numbers of observations, whatever is observed.
    return /_(?:bucket|count)$/.test(name) && !this.#families.has(name) ? 'count' : unit;
  }

  #find(name: string): Family | undefined {
    return this.#families.get(name) ?? this.#families.get(name.replace(SAMPLE_SUFFIX, ''));
  }
}

const GAUGE_TYPES: ReadonlySet<string> = new Set(['gauge', 'info', 'stateset', 'gaugehistogram']);
