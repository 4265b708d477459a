/**
 * Access as its callers meet it: a real server on loopback, real requests, a real keys file.
 */
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import fastify from 'fastify';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { Access, type AccessOptions } from '../../../src/gateway/access/access.ts';
import { mintKey } from '../../../src/gateway/access/api-key.ts';
import { type ApiKey, changeKeysFile } from '../../../src/gateway/access/keys-file.ts';
import { callerOf, registerAccess } from '../../../src/gateway/http/access-plugin.ts';
import { notFoundHandler, problemHandler } from '../../../src/gateway/http/problem.ts';
import { registerSessionRoutes } from '../../../src/gateway/http/session-routes.ts';
import { eventually } from '../../helpers/eventually.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';
import { createRecordingLogger } from '../../helpers/recording-logger.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

const NOW_MS = Date.parse('2026-11-24T12:00:00Z');
let clock: FakeClock;
beforeEach(() => {
  clock = new FakeClock(NOW_MS);
});

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Record<string, unknown>;
}

interface Bed {
  readonly access: Access;
  readonly port: number;
  ask(path: string, options?: AskOptions): Promise<Answer>;
}

interface AskOptions {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

const OPTIONS: AccessOptions = {
  mode: 'keys',
  allowedHosts: [],
  corsOrigins: ['https://grafana.example'],
  behindProxy: false,
  keysFile: '',
  requestsPerMinute: 600,
  requestsAtOnce: 4,
  sessionLifetimeMs: 3_600_000,
};

async function openBed(options: Partial<AccessOptions> = {}): Promise<Bed> {
  const { logger } = createRecordingLogger();
  const access = new Access({ ...OPTIONS, ...options }, clock, logger);
  access.start();
  const server = fastify({ forceCloseConnections: true });
  server.setErrorHandler(problemHandler(logger));
  server.setNotFoundHandler(notFoundHandler);
  await registerAccess(server, access, options.corsOrigins ?? OPTIONS.corsOrigins);
  registerSessionRoutes(server, access, true);
  server.get('/read', { config: { rights: { role: 'reader' } } }, async (request) => {
    const { id, role, scope } = callerOf(request);
    return { id, role, scope };
  });
  server.post('/write', { config: { rights: { role: 'writer' } } }, async () => ({ done: true }));
  const forAll = { rights: { role: 'reader', unscoped: true } } as const;
  server.get('/sql', { config: forAll }, async () => ({ done: true }));
  server.get('/hang', { config: { rights: { role: 'reader' } } }, () => new Promise(() => {}));
  server.get('/healthz', { config: { rights: 'public' } }, async () => ({ status: 'alive' }));
  await server.listen({ host: '127.0.0.1', port: 0 });
  onTestFinished(async () => {
    access.close();
    await server.close();
  });
  const { port } = server.server.address() as AddressInfo;
  return { access, port, ask: (where, how = {}) => ask(port, where, how) };
}

/** fetch() would not send Host, Origin and the like as they are given. */
function ask(port: number, where: string, { method, headers, body }: AskOptions): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.request({ port, path: where, method: method ?? 'GET', headers });
    request.on('error', reject);
    request.on('response', async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk as Buffer);
      const text = Buffer.concat(chunks).toString();
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
      });
    });
    request.end(body);
  });
}

/** A file with one key, and the key. */
async function makeKey(file: string, rights: Partial<ApiKey> = {}): Promise<string> {
  const { id, hash, text } = mintKey();
  const created_at = new Date(NOW_MS).toISOString();
  const key: ApiKey = { id, hash, name: 'test', role: 'reader', created_at, ...rights };
  await changeKeysFile(file, (keys) => [...keys, key]);
  return text;
}

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const JSON_BODY = { 'content-type': 'application/json' };

