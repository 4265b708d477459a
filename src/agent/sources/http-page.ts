/**
 * Gets one page over HTTP, whole or not at all, bounded in time and in bytes after decompression.
 * Not with `fetch`: that hands out what it could unpack of a page that was cut off, as if it were
 * all of it.
 */
import http from 'node:http';
import https from 'node:https';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { Clock } from '../../lib/clock.ts';
import { errorCode, errorMessage, OperatingError } from '../../lib/errors.ts';

export interface PageRequest {
  /** http or https; a user and password in it are sent as basic authorization. */
  readonly url: URL;
  /** For the whole page. */
  readonly timeoutMs: number;
  /** Of the page, unpacked. */
  readonly maxBytes: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Ends the request early. */
  readonly signal: AbortSignal;
}

export interface HttpPage {
  readonly text: string;
  /** '' where the server does not say. */
  readonly contentType: string;
}

const LINE_FEED = 0x0a;

/**
 * Rejects with OperatingError SCRAPE_TIMEOUT, SCRAPE_STATUS (any status but 200; redirects lead to
 * login pages and are not followed), SCRAPE_TOO_LARGE, SCRAPE_CONTENT where the page did not come
 * whole, or SCRAPE_FAILED.
 */
export async function getPage(request: PageRequest, clock: Clock): Promise<HttpPage> {
  const { url, timeoutMs, signal } = request;
  const deadline = new AbortController();
  const cancel = clock.after(timeoutMs, () => deadline.abort());
  try {
    const response = await open(request, AbortSignal.any([signal, deadline.signal]));
    if (response.statusCode !== 200) refuse(url, response);
    const bytes = await readBounded(request, response);
    requireEnd(url, response, bytes);
    return { text: bytes.toString('utf8'), contentType: response.headers['content-type'] ?? '' };
  } catch (error) {
    if (error instanceof OperatingError) throw error;
    if (signal.aborted) throw scrapeError('SCRAPE_FAILED', url, 'the source was closed', error);
    if (deadline.signal.aborted) {
      throw scrapeError('SCRAPE_TIMEOUT', url, `no whole page within ${timeoutMs} ms`, error);
    }
    throw scrapeError('SCRAPE_FAILED', url, reasonOf(error), error);
  } finally {
    cancel();
  }
}

/** An error about a page, without the password of its address. */
export function scrapeError(code: string, url: URL, why: string, cause?: unknown): OperatingError {
  return new OperatingError(code, `cannot scrape ${withoutCredentials(url)}: ${why}`, { cause });
}

/** Each request has a connection of its own: one that is kept can close just as it is used. */
function open({ url, headers }: PageRequest, signal: AbortSignal): Promise<http.IncomingMessage> {
  const { get } = url.protocol === 'https:' ? https : http;
  const options = {
    agent: false,
    signal,
    headers: { 'accept-encoding': 'gzip', ...basicAuthorization(url), ...headers },
  } as const;
  return new Promise((resolve, reject) => {
    get(withoutCredentials(url), options, resolve).on('error', reject);
  });
}

function refuse(url: URL, response: http.IncomingMessage): never {
  response.destroy();
  const { location } = response.headers;
  const redirect = location === undefined ? '' : ` to ${location}; redirects are not followed`;
  throw scrapeError('SCRAPE_STATUS', url, `HTTP status ${response.statusCode}${redirect}`);
}

async function readBounded(
  { url, maxBytes }: PageRequest,
  response: http.IncomingMessage,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    // Leaving the loop early ends the transfer.
    for await (const chunk of unpacked(url, response)) {
      bytes += chunk.length;
      if (bytes > maxBytes) {
        throw scrapeError('SCRAPE_TOO_LARGE', url, `more than ${maxBytes} bytes`);
      }
      chunks.push(chunk);
    }
  } catch (error) {
    if (errorCode(error).startsWith('Z_')) {
      const why = `the gzip page was cut off or is damaged: ${errorMessage(error)}`;
      throw scrapeError('SCRAPE_CONTENT', url, why, error);
    }
    throw error;
  }
  return Buffer.concat(chunks);
}

function unpacked(url: URL, response: http.IncomingMessage): Readable {
  const encoding = response.headers['content-encoding'] ?? 'identity';
  if (encoding === 'identity') return response;
  if (encoding === 'gzip') return pipeline(response, createGunzip(), () => {});
  response.destroy();
  throw scrapeError('SCRAPE_CONTENT', url, `it has the encoding ${encoding}; gzip was offered`);
}

/** Where only the closing connection ends a page, the end of its last line says it is whole. */
function requireEnd(url: URL, { headers }: http.IncomingMessage, bytes: Buffer): void {
  const hasLength = headers['content-length'] !== undefined;
  const hasChunks = headers['transfer-encoding'] !== undefined;
  const hasTrailer = headers['content-encoding'] === 'gzip';
  if (hasLength || hasChunks || hasTrailer || bytes.at(-1) === LINE_FEED) return;
  throw scrapeError('SCRAPE_CONTENT', url, 'it was cut off: its last line has no end');
}

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

/** A name with several addresses fails with a list of errors that says nothing itself. */
function reasonOf(error: unknown): string {
  const first = error instanceof AggregateError ? error.errors[0] : error;
  return errorMessage(first) || 'the connection failed';
}
