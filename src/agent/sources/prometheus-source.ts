/**
 * Scrapes an exporter's text endpoint. One request per collection, bounded in time and in bytes
 * after decompression; whatever keeps the page from being read whole is an error, as `up == 0`
 * would be.
 */
import type { Clock } from '../../lib/clock.ts';
import { errorMessage, OperatingError } from '../../lib/errors.ts';
import type { Source, SourceReport } from '../../client/reading.ts';
import { prometheusReadings } from './prometheus-readings.ts';
import { parsePrometheusText } from './prometheus-text.ts';

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
  const stop = new AbortController();
  return {
    name: 'prometheus',
    async collect(): Promise<SourceReport> {
      const scrapedAtMs = clock.nowMs();
      const { text, contentType } = await scrape(url, options, clock, stop.signal);
      const format = contentType.startsWith('application/openmetrics-text')
        ? 'openmetrics'
        : 'text';
      const page = parsePrometheusText(text, { format, maxSamples: options.maxSamples ?? 200_000 });
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

interface ScrapedPage {
  readonly text: string;
  readonly contentType: string;
}

async function scrape(
  url: URL,
  options: PrometheusSourceOptions,
  clock: Clock,
  stop: AbortSignal,
): Promise<ScrapedPage> {
  const { timeoutMs = 10_000, maxBytes = 32 * 1024 * 1024, headers = {} } = options;
  const deadline = new AbortController();
  const cancel = clock.after(timeoutMs, () => deadline.abort());
  try {
    const response = await fetch(withoutCredentials(url), {
      // A redirect leads to a login page or to another node's numbers.
      redirect: 'manual',
      headers: { accept: ACCEPT, ...basicAuthorization(url), ...headers },
      signal: AbortSignal.any([stop, deadline.signal]),
    });
    if (response.status !== 200) await refuse(url, response);
    const text = await readBounded(url, response, maxBytes);
    return { text, contentType: response.headers.get('content-type') ?? '' };
  } catch (error) {
    if (error instanceof OperatingError) throw error;
    if (stop.aborted) throw failed('SCRAPE_FAILED', url, 'the source was closed', error);
    if (deadline.signal.aborted) {
      throw failed('SCRAPE_TIMEOUT', url, `no whole page within ${timeoutMs} ms`, error);
    }
    throw failed('SCRAPE_FAILED', url, reasonOf(error), error);
  } finally {
    cancel();
  }
}

async function refuse(url: URL, response: Response): Promise<never> {
  await response.body?.cancel();
  const location = response.headers.get('location');
  const redirect = location === null ? '' : ` to ${location}; redirects are not followed`;
  throw failed('SCRAPE_STATUS', url, `HTTP status ${response.status}${redirect}`);
}

async function readBounded(url: URL, response: Response, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop early cancels the transfer.
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw failed('SCRAPE_TOO_LARGE', url, `more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** `fetch` refuses addresses with a user name in them. */
function withoutCredentials(url: URL): URL {
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  return bare;
}

function basicAuthorization(url: URL): Record<string, string> {
  if (url.username === '') return {};
  const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}

/** `fetch` says "fetch failed" and hides why in the cause. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  return errorMessage(cause) || 'the connection failed';
}

function failed(code: string, url: URL, why: string, cause?: unknown): OperatingError {
  return new OperatingError(code, `cannot scrape ${withoutCredentials(url)}: ${why}`, { cause });
}
