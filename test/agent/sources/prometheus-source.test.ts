import http from 'node:http';
import type { AddressInfo } from 'node:net';
import zlib from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  openPrometheusSource,
  type PrometheusSourceOptions,
} from '../../../src/agent/sources/prometheus-source.ts';
import { systemClock } from '../../../src/lib/clock.ts';

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