describe('with keys', () => {
  it('a key opens what its role allows, and nothing above', async () => {
    const keysFile = path.join(tempDir(), 'keys.json');
    const reader = await makeKey(keysFile);
    const writer = await makeKey(keysFile, { role: 'writer' });
    const bed = await openBed({ keysFile });
    expect(await bed.ask('/read', { headers: bearer(reader) })).toMatchObject({
      status: 200,
      body: { role: 'reader', scope: {} },
    });
    const write = { method: 'POST', body: '{}' };
    expect(
      await bed.ask('/write', { ...write, headers: { ...bearer(reader), ...JSON_BODY } }),
    ).toMatchObject({ status: 403, body: { code: 'role_too_low' } });
    expect(
      await bed.ask('/write', { ...write, headers: { ...bearer(writer), ...JSON_BODY } }),
    ).toMatchObject({ status: 200 });
  });

  it('says what is wrong with a key', async () => {
    const keysFile = path.join(tempDir(), 'keys.json');
    const key = await makeKey(keysFile);
    const old = await makeKey(keysFile, { expires_at: '2026-11-24T11:59:59Z' });
    const bed = await openBed({ keysFile });
    const code = async (headers: Record<string, string>) => {
      const { status, body, headers: sent } = await bed.ask('/read', { headers });
      expect(status).toBe(401);
      expect(sent['www-authenticate']).toMatch(/^Bearer/);
      expect(sent['content-type']).toMatch(/^application\/problem\+json/);
      return body.code;
    };
    expect(await code({})).toBe('key_missing');
    expect(await code(bearer('secret'))).toBe('key_malformed');
    expect(await code({ authorization: 'Basic YTpi' })).toBe('key_malformed');
    expect(await code(bearer(mintKey().text))).toBe('key_unknown');
    const flipped = key.endsWith('A') ? 'B' : 'A';
    expect(await code(bearer(key.slice(0, -1) + flipped))).toBe('key_unknown');
    expect(await code(bearer(old))).toBe('key_expired');
    expect((await bed.ask('/healthz')).status).toBe(200);
    expect((await bed.ask('/nowhere')).status).toBe(404);
  });

  it('a key for part of the fleet gets nothing that answers for all of it', async () => {
    const keysFile = path.join(tempDir(), 'keys.json');
    const key = await makeKey(keysFile, { namespaces: ['team-a'] });
    const bed = await openBed({ keysFile });
    expect((await bed.ask('/read', { headers: bearer(key) })).body.scope).toEqual({
      namespaces: ['team-a'],
    });
    expect((await bed.ask('/sql', { headers: bearer(key) })).body.code).toBe('scope_too_small');
  });

  it('a revoked key stops working, and what it opened ends', async () => {
    const keysFile = path.join(tempDir(), 'keys.json');
    const key = await makeKey(keysFile);
    const other = await makeKey(keysFile);
    const bed = await openBed({ keysFile });
    const live = bed.access.keys?.find(key);
    if (live === undefined || typeof live === 'string') throw new Error('the key is not known');
    await changeKeysFile(keysFile, (keys) => keys.filter(({ id }) => id !== live.key.id));
    await eventually('the file is read', () => {
      clock.advance(250);
      return live.ended.aborted;
    });
    expect((await bed.ask('/read', { headers: bearer(key) })).body.code).toBe('key_unknown');
    expect((await bed.ask('/read', { headers: bearer(other) })).status).toBe(200);
  });

  it('an expired key ends by itself', async () => {
    const keysFile = path.join(tempDir(), 'keys.json');
    const key = await makeKey(keysFile, { expires_at: '2026-11-24T12:00:10Z' });
    const bed = await openBed({ keysFile });
    const live = bed.access.keys?.find(key);
    if (live === undefined || typeof live === 'string') throw new Error('the key is not known');
    clock.advance(9_999);
    expect(live.ended.aborted).toBe(false);
    await eventually('the key has ended', () => {
      clock.advance(1000);
      return live.ended.aborted;
    });
    expect((await bed.ask('/read', { headers: bearer(key) })).body.code).toBe('key_expired');
  });

  it('counts the requests of a minute, and says when to come back', async () => {
    const keysFile = path.join(tempDir(), 'keys.json');
    const key = await makeKey(keysFile, { requests_per_minute: 3 });
    const other = await makeKey(keysFile);
    const bed = await openBed({ keysFile });
    const first = await bed.ask('/read', { headers: bearer(key) });
    expect(first.headers['ratelimit-policy']).toBe('"requests";q=3;w=60');
    expect(first.headers.ratelimit).toBe('"requests";r=2;t=20');
    await bed.ask('/read', { headers: bearer(key) });
    await bed.ask('/read', { headers: bearer(key) });
    const refused = await bed.ask('/read', { headers: bearer(key) });
    expect(refused).toMatchObject({ status: 429, body: { code: 'rate_limit' } });
    expect(refused.headers['retry-after']).toBe('20');
    expect((await bed.ask('/read', { headers: bearer(other) })).status).toBe(200);
    clock.advance(20_000);
    expect((await bed.ask('/read', { headers: bearer(key) })).status).toBe(200);
  });

  it('bounds the requests that a key has running, and takes back those whose client left', async () => {
    const keysFile = path.join(tempDir(), 'keys.json');
    const key = await makeKey(keysFile);
    const bed = await openBed({ keysFile });
    const live = bed.access.keys?.find(key);
    if (live === undefined || typeof live === 'string') throw new Error('the key is not known');
    const hanging = Array.from({ length: OPTIONS.requestsAtOnce }, () => {
      const request = http.get({ port: bed.port, path: '/hang', headers: bearer(key) });
      request.on('error', () => {});
      return request;
    });
    const isFull = () => {
      const verdict = live.budget.take();
      if (verdict.kind === 'granted') verdict.release();
      return verdict.kind === 'concurrency';
    };
    await eventually('all are running', isFull);
    const refused = await bed.ask('/read', { headers: bearer(key) });
    expect(refused).toMatchObject({ status: 429, body: { code: 'concurrency_limit' } });
    for (const request of hanging) request.destroy();
    await eventually('they are gone', () => !isFull());
    expect((await bed.ask('/read', { headers: bearer(key) })).status).toBe(200);
  });

  it('keys of a file that became unusable go on', async () => {
    const keysFile = path.join(tempDir(), 'keys.json');
    const key = await makeKey(keysFile);
    const bed = await openBed({ keysFile });
    fs.writeFileSync(keysFile, '{"version": 1, "keys": [{"id": "x"}]}');
    await eventually('the file is read', () => {
      clock.advance(250);
      return bed.access.keys?.isFileUsable === false;
    });
    expect((await bed.ask('/read', { headers: bearer(key) })).status).toBe(200);
  });
});

