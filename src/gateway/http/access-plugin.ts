/**
 * Access as part of the HTTP server. Every route states the rights it asks for, or that it is
 * public; a route that states nothing is a bug and ends the start. The checks run before the body
 * is read.
 */
import cors from '@fastify/cors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { assert } from '../../lib/errors.ts';
import type { Access, Caller, Refusal, RouteRights } from '../access/access.ts';
import type { RequestHead } from '../access/request-guard.ts';
import { readSessionCookie } from './session-cookie.ts';
import { Problem } from './problem.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What the caller must be allowed; `public`: anybody may ask, without a key. */
    readonly rights?: RouteRights | 'public';
    /**
     * The answer goes on for as long as the client stays: it does not count as a request at once.
     */
    readonly isStream?: boolean;
  }
  interface FastifyRequest {
    /** Null on public routes. */
    caller: Caller | null;
  }
}

const PREFLIGHT_MAX_AGE_SECS = 600;

/** Adds the checks to every route that is registered afterwards. */
export async function registerAccess(
  server: FastifyInstance,
  access: Access,
  corsOrigins: readonly string[],
): Promise<void> {
  server.decorateRequest('caller', null);
  server.addHook('onRoute', ({ method, url, config }) => {
    // The plugin for CORS answers OPTIONS itself.
    assert(
      config?.rights !== undefined || method === 'OPTIONS',
      `${method} ${url} states no rights`,
    );
  });
  server.addHook('onRequest', async (request) => {
    const refusal = access.guard(headOf(request));
    if (refusal !== undefined) throw refusalProblem(refusal);
  });
  // Keys are sent by the page's own code, never by the browser: no credentials across origins.
  await server.register(cors, {
    origin: [...corsOrigins],
    credentials: false,
    methods: ['GET', 'POST', 'PUT', 'DELETE'],
    allowedHeaders: ['authorization', 'content-type', 'last-event-id', 'if-none-match'],
    exposedHeaders: ['etag', 'link', 'ratelimit', 'ratelimit-policy', 'retry-after'],
    maxAge: PREFLIGHT_MAX_AGE_SECS,
    strictPreflight: false,
  });
  server.addHook('onRequest', async (request, reply) => admit(request, reply, access));
}

/** The caller of a route that is not public. */
export function callerOf(request: FastifyRequest): Caller {
  assert(request.caller !== null, `${request.url} has no caller`);
  return request.caller;
}

/** The problem that a refusal of access is answered with. */
export function refusalProblem({ status, code, detail }: Refusal): Problem {
  const headers: Record<string, string> =
    status === 401 ? { 'www-authenticate': 'Bearer realm="telemetry-gateway"' } : {};
  return new Problem(status, code, detail, { headers });
}

/** What access looks at. */
export function headOf({ method, headers }: FastifyRequest): RequestHead {
  const length = headers['content-length'];
  const hasBody = headers['transfer-encoding'] !== undefined || (length ?? '0') !== '0';
  return { method, headers, hasBody };
}

function admit(request: FastifyRequest, reply: FastifyReply, access: Access): void {
  const { rights, isStream } = request.routeOptions.config;
  if (rights === undefined || rights === 'public') return;
  const result = access.admit(headOf(request), readSessionCookie(request), rights);
  if ('kind' in result) throw refusalProblem(result);
  request.caller = result;
  const verdict = result.budget.take();
  reply.headers(result.budget.headers());
  if (verdict.kind === 'rate') {
    const secs = verdict.retryAfterSecs;
    throw new Problem(429, 'rate_limit', `the key's requests of this minute are used up`, {
      headers: { 'retry-after': String(secs) },
    });
  }
  if (verdict.kind === 'concurrency') {
    throw new Problem(
      429,
      'concurrency_limit',
      `the key has ${verdict.limit} requests running, which is the most at once`,
      { headers: { 'retry-after': '1' } },
    );
  }
  // `close` comes after every end of a request, also one that its client left.
  if (isStream === true) verdict.release();
  else reply.raw.once('close', verdict.release);
}
