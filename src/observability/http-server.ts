/**
 * The daemon's HTTP side: `/metrics` for Prometheus, `/healthz` (the process answers) and `/readyz`
 * (the daemon can do its job; 503 and the reasons otherwise), and JSON pages of the parts.
 * Read-only and small; every request, connection and header is bounded because the port is usually
 * reachable by more than Prometheus.
 */
import http from 'node:http';
import fastify from 'fastify';
import type { Registry } from 'prom-client';
import { OperatingError } from '../lib/errors.ts';
import { coalesce } from './coalesce.ts';
import type { Readiness } from './readiness.ts';
import { SocketLimit } from './socket-limit.ts';

const CONNECTIONS_MAX = 64;
const REQUEST_TIMEOUT_MS = 10_000;
const CHECK_INTERVAL_MS = 2000;
const KEEP_ALIVE_TIMEOUT_MS = 65_000;
const REQUESTS_PER_SOCKET_MAX = 1000;

export interface HttpServer {
  readonly address: { readonly host: string; readonly port: number };
  /** Stops listening and ends open connections. Idempotent. */
  close(): Promise<void>;
}

/**
 * What a part shows of itself as JSON, by the last word of its path; parts add theirs as they
 * start.
 */
export type StatusPages = ReadonlyMap<string, () => unknown>;

/** What the server calls itself, and the setting that names its address. */
export interface HttpNames {
  readonly program: string;
  readonly setting: string;
}

const COLLECTOR_NAMES: HttpNames = {
  program: 'telemetry-collector',
  setting: 'observability.metrics_port',
};

/** Starts listening on `host`:`port` (0 = any free port). Throws OperatingError METRICS_PORT. */
export async function startHttpServer(
  bind: { readonly host: string; readonly port: number },
  registry: Registry,
  readiness: Readiness,
  pages: StatusPages,
  names = COLLECTOR_NAMES,
): Promise<HttpServer> {
  const server = fastify({
    logger: false,
    bodyLimit: 1024,
    forceCloseConnections: true,
    serverFactory: createBoundedServer,
  });

  const renderMetrics = coalesce(() => registry.metrics());
  server.get('/metrics', async (_request, reply) => {
    return reply.type(registry.contentType).send(await renderMetrics());
  });
  server.get('/healthz', async () => ({ status: 'alive' }));
  server.get('/readyz', async (_request, reply) => {
    const report = readiness.report();
    return reply.code(report.ready ? 200 : 503).send(report);
  });
  server.get('/', async (_request, reply) => {
    const paths = ['metrics', 'healthz', 'readyz', ...pages.keys()].map((name) => `/${name}\n`);
    return reply.type('text/plain').send(`${names.program}\n${paths.join('')}`);
  });
  server.get<{ Params: { page: string } }>('/:page', async ({ params }, reply) => {
    const page = pages.get(params.page);
    return page === undefined ? reply.callNotFound() : page();
  });

  try {
    await server.listen({ host: bind.host, port: bind.port });
  } catch (error) {
    throw new OperatingError(
      'METRICS_PORT',
      `cannot listen on ${names.setting} ${bind.host}:${bind.port}: ${(error as Error).message}`,
      { cause: error },
    );
  }
  const address = server.server.address();
  const port = typeof address === 'object' && address !== null ? address.port : bind.port;
  return { address: { host: bind.host, port }, close: () => server.close() };
}

/** Requests that are not to be handled end here, before they cost what a request costs. */
function createBoundedServer(handler: http.RequestListener): http.Server {
  const timeouts = {
    requestTimeout: REQUEST_TIMEOUT_MS,
    headersTimeout: REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: CHECK_INTERVAL_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
  };
  const server = http.createServer(timeouts, (request, response) => {
    // The pages quote names that agents chose: no browser may take them for HTML.
    response.setHeader('X-Content-Type-Options', 'nosniff');
    if (sockets.admit(request, response)) handler(request, response);
  });
  const sockets = new SocketLimit(server, CONNECTIONS_MAX);
  server.maxRequestsPerSocket = REQUESTS_PER_SOCKET_MAX;
  server.setTimeout(KEEP_ALIVE_TIMEOUT_MS);
  return server;
}
