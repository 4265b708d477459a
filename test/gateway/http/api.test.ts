/**
 * The paths of the API over real HTTP.
 */
import { getEventListeners } from 'node:events';
import path from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { mintKey } from '../../../src/gateway/access/api-key.ts';
import { type ApiKey, changeKeysFile } from '../../../src/gateway/access/keys-file.ts';
import { eventually } from '../../helpers/eventually.ts';
import { GatewayBed, gpuSeries, nodeReport } from '../../helpers/gateway-bed.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

let bed: GatewayBed;
let nowMs: number;
beforeEach(() => {
  nowMs = Date.now();
});

const util = (uuid: string, index: number, more: Record<string, string> = {}) =>
  gpuSeries('DCGM_FI_DEV_GPU_UTIL', '%', { uuid, index, ...more });
const power = (uuid: string, index: number, more: Record<string, string> = {}) =>
  gpuSeries('DCGM_FI_DEV_POWER_USAGE', 'W', { uuid, index, ...more });

/** Nodes of four GPUs each, one batch of utilisation and power. */
function feedFleet(nodes: number): void {
  for (let node = 0; node < nodes; node += 1) {
    const name = `gpu-${String(node).padStart(3, '0')}`;
    const gpus = [0, 1, 2, 3].map((index) => [`GPU-${node}-${index}`, index] as const);
    bed.feed(name, nowMs - 1000, [
      ...gpus.map(([uuid, index]) => [util(uuid, index), index * 10] as const),
      ...gpus.map(([uuid, index]) => [power(uuid, index), 100 + node] as const),
    ]);
  }
}

describe('/api/v1/gpus', () => {
  beforeEach(async () => {
    bed = await GatewayBed.open();
  });

  it('lists the fleet, and pages through it without leaving any out', async () => {
    feedFleet(10);
    const ids: unknown[] = [];
    let cursor = '';
    do {
      const { status, body } = await bed.get(`/api/v1/gpus?limit=7${cursor}`);
      expect(status).toBe(200);
      expect(body.meta).toMatchObject({ rows: body.data.length, total: 40 });
      ids.push(...body.data.map(({ id }) => id));
      cursor = body.meta.truncated === true ? `&cursor=${body.meta.next_cursor}` : '';
      // What arrives meanwhile does not move the pages.
      feedFleet(10);
    } while (cursor !== '');
    expect(new Set(ids).size).toBe(40);
    expect(ids).toHaveLength(40);
  });

  it('filters and sorts', async () => {
    feedFleet(3);
    const ids = async (query: string) =>
      (await bed.get(`/api/v1/gpus?${query}`)).body.data.map(({ id }) => id);
    expect(await ids('node=gpu-001')).toHaveLength(4);
    expect(await ids('node=gpu-001,gpu-002&state=busy')).toEqual(['GPU-1-3', 'GPU-2-3']);
    expect((await ids('sort=utilization&order=desc'))[0]).toBe('GPU-0-3');
    expect((await ids('sort=power&order=desc&limit=1'))[0]).toBe('GPU-2-0');
    expect(await ids('sort=temperature&limit=2')).toEqual(['GPU-0-0', 'GPU-0-1']);
  });

  it('names what is wrong with a question', async () => {
    feedFleet(1);
    const problem = async (query: string) => {
      const { status, headers, body } = await bed.get(`/api/v1/gpus?${query}`);
      expect(headers.get('content-type')).toMatch(/^application\/problem\+json/);
      return { status, code: body.code, detail: body.detail, errors: body.errors };
    };
    expect(await problem('limit=0')).toMatchObject({
      status: 400,
      code: 'parameter_invalid',
      errors: [{ parameter: 'limit' }],
    });
    expect(await problem('limit=1001')).toMatchObject({ errors: [{ parameter: 'limit' }] });
    expect(await problem('limt=1')).toMatchObject({ status: 400 });
    expect((await problem('limt=1')).detail).toMatch(/limt/);
    expect((await problem('sort=utilisation')).detail).toMatch(/did you mean utilization/);
    expect((await problem('state=asleep')).detail).toMatch(/asleep.*idle_free/);
    expect(await problem('cursor=xyz')).toMatchObject({ code: 'cursor_invalid' });
    const { body } = await bed.get('/api/v1/gpus?limit=1');
    const foreign = await problem(`sort=power&cursor=${body.meta.next_cursor}`);
    expect(foreign).toMatchObject({ code: 'cursor_invalid' });
  });

  it('shows one GPU by UUID, by node and index, and all with an index', async () => {
    feedFleet(2);
    const data = async (id: string) => (await bed.get(`/api/v1/gpus/${id}`)).body.data;
    expect(await data('GPU-1-2')).toMatchObject({ id: 'GPU-1-2', index: '2', node: 'gpu-001' });
    expect(await data('gpu-001:2')).toMatchObject({ id: 'GPU-1-2' });
    expect(await data('2')).toMatchObject([{ id: 'GPU-0-2' }, { id: 'GPU-1-2' }]);
    const { status, body } = await bed.get('/api/v1/gpus/GPU-1-9');
    expect({ status, code: body.code }).toEqual({ status: 404, code: 'gpu_unknown' });
    expect(body.detail).toMatch(/did you mean GPU-1-/);
  });

  it('answers as CSV and NDJSON, and a cell is never a formula', async () => {
    bed.feed('gpu-001', nowMs, [[util('GPU-a', 0, { pod: '=cmd()' }), 5]]);
    const csv = await bed.get('/api/v1/gpus', { accept: 'text/csv' });
    expect(csv.headers.get('content-type')).toMatch(/^text\/csv/);
    expect(csv.text.split('\r\n')[0]).toMatch(/^id,node,index,uuid/);
    expect(csv.text).toContain(`'=cmd()`);
    const lines = await bed.get('/api/v1/gpus', { accept: 'application/x-ndjson' });
    expect(JSON.parse(lines.text)).toMatchObject({ id: 'GPU-a', pod: '=cmd()' });
    expect((await bed.get('/api/v1/gpus', { accept: 'image/png' })).status).toBe(406);
  });
});

