/**
 * Scrapes an exporter's text endpoint. One request per collection, bounded in time and in bytes
 * after decompression; whatever keeps the page from being read whole is an error, as `up == 0`
 * would be.
 */
import type { Clock } from '../../lib/clock.ts';
import { OperatingError } from '../../lib/errors.ts';
import type { Source, SourceReport } from '../../client/reading.ts';
import { getPage, type HttpPage, scrapeError } from './http-page.ts';
import { prometheusReadings } from './prometheus-readings.ts';
import { type PrometheusPage, parsePrometheusText } from './prometheus-text.ts';

export interface PrometheusSourceOptions {
  /** `http://host:9400/metrics`. */
  readonly url: string;
  readonly timeoutMs?: number;
  /** Bytes of one page, decompressed. */
  readonly maxBytes?: number;
  readonly maxSamples?: number;
  /** Sent with each request, for endpoints that ask for authorization. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Both formats will do; the older one is preferred because exporters get it right more often. */
const ACCEPT =
  'text/plain;version=0.0.4;q=1,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1';

/** Checks the address; the endpoint itself may be down for now. Throws SOURCE_OPTIONS. */
export function openPrometheusSource(options: PrometheusSourceOptions, clock: Clock): Source {
  const url = checkedUrl(options.url);
  const { timeoutMs = 10_000, maxBytes = 32 * 1024 * 1024, maxSamples = 200_000 } = options;
  const { headers = {} } = options;
  const stop = new AbortController();
  return {
    name: 'prometheus',
    async collect(): Promise<SourceReport> {
      const scrapedAtMs = clock.nowMs();
      const asked = { accept: ACCEPT, ...headers };
      const request = { url, timeoutMs, maxBytes, headers: asked, signal: stop.signal };
      const page = readPage(url, await getPage(request, clock), maxSamples);
      const readings = prometheusReadings(page, scrapedAtMs);
      return { readings, skipped: page.skipped.list(), done: false };
    },
    async close() {
      stop.abort();
    },
  };
}

function checkedUrl(text: string): URL {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new OperatingError(
      'SOURCE_OPTIONS',
      `cannot scrape ${JSON.stringify(text)}: not an http or https address`,
    );
  }
  return new URL(text);
}

/** A page with status 200 can still be a login page, or half of what the exporter had to say. */
function readPage(url: URL, { text, contentType }: HttpPage, maxSamples: number): PrometheusPage {
  const isOpenMetrics = /^application\/openmetrics-text/i.test(contentType);
  if (/^(text\/html|application\/xhtml)/i.test(contentType)) {
    throw scrapeError('SCRAPE_CONTENT', url, 'it is an HTML page, not metrics');
  }
  const format = isOpenMetrics ? 'openmetrics' : 'text';
  const page = parsePrometheusText(text, { format, maxSamples });
  if (isOpenMetrics && !page.hasEnd) {
    throw scrapeError('SCRAPE_CONTENT', url, 'it was cut off: OpenMetrics must end with # EOF');
  }
  if (page.samples.length === 0 && page.skipped.list().length > 0) {
    const begin = JSON.stringify(text.trimStart().slice(0, 40));
    throw scrapeError('SCRAPE_CONTENT', url, `no metric in it; it begins with ${begin}`);
  }
  return page;
}
