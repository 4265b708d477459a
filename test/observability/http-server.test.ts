import net from 'node:net';
import { Counter } from 'prom-client';
import { expect, onTestFinished, test } from 'vitest';
import { startHttpServer } from '../../src/observability/http-server.ts';
import { Readiness } from '../../src/observability/readiness.ts';
import { createRegistry } from '../../src/observability/registry.ts';

async function startServer() {
  const registry = createRegistry('1.2.3');
  const readiness = new Readiness();
  const pages = new Map<string, () => unknown>();
  const bind = { host: '127.0.0.1', port: 0 };
  const server = await startHttpServer(bind, registry, readiness, pages);
  onTestFinished(() => server.close());
  const { port } = server.address;
  return { registry, readiness, pages, server, port, url: `http://127.0.0.1:${port}` };
}

test('metrics are served in the text format, with the version of the program', async () => {
  const { registry, url } = await startServer();
  new Counter({ name: 'things_total', help: 'Things.', registers: [registry] }).inc(3);
  const response = await fetch(`${url}/metrics`);
  expect(response.headers.get('content-type')).toContain('text/plain; version=0.0.4');
  const text = await response.text();
  expect(text).toContain('things_total 3');
  expect(text).toContain('telemetry_collector_build_info{version="1.2.3"');
});

test('readyz says 503 and why while a check fails, and 200 when it holds again', async () => {
  const { readiness, url } = await startServer();
  let reason = 'the disk is full';
  readiness.add('listener', () => ({ ok: true }));
  readiness.add('journal', () => (reason === '' ? { ok: true } : { ok: false, reason }));
  const bad = await fetch(`${url}/readyz`);
  expect(bad.status).toBe(503);
  expect(await bad.json()).toEqual({
    ready: false,
    checks: { listener: { ok: true }, journal: { ok: false, reason: 'the disk is full' } },
  });
  reason = '';
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
});

test('no browser may guess what a page is, whatever the path', async () => {
  const { url } = await startServer();
  for (const path of ['', '/metrics', '/healthz', '/readyz', '/nothing']) {
    const { headers } = await fetch(url + path);
    expect([path, headers.get('x-content-type-options')]).toEqual([path, 'nosniff']);
  }
});

test('pages of the parts are listed and served as JSON, others are not found', async () => {
  const { pages, url } = await startServer();
  pages.set('cardinality', () => ({ series: 7 }));
  expect(await (await fetch(url)).text()).toContain('/cardinality');
  expect(await (await fetch(`${url}/cardinality`)).json()).toEqual({ series: 7 });
  expect((await fetch(`${url}/nothing`)).status).toBe(404);
  expect((await fetch(`${url}/metrics`, { method: 'POST', body: 'x' })).status).toBe(404);
});

test('a port in use is an error that names the setting', async () => {
  const { registry, readiness, pages, port } = await startServer();
  await expect(
    startHttpServer({ host: '127.0.0.1', port }, registry, readiness, pages),
  ).rejects.toMatchObject({
    code: 'METRICS_PORT',
    message: expect.stringContaining('observability.metrics_port'),
  });
});

test('closing twice is fine, and ends connections that are kept open', async () => {
  const { server, port } = await startServer();
  const socket = net.connect(port, '127.0.0.1');
  await new Promise((resolve) => socket.once('connect', resolve));
  const ended = new Promise((resolve) => socket.once('close', resolve));
  socket.resume();
  await Promise.all([server.close(), server.close()]);
  await ended;
});

test('clients that never end their requests do not keep others out', async () => {
  const { port, url } = await startServer();
  const slow: net.Socket[] = [];
  for (let index = 0; index < 300; index += 1) {
    const socket = net.connect(port, '127.0.0.1').on('error', () => {});
    slow.push(socket);
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ');
  }
  onTestFinished(() => {
    for (const socket of slow) socket.destroy();
  });
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  // The first ones gave way to the last ones, and to the probe.
  await expect.poll(() => slow.filter(({ closed }) => closed).length).toBeGreaterThanOrEqual(236);
  expect(slow.slice(-50).every(({ closed }) => !closed)).toBe(true);
});

test('a client gets one page at a time, however many it asks for ahead', async () => {
  const { registry, port, url } = await startServer();
  let renderings = 0;
  new Counter({
    name: 'renderings_total',
    help: 'Renderings.',
    registers: [registry],
    collect: () => {
      renderings += 1;
    },
  });
  const socket = net.connect(port, '127.0.0.1').on('error', () => {});
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(1000));
  await closed;
  expect(renderings).toBeLessThan(5);
  expect((await fetch(`${url}/metrics`)).status).toBe(200);
});