describe('sessions', () => {
  async function logIn(bed: Bed, key: string) {
    const answer = await bed.ask('/api/v1/session', {
      method: 'POST',
      headers: JSON_BODY,
      body: JSON.stringify({ key }),
    });
    const [setCookie = ''] = answer.headers['set-cookie'] ?? [];
    return { answer, setCookie, cookie: setCookie.split(';')[0] ?? '' };
  }

  it('a browser logs in with a key, and its cookie reads', async () => {
    const keysFile = path.join(tempDir(), 'keys.json');
    const key = await makeKey(keysFile);
    const bed = await openBed({ keysFile });
    const { answer, setCookie, cookie } = await logIn(bed, key);
    expect(answer.status).toBe(201);
    expect(setCookie).toMatch(/^__Host-telemetry-session=/);
    for (const word of ['Path=/', 'Max-Age=3600', 'HttpOnly', 'Secure', 'SameSite=Strict']) {
      expect(setCookie).toContain(word);
    }
    expect((await bed.ask('/read', { headers: { cookie } })).body.role).toBe('reader');
    expect((await bed.ask('/api/v1/session', { headers: { cookie } })).body).toEqual(answer.body);
  });

  it('what changes something needs the token of the session and a page of our own', async () => {
    const keysFile = path.join(tempDir(), 'keys.json');
    const key = await makeKey(keysFile, { role: 'writer' });
    const bed = await openBed({ keysFile, corsOrigins: ['https://grafana.example'] });
    const { answer, cookie } = await logIn(bed, key);
    const write = (headers: Record<string, string>) =>
      bed.ask('/write', {
        method: 'POST',
        headers: { ...JSON_BODY, cookie, ...headers },
        body: '{}',
      });
    const token = String(answer.body.csrf_token);
    expect((await write({})).body.code).toBe('csrf_token');
    expect((await write({ 'x-csrf-token': 'guess' })).body.code).toBe('csrf_token');
    expect((await write({ 'x-csrf-token': token })).status).toBe(200);
    const own = `https://localhost:${bed.port}`;
    expect((await write({ 'x-csrf-token': token, origin: own })).status).toBe(200);
    // Another page may ask with a key of its own, never with the cookie.
    const foreign = { 'x-csrf-token': token, origin: 'https://grafana.example' };
    expect((await write(foreign)).body.code).toBe('origin_not_allowed');
  });

  it('ends with its key, its time, or when it is closed', async () => {
    const keysFile = path.join(tempDir(), 'keys.json');
    const key = await makeKey(keysFile);
    const bed = await openBed({ keysFile });
    const first = await logIn(bed, key);
    const csrf = { 'x-csrf-token': String(first.answer.body.csrf_token) };
    const closing = { method: 'DELETE', headers: { cookie: first.cookie, ...csrf } };
    expect((await bed.ask('/api/v1/session', closing)).status).toBe(204);
    const { cookie } = first;
    expect((await bed.ask('/read', { headers: { cookie } })).body.code).toBe('session_ended');

    const second = await logIn(bed, key);
    clock.advance(3_600_000);
    const late = await bed.ask('/read', { headers: { cookie: second.cookie } });
    expect(late.body.code).toBe('session_ended');

    const third = await logIn(bed, key);
    await changeKeysFile(keysFile, () => []);
    await eventually('the file is read', () => {
      clock.advance(250);
      return bed.access.keys?.size === 0;
    });
    const revoked = await bed.ask('/read', { headers: { cookie: third.cookie } });
    expect(revoked.body.code).toBe('session_ended');
  });

  it('are bounded for each key: the oldest goes first', async () => {
    const keysFile = path.join(tempDir(), 'keys.json');
    const key = await makeKey(keysFile);
    const bed = await openBed({ keysFile });
    const live = bed.access.keys?.find(key);
    if (live === undefined || typeof live === 'string') throw new Error('the key is not known');
    const cookies = Array.from({ length: 101 }, () => bed.access.sessions.open(live).cookie);
    expect(bed.access.sessions.size).toBe(100);
    expect(bed.access.sessions.find(cookies[0]!)).toBeUndefined();
    expect(bed.access.sessions.find(cookies[1]!)).toBeDefined();
  });

  it('a login says what is wrong', async () => {
    const keysFile = path.join(tempDir(), 'keys.json');
    const bed = await openBed({ keysFile });
    const login = async (headers: Record<string, string>, body: string) =>
      (await bed.ask('/api/v1/session', { method: 'POST', headers, body })).body.code;
    expect(await login(JSON_BODY, '{"key": "tk_x"}')).toBe('key_malformed');
    expect(await login(JSON_BODY, '{"k": 1}')).toBe('body_invalid');
    expect(await login(JSON_BODY, '{')).toBe('body_invalid');
    expect(await login(JSON_BODY, `{"key": "${'x'.repeat(2000)}"}`)).toBe('body_too_large');
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    expect(await login(form, 'key=tk_x')).toBe('content_type');
  });
});

