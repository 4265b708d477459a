/**
 * The HTTP server of the gateway: what bounds a request, who may ask, and the paths.
 */
import { randomUUID } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import swagger from '@fastify/swagger';
import fastify, { type FastifyInstance } from 'fastify';
import { jsonSchemaTransform, validatorCompiler } from 'fastify-type-provider-zod';
import type { Logger } from 'pino';
import { programVersion } from '../../lib/program-version.ts';
import { registerAccess } from './access-plugin.ts';
import { registerGpuRoutes } from './gpu-routes.ts';
import { registerLiveRoutes } from './live-routes.ts';
import { registerNodeRoutes } from './node-routes.ts';
import { notFoundHandler, problemHandler } from './problem.ts';
import { registerSeriesRoutes } from './series-routes.ts';
import type { Services } from './services.ts';
import { registerSessionRoutes } from './session-routes.ts';
import { registerTelemetryRoutes } from './telemetry-routes.ts';

const BODY_BYTES_MAX = 1024 * 1024;
/** A path with full lists in its query fits. */
const HEADER_BYTES_MAX = 64 * 1024;
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_TIMEOUT_MS = 65_000;
const REQUEST_ID = /^[\w-]{1,64}$/;

export interface ApiServerOptions {
  readonly corsOrigins: readonly string[];
  /** PEM; undefined: HTTP without TLS. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  /** Browsers reach the gateway over TLS, whether by itself or by a proxy. */
  readonly isSecure: boolean;
  /** Sockets at once, idle ones and live clients included; the next one is dropped. */
  readonly maxConnections: number;
}

/** The server with all paths, before it listens. */
export async function createApiServer(
  services: Services,
  { corsOrigins, tls, isSecure, maxConnections }: ApiServerOptions,
  log: Logger,
): Promise<FastifyInstance> {
  const server: FastifyInstance = fastify({
    serverFactory: (handler) => createNodeServer(handler, tls),
    bodyLimit: BODY_BYTES_MAX,
    forceCloseConnections: true,
    genReqId: requestId,
    exposeHeadRoutes: true,
  });
  server.server.maxConnections = maxConnections;
  server.setValidatorCompiler(validatorCompiler);
  // Answers are built from our own data: their schemas describe them, and tests compare the two.
  server.setSerializerCompiler(() => JSON.stringify);
  server.setErrorHandler(problemHandler(log));
  server.setNotFoundHandler(notFoundHandler);
  server.addHook('onSend', async (request, reply) => {
    reply.header('x-request-id', request.id);
    reply.header('x-content-type-options', 'nosniff');
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store');
  });
  server.addHook('onResponse', async ({ id, method, url, caller, headers, raw }, reply) => {
    // Node forgets a connection that asked for an upgrade, so one that was refused ends here.
    if (headers.upgrade !== undefined) raw.socket.destroySoon();
    const elapsedMs = Math.round(reply.elapsedTime * 10) / 10;
    const { statusCode: status } = reply;
    log.debug({ request: id, method, url, status, elapsedMs, caller: caller?.id }, 'request');
  });
  await registerAccess(server, services.access, corsOrigins);
  await server.register(swagger, { openapi: openApiHead(), transform: jsonSchemaTransform });
  registerSessionRoutes(server, services.access, isSecure);
  registerGpuRoutes(server, services);
  registerTelemetryRoutes(server, services);
  registerNodeRoutes(server, services);
  registerSeriesRoutes(server, services);
  await registerLiveRoutes(server, services);
  const hidden = { config: { rights: 'public' }, schema: { hide: true } } as const;
  server.get('/openapi.json', hidden, async () => server.swagger());
  return server;
}

function createNodeServer(
  handler: http.RequestListener,
  tls: ApiServerOptions['tls'],
): http.Server | https.Server {
  const limits = {
    maxHeaderSize: HEADER_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    headersTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
  };
  if (tls === undefined) return http.createServer(limits, handler);
  return https.createServer({ ...limits, ...tls, minVersion: 'TLSv1.2' }, handler);
}

/** The client's own id, where it is one that can stand in a log. */
function requestId({ headers }: http.IncomingMessage): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID();
}

function openApiHead() {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Telemetry gateway',
      description: 'Questions over what the collector has acknowledged.',
      version: programVersion(),
    },
    components: {
      securitySchemes: { key: { type: 'http' as const, scheme: 'bearer' } },
    },
    security: [{ key: [] }],
  };
}