describe('/api/v1/gpus/{id}/telemetry', () => {
  beforeEach(async () => {
    bed = await GatewayBed.open();
  });

  /** `count` batches, a second apart, the newest now. */
  function feedSeconds(count: number): void {
    for (let i = 0; i < count; i += 1) {
      bed.feed('gpu-001', nowMs - (count - 1 - i) * 1000, [
        [util('GPU-a', 0), i],
        [power('GPU-a', 0), 100 + i],
        [power('GPU-b', 1), 7],
      ]);
    }
  }

  it('answers the rows as they came, paged, in either order', async () => {
    feedSeconds(50);
    const values: unknown[] = [];
    let cursor = '';
    do {
      const question = `/api/v1/gpus/GPU-a/telemetry?metric=power&limit=8${cursor}`;
      const { body } = await bed.get(question);
      values.push(...body.data.map(({ value }) => value));
      cursor = body.meta.truncated === true ? `&cursor=${body.meta.next_cursor}` : '';
    } while (cursor !== '');
    expect(values).toEqual(Array.from({ length: 50 }, (_, i) => 100 + i));
    const newest = await bed.get('/api/v1/gpus/GPU-a/telemetry?metric=power&limit=2&order=desc');
    expect(newest.body.data.map(({ value }) => value)).toEqual([149, 148]);
  });

  it('answers the request that was asked for first: an index, start_time and a limit', async () => {
    feedSeconds(3);
    const start = '2024-01-01T00:00:00Z';
    const { body } = await bed.get(`/api/v1/gpus/0/telemetry?start_time=${start}&limit=100`);
    expect(body.data).toHaveLength(6);
    expect(body.data[0]).toMatchObject({ node: 'gpu-001', gpu_uuid: 'GPU-a', gpu_index: '0' });
  });

  it('keeps to a half-open window', async () => {
    feedSeconds(10);
    const count = async (query: string) =>
      (await bed.get(`/api/v1/gpus/GPU-a/telemetry?metric=power&${query}`)).body.data.length;
    expect(await count(`start=${nowMs - 4000}&end=${nowMs}`)).toBe(4);
    expect(await count(`start=${new Date(nowMs).toISOString()}`)).toBe(1);
  });

  it('makes one value of a step', async () => {
    const baseMs = Math.floor(nowMs / 10_000) * 10_000 - 20_000;
    for (const [offset, value] of [
      [0, 1],
      [1000, 5],
      [9999, 3],
      [10_000, 50],
    ] as const) {
      bed.feed('gpu-001', baseMs + offset, [[power('GPU-a', 0), value]]);
    }
    const values = async (agg: string) =>
      (await bed.get(`/api/v1/gpus/GPU-a/telemetry?step=10s&agg=${agg}`)).body.data.map(
        ({ value }) => value,
      );
    expect(await values('avg')).toEqual([3, 50]);
    expect(await values('min')).toEqual([1, 50]);
    expect(await values('max')).toEqual([5, 50]);
    expect(await values('last')).toEqual([3, 50]);
    expect(await values('p50')).toEqual([3, 50]);
    expect(await values('increase')).toEqual([4 + 3, 47]);
  });

  it('names what is wrong with a question', async () => {
    feedSeconds(1);
    const problem = async (query: string) => {
      const { status, body } = await bed.get(`/api/v1/gpus/GPU-a/telemetry?${query}`);
      expect(status).toBe(400);
      return `${body.code} ${body.detail} ${JSON.stringify(body.errors ?? [])}`;
    };
    expect(await problem('metric=powr')).toMatch(/metric_unknown.*did you mean power/);
    expect(await problem('start=5000&end=4000')).toMatch(/parameter_invalid start is 1970/);
    expect(await problem('start=yesterday')).toMatch(/start.*Unix milliseconds/);
    expect(await problem('step=10s')).toMatch(/step and agg/);
    expect(await problem('step=ten&agg=avg')).toMatch(/step.*duration/);
    expect(await problem('step=1s&agg=median')).toMatch(/agg/);
  });
});

