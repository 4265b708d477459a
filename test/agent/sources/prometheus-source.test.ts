import http from 'node:http';
import type { AddressInfo } from 'node:net';
import zlib from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  openPrometheusSource,
  type PrometheusSourceOptions,
} from '../../../src/agent/sources/prometheus-source.ts';
import { systemClock } from '../../../src/lib/clock.ts';

const OPENMETRICS = 'application/openmetrics-text; version=1.0.0';

/** Takes the last bytes off a page. */
function cut(bytes: number): (body: Buffer) => Buffer {
  return (body) => body.subarray(0, body.length - bytes);
}

/** A server that answers every request with `handler`, and a source that scrapes it. */
async function open(
  handler: http.RequestListener,
  options: Omit<PrometheusSourceOptions, 'url'> = {},
) {
  const server = http.createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}/metrics`;
  const source = openPrometheusSource({ url, ...options }, systemClock);
  onTestFinished(async () => {
    await source.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { source, url, port };
}

describe('a scrape', () => {
  test('stamps its own time and asks for the text format', async () => {
    let accept = '';
    const { source } = await open((request, response) => {
      accept = request.headers.accept ?? '';
      response.end('a 1\nbad\n');
    });
    const before = systemClock.nowMs();
    const report = await source.collect();
    expect(report).toMatchObject({ readings: [{ name: 'a', value: 1 }], done: false });
    expect(report.skipped).toEqual([
      { what: 'line 2', why: 'blank expected after the name', count: 1 },
    ]);
    expect(report.readings[0]?.timestampMs).toBeGreaterThanOrEqual(before);
    expect(accept).toMatch(/^text\/plain;version=0\.0\.4/);
  });

  test('takes gzip, and OpenMetrics by its content type', async () => {
    const { source } = await open((_, response) => {
      response.setHeader('content-encoding', 'gzip');
      response.setHeader('content-type', 'application/openmetrics-text; version=1.0.0');
      response.end(zlib.gzipSync('a 1 1700000000.5\n# EOF\n'));
    });
    const { readings } = await source.collect();
    expect(readings).toMatchObject([{ timestampMs: 1_700_000_000_500 }]);
  });

  test('sends the user and password of the address, and shows them to nobody', async () => {
    let authorization = '';
    const { port } = await open((request, response) => {
      authorization = request.headers.authorization ?? '';
      response.statusCode = 401;
      response.end();
    });
    const url = `http://user:p%40ss@127.0.0.1:${port}/metrics`;
    const source = openPrometheusSource({ url }, systemClock);
    const error = await source.collect().catch((thrown: unknown) => thrown);
    expect(Buffer.from(authorization.slice(6), 'base64').toString()).toBe('user:p@ss');
    expect(String(error)).toContain('HTTP status 401');
    expect(String(error)).not.toContain('p%40ss');
  });
});

describe('a scrape fails', () => {
  test.each<[string, number, Record<string, string>, string]>([
    ['on an error', 503, {}, 'HTTP status 503'],
    ['on a redirect', 302, { location: '/login' }, '302 to /login; redirects are not followed'],
    ['on an empty answer', 204, {}, 'HTTP status 204'],
  ])('%s', async (_, status, headers, message) => {
    const { source } = await open((__, response) => response.writeHead(status, headers).end());
    const error = await source.collect().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: 'SCRAPE_STATUS',
      message: expect.stringContaining(message),
    });
  });

  test('when the page does not end in time, headers or body', async () => {
    for (const begin of [false, true]) {
      const { source } = await open(
        (_, response) => {
          if (begin) response.write('a 1\n');
        },
        { timeoutMs: 200 },
      );
      const error = await source.collect().catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'SCRAPE_TIMEOUT' });
    }
  });

  test('when the page is too large, also once it is unpacked', async () => {
    const { source } = await open(
      (_, response) => {
        response.setHeader('content-encoding', 'gzip');
        response.end(zlib.gzipSync('#'.repeat(10_000_000)));
      },
      { maxBytes: 1_000_000 },
    );
    const error = await source.collect().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'SCRAPE_TOO_LARGE' });
  });

  test('when the connection breaks in the middle', async () => {
    const { source } = await open((_, response) => {
      response.write('a 1\n');
      response.destroy();
    });
    await expect(source.collect()).rejects.toMatchObject({ code: 'SCRAPE_FAILED' });
  });

  test.each<[string, string, Record<string, string>, (body: Buffer) => Buffer]>([
    ['a gzip page that was cut off', 'a 7.16\nb 7.16\n', { 'content-encoding': 'gzip' }, cut(9)],
    ['a gzip page without its trailer', 'a 7.16\n', { 'content-encoding': 'gzip' }, cut(4)],
    ['OpenMetrics without # EOF', 'a 7.16\nb 7', { 'content-type': OPENMETRICS }, cut(0)],
    ['a login page', '<!doctype html>\n<p>log in</p>\n', { 'content-type': 'text/html' }, cut(0)],
    ['a login page that calls itself text', '<html>\n<p>log in</p>\n', {}, cut(0)],
    ['an encoding that nobody asked for', 'a 1\n', { 'content-encoding': 'br' }, cut(0)],
  ])('on %s, though the status is 200', async (_, page, headers, damage) => {
    const isGzip = headers['content-encoding'] === 'gzip';
    const body = damage(isGzip ? zlib.gzipSync(page) : Buffer.from(page));
    const { source } = await open((__, response) => response.writeHead(200, headers).end(body));
    const error = await source.collect().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: 'SCRAPE_CONTENT',
      message: expect.stringMatching(/cut off|# EOF|no metric|HTML|encoding br/),
    });
  });

  test('where only the closed connection ends the page and its last line has no end', async () => {
    const { source } = await open((_, response) => {
      // HTTP 1.0: neither a length nor chunks say where the page ends.
      response.socket?.end('HTTP/1.0 200 OK\r\n\r\na 7.16\nb 7');
    });
    await expect(source.collect()).rejects.toThrow('cut off');
  });

  test('when nobody listens, saying so', async () => {
    const source = openPrometheusSource({ url: 'http://127.0.0.1:1/metrics' }, systemClock);
    await expect(source.collect()).rejects.toThrow(/cannot scrape .*(ECONNREFUSED|bad port)/);
  });

  test('and works again afterwards', async () => {
    let healthy = false;
    const { source } = await open((_, response) => {
      response.statusCode = healthy ? 200 : 500;
      response.end('a 1\n');
    });
    await expect(source.collect()).rejects.toThrow('500');
    healthy = true;
    expect((await source.collect()).readings.length).toBe(1);
  });
});

test.each(['', 'localhost:9400', 'ftp://x/metrics', 'not an address'])('%j is refused', (url) => {
  expect(() => openPrometheusSource({ url }, systemClock)).toThrow('not an http or https address');
});
