/**
 * Prometheus' text format 0.0.4, and the part of OpenMetrics that exporters use, as samples. Pure.
 * One bad line costs that line: an exporter with one odd label must not cost a node its telemetry.
 */
import type { MetricKind } from '../../domain/telemetry.ts';
import { parseMetricValue } from './blank-values.ts';
import { parseLabelList } from './label-list.ts';
import { MetricFamilies } from './prometheus-families.ts';
import { SkipTally } from './skip-tally.ts';

/** One line of the page, unchanged: nothing is renamed, no blank is recognised. */
export interface PrometheusSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** May be NaN or infinite, which the format allows. */
  readonly value: number;
  /** The value's own spelling: integers past 2^53 are not exact as numbers. */
  readonly valueText: string;
  /** Unix ms; undefined where the sample carries no time. */
  readonly timestampMs: number | undefined;
  /** From `# TYPE`; undefined where the page does not say. */
  readonly kind: MetricKind | undefined;
  /** From `# UNIT`, or from a help text that ends in "(in MHz)"; undefined where neither says. */
  readonly unit: string | undefined;
}

export interface PrometheusPage {
  readonly samples: readonly PrometheusSample[];
  /** Lines that were not understood. */
  readonly skipped: SkipTally;
  /** The line `# EOF` was there, with which OpenMetrics says that the page is whole. */
  readonly hasEnd: boolean;
}

export interface PrometheusTextOptions {
  /** Sample times are in ms in the text format and in seconds in OpenMetrics. */
  readonly format?: 'text' | 'openmetrics';
  /** Samples past this many are counted and dropped. */
  readonly maxSamples?: number;
}

/** A line longer than this is an attack or a mistake. */
const MAX_LINE_CHARS = 65_536;

/** Reads every sample of a page. Never throws, whatever the text. */
export function parsePrometheusText(
  text: string,
  { format = 'text', maxSamples = 1_000_000 }: PrometheusTextOptions = {},
): PrometheusPage {
  const skipped = new SkipTally();
  const samples: PrometheusSample[] = [];
  const families = new MetricFamilies();
  let lineNumber = 0;
  let hasEnd = false;
  for (const line of linesOf(text)) {
    lineNumber += 1;
    if (line.length > MAX_LINE_CHARS) skipped.add(`line ${lineNumber}`, 'line too long');
    else if (line.startsWith('#')) {
      hasEnd = line === '# EOF';
      if (hasEnd) break;
      families.learn(line);
    } else if (line !== '') {
      const sample = parseSample(line, format, families);
      if (typeof sample === 'string') skipped.add(`line ${lineNumber}`, sample);
      else if (samples.length >= maxSamples) skipped.add('samples', 'too many samples');
      else samples.push(sample);
    }
  }
  return { samples, skipped, hasEnd };
}

function* linesOf(text: string): Generator<string> {
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf('\n', start);
    const end = newline < 0 ? text.length : newline;
    yield text.slice(start, end).trim();
    start = end + 1;
  }
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/;

/** One sample line, or what is wrong with it. */
function parseSample(
  line: string,
  format: 'text' | 'openmetrics',
  families: MetricFamilies,
): PrometheusSample | string {
  const head = parseHead(line);
  if (typeof head === 'string') return head;
  const { name, labels } = head;
  const rest = withoutExemplar(line.slice(head.end)).split(/[ \t]+/);
  const [valueText = '', timestamp, ...more] = rest;
  if (more.length > 0) return 'text after the timestamp';
  const value = parseNumber(valueText);
  if (value === undefined) return 'value is not a number';
  const timestampMs = timestamp === undefined ? undefined : parseTime(timestamp, format);
  if (Number.isNaN(timestampMs)) return 'timestamp is not a number';
  const kind = families.kindOf(name, labels);
  return { name, labels, value, valueText, timestampMs, kind, unit: families.unitOf(name) };
}

interface SampleHead {
  readonly name: string;
  readonly labels: Record<string, string>;
  /** Where the value begins, blanks aside. */
  readonly end: number;
}

/** Name and labels: `name`, `name{…}`, or `{"name",…}` where the name is not an identifier. */
function parseHead(line: string): SampleHead | string {
  const name = NAME.exec(line)?.[0] ?? '';
  let at = name.length;
  while (line[at] === ' ' || line[at] === '\t') at += 1;
  if (line[at] !== '{') {
    if (name === '') return 'metric name expected';
    return at === name.length ? 'blank expected after the name' : { name, labels: {}, end: at };
  }
  const list = parseLabelList(line, at + 1);
  if (typeof list === 'string') return list;
  if (line[list.end] !== '}') return 'label list does not end';
  const fullName = name || list.quotedName;
  if (fullName === '') return 'metric name expected';
  return { name: fullName, labels: Object.fromEntries(list.labels), end: list.end + 1 };
}

/** OpenMetrics puts an example trace after the value: ` # {trace_id="x"} 0.67`. */
function withoutExemplar(rest: string): string {
  const exemplar = rest.indexOf(' # ');
  return (exemplar < 0 ? rest : rest.slice(0, exemplar)).trim();
}

/** A decimal number, NaN or an infinity; undefined for any other text. */
function parseNumber(text: string): number | undefined {
  const parsed = parseMetricValue(text, { dcgm: false });
  if (parsed.ok) return parsed.value;
  if (/^[+-]?nan$/i.test(text)) return Number.NaN;
  if (parsed.why !== 'infinite') return undefined;
  return text.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
}

/** Unix ms; NaN where `text` is no time. */
function parseTime(text: string, format: 'text' | 'openmetrics'): number {
  const time = parseNumber(text) ?? Number.NaN;
  const timestampMs = Math.round(format === 'openmetrics' ? time * 1000 : time);
  return Number.isFinite(timestampMs) ? timestampMs : Number.NaN;
}