describe('/api/v1/nodes and /api/v1/series', () => {
  beforeEach(async () => {
    bed = await GatewayBed.open();
  });

  it('show what the collector knows, and what is silent', async () => {
    bed.nodes.take([
      nodeReport('gpu-001', { transport: 'tls', knownGaps: 3 }),
      nodeReport('gpu-002', { connections: 0, receivedAtMs: nowMs - 500_000 }),
    ]);
    const { body } = await bed.get('/api/v1/nodes');
    expect(body.data).toMatchObject([
      { id: 'gpu-001', connected: true, transport: 'tls', known_gaps: 3, silent: false },
      { id: 'gpu-002', connected: false, transport: null, silent: true },
    ]);
    expect(body.meta.coverage).toMatchObject({ nodes_silent: ['gpu-002'], live: true });
    expect((await bed.get('/api/v1/nodes/gpu-002')).body.data).toMatchObject({ id: 'gpu-002' });
    const unknown = await bed.get('/api/v1/nodes/gpu-003');
    expect(unknown.status).toBe(404);
    expect(unknown.body.detail).toMatch(/did you mean gpu-00/);
  });

  it('list every series with its last value, age and rate', async () => {
    bed.feed('gpu-001', nowMs - 12_000, [[power('GPU-a', 0), 300]]);
    bed.feed('gpu-001', nowMs - 2000, [
      [power('GPU-a', 0), 310],
      [util('GPU-a', 0), 5],
    ]);
    const { body } = await bed.get('/api/v1/series?metric=power');
    expect(body.data).toMatchObject([
      {
        metric: 'DCGM_FI_DEV_POWER_USAGE',
        quantity: 'power',
        value: 310,
        interval_ms: 10_000,
        samples: 2,
      },
    ]);
    expect((await bed.get('/api/v1/series')).body.meta.total).toBe(2);
  });
});