describe('open', () => {
  const open = { mode: 'open' } as const;

  it('serves this host without a key', async () => {
    const bed = await openBed(open);
    for (const host of ['localhost:8080', '127.0.0.1', `[::1]:${bed.port}`]) {
      expect((await bed.ask('/read', { headers: { host } })).body.role).toBe('writer');
    }
    const login = { method: 'POST', headers: JSON_BODY, body: '{"key":"tk_x"}' };
    expect((await bed.ask('/api/v1/session', login)).body.code).toBe('access_open');
  });

  it('refuses a foreign name for this host, which is how DNS rebinding looks', async () => {
    const bed = await openBed(open);
    for (const host of ['evil.example', 'localhost.evil.example:8080', '127.evil.example']) {
      const { status, body } = await bed.ask('/read', { headers: { host } });
      expect({ status, code: body.code }).toEqual({ status: 403, code: 'host_not_allowed' });
    }
    const named = await openBed({ ...open, allowedHosts: ['gpu-gateway'] });
    expect((await named.ask('/read', { headers: { host: 'gpu-gateway:80' } })).status).toBe(200);
  });

  it('refuses what a proxy passed on', async () => {
    const bed = await openBed(open);
    for (const name of ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip']) {
      const { body } = await bed.ask('/read', { headers: { [name]: '10.0.0.1' } });
      expect(body.code).toBe('proxy_in_front');
    }
  });

  it('refuses pages of others, and bodies that a form can send', async () => {
    const bed = await openBed(open);
    for (const origin of ['https://evil.example', 'null', 'http://localhost:1']) {
      const { body } = await bed.ask('/read', { headers: { origin } });
      expect(body.code).toBe('origin_not_allowed');
    }
    const own = { origin: `http://localhost:${bed.port}` };
    expect((await bed.ask('/read', { headers: own })).status).toBe(200);
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', '']) {
      const write = { method: 'POST', headers: { 'content-type': type }, body: '{}' };
      expect((await bed.ask('/write', write)).body.code).toBe('content_type');
    }
  });
});

describe('pages of others', () => {
  it('on the list get CORS without credentials; others get nothing', async () => {
    const keysFile = path.join(tempDir(), 'keys.json');
    const key = await makeKey(keysFile);
    const bed = await openBed({ keysFile });
    const origin = 'https://grafana.example';
    const preflight = await bed.ask('/read', {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'GET' },
    });
    expect(preflight.status).toBe(204);
    const read = await bed.ask('/read', { headers: { origin, ...bearer(key) } });
    for (const { headers } of [preflight, read]) {
      expect(headers['access-control-allow-origin']).toBe(origin);
      expect(headers['access-control-allow-credentials']).toBeUndefined();
    }
    expect(read.headers.vary).toMatch(/origin/i);
    const foreign = { origin: 'https://evil.example', ...bearer(key) };
    const refused = await bed.ask('/read', { headers: foreign });
    expect(refused.body.code).toBe('origin_not_allowed');
    expect(refused.headers['access-control-allow-origin']).toBeUndefined();
  });
});

it('a route that states no rights ends the start', async () => {
  const server = fastify();
  onTestFinished(() => server.close());
  const access = new Access({ ...OPTIONS, mode: 'open' }, clock, createRecordingLogger().logger);
  await registerAccess(server, access, []);
  expect(() => server.get('/forgotten', async () => ({}))).toThrow(/states no rights/);
});