describe('live', () => {
  beforeEach(async () => {
    bed = await GatewayBed.open();
  });

  const ws = () => `${bed.url.replace('http', 'ws')}/api/v1/ws/telemetry`;

  /** A client that keeps what it got. */
  function connect(query = '', headers: Record<string, string> = {}) {
    const socket = new WebSocket(`${ws()}${query}`, { headers });
    const messages: {
      type: string;
      position: string;
      rows?: { value: number }[];
      code?: string;
    }[] = [];
    socket.on('message', (data) => {
      const message = JSON.parse(String(data)) as (typeof messages)[number];
      if (message.type !== 'hello') messages.push(message);
    });
    socket.on('error', () => {});
    const opened = new Promise<boolean>((resolve) => {
      socket.on('open', () => resolve(true));
      socket.on('close', () => resolve(false));
    });
    const values = () => messages.flatMap(({ rows }) => rows ?? []).map(({ value }) => value);
    return { socket, messages, opened, values };
  }

  it('a WebSocket gets samples as they come, and goes on where it was', async () => {
    const first = connect();
    expect(await first.opened).toBe(true);
    bed.feed('gpu-001', nowMs, [[power('GPU-a', 0), 1]]);
    await eventually('the first sample', () => first.values().length === 1);
    const position = first.messages.at(-1)?.position ?? '';
    first.socket.terminate();
    bed.feed('gpu-001', nowMs + 1000, [[power('GPU-a', 0), 2]]);
    const second = connect(`?resume=${encodeURIComponent(position)}`);
    await eventually('what was missed', () => second.values().length === 1);
    bed.feed('gpu-001', nowMs + 2000, [[power('GPU-a', 0), 3]]);
    await eventually('what came next', () => second.values().length === 2);
    expect(second.values()).toEqual([2, 3]);
    second.socket.close();
  });

  it('a WebSocket asks for something else, and is told what is wrong', async () => {
    const client = connect('?metric=temperature');
    expect(await client.opened).toBe(true);
    for (const bad of ['{', '[]', '{"type":"dance"}', '{"type":"subscribe","node":"gpu-001"}']) {
      client.socket.send(bad);
    }
    client.socket.send('{"type":"subscribe","resume":"nonsense"}');
    await eventually('the errors', () => client.messages.length === 5);
    expect(client.messages.map(({ code }) => code)).toEqual([
      ...Array.from({ length: 4 }, () => 'message_invalid'),
      'resume_invalid',
    ]);
    client.socket.send('{"type":"subscribe","metric":["power"]}');
    await eventually('the new filter', () => bed.live.totals.clients === 2);
    bed.feed('gpu-001', nowMs, [[power('GPU-a', 0), 1]]);
    await eventually('the sample', () => client.values().length === 1);
    client.socket.send('x'.repeat(300_000));
    await eventually('the end', () => client.socket.readyState === client.socket.CLOSED);
    await eventually('nobody is left', () => bed.live.size === 0);
  });

  it('a WebSocket that sends nonsense and reads no answers is ended', async () => {
    const client = connect();
    expect(await client.opened).toBe(true);
    client.socket.pause();
    for (let i = 0; i < 100_000; i += 1) client.socket.send('nonsense');
    await eventually('nobody is left', () => bed.live.size === 0);
    client.socket.terminate();
  });

  it('a WebSocket that is gone leaves nothing behind', async () => {
    const head = { method: 'GET', headers: {}, hasBody: false };
    const local = bed.access.admit(head, undefined, { role: 'reader' });
    if ('kind' in local) throw new Error('the caller of this host is refused');
    for (let i = 0; i < 3; i += 1) {
      const client = connect();
      expect(await client.opened).toBe(true);
      client.socket.terminate();
    }
    await eventually('nobody listens', () => getEventListeners(local.ended, 'abort').length === 0);
  });

  it('a WebSocket of a foreign page gets nothing', async () => {
    const client = connect('', { origin: 'https://evil.example' });
    expect(await client.opened).toBe(false);
  });

  it('server-sent events carry the position as their id', async () => {
    const read = async (headers: Record<string, string>, until: string) => {
      const response = await fetch(`${bed.url}/api/v1/live`, { headers });
      expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
      const reader = response.body!.getReader();
      let text = '';
      while (!text.includes(until))
        text += Buffer.from((await reader.read()).value ?? []).toString();
      await reader.cancel();
      return text;
    };
    const first = read({}, '"value":1}');
    await eventually('the client is there', () => bed.live.size === 1);
    bed.feed('gpu-001', nowMs, [[power('GPU-a', 0), 1]]);
    const id = [...(await first).matchAll(/^id: (.*)$/gm)].at(-1)?.[1] ?? '';
    bed.feed('gpu-001', nowMs, [[power('GPU-a', 0), 2]]);
    const second = await read({ 'last-event-id': id }, '"value":2}');
    expect(second).toMatch(/^event: samples$/m);
    expect(second).not.toContain('"value":1}');
    expect((await bed.get('/api/v1/live?resume=nonsense')).body.code).toBe('resume_invalid');
  });
});

it('a key for one namespace sees nothing of another on any path', async () => {
  const keysFile = path.join(tempDir(), 'keys.json');
  const { id, hash, text } = mintKey();
  const created_at = new Date().toISOString();
  const namespaces = ['team-a'];
  const key: ApiKey = { id, hash, name: 'a', role: 'reader', created_at, namespaces };
  await changeKeysFile(keysFile, () => [key]);
  bed = await GatewayBed.open(keysFile);
  const authorization = `Bearer ${text}`;
  const feedBoth = () => {
    bed.feed('gpu-001', Date.now(), [
      [power('GPU-mine', 0, { namespace: 'team-a' }), 1],
      [power('GPU-secret', 1, { namespace: 'team-b', pod: 'secret-pod' }), 2],
    ]);
    bed.feed('secret-node', Date.now(), [[power('GPU-secret2', 1, { namespace: 'team-b' }), 2]]);
  };
  feedBoth();
  bed.nodes.take([nodeReport('gpu-001'), nodeReport('secret-node', { receivedAtMs: 1 })]);
  const paths = [
    ...[
      '/api/v1/gpus',
      '/api/v1/gpus/GPU-mine',
      '/api/v1/gpus/0',
      '/api/v1/gpus/GPU-mine/telemetry',
    ],
    ...['/api/v1/nodes', '/api/v1/nodes/gpu-001', '/api/v1/series'],
  ];
  for (const one of paths) {
    for (const accept of ['application/json', 'text/csv', 'application/x-ndjson']) {
      const answer = await bed.get(one, { authorization, accept });
      expect(answer.status, one).toBe(200);
      expect(answer.text, one).not.toMatch(/secret|team-b/);
    }
  }
  for (const hidden of [
    'gpus/GPU-secret',
    'gpus/1',
    'gpus/GPU-secret/telemetry',
    'nodes/secret-node',
  ]) {
    const answer = await bed.get(`/api/v1/${hidden}`, { authorization });
    expect(answer.status, hidden).toBe(404);
    // The name that was asked for comes back, and no hint of the hidden one.
    expect(answer.body.detail, hidden).not.toMatch(/did you mean .*secret/);
  }
  const socket = new WebSocket(`${bed.url.replace('http', 'ws')}/api/v1/ws/telemetry`, {
    headers: { authorization },
  });
  let received = '';
  socket.on('message', (data) => {
    received += String(data);
  });
  await eventually('the stream is open', () => bed.live.size === 1);
  feedBoth();
  await eventually('the stream brings what is mine', () => received.includes('GPU-mine'));
  expect(received).not.toMatch(/secret|team-b/);
  socket.terminate();
});

it('the OpenAPI document describes every path', async () => {
  bed = await GatewayBed.open();
  const response = await fetch(`${bed.url}/openapi.json`);
  const document = (await response.json()) as { openapi: string; paths: Record<string, unknown> };
  expect(document.openapi).toBe('3.1.0');
  expect(Object.keys(document.paths).sort()).toEqual([
    '/api/v1/gpus',
    '/api/v1/gpus/{id}',
    '/api/v1/gpus/{id}/telemetry',
    '/api/v1/live',
    '/api/v1/nodes',
    '/api/v1/nodes/{id}',
    '/api/v1/series',
    '/api/v1/session',
  ]);
});
