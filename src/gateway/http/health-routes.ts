/**
 * `/healthz` (the process answers), `/readyz` (it can do its job) and `/metrics`. The first two
 * need no key; metrics name no node, but with keys they need one, as everything else does.
 */
import type { FastifyInstance } from 'fastify';
import type { Registry } from 'prom-client';
import { coalesce } from '../../observability/coalesce.ts';
import type { Readiness } from '../../observability/readiness.ts';
import type { Access, RouteRights } from '../access/access.ts';

/** Adds the paths. */
export function registerHealthRoutes(
  server: FastifyInstance,
  access: Access,
  readiness: Readiness,
  registry: Registry,
): void {
  const open = { config: { rights: 'public' }, schema: { hide: true } } as const;
  const rights: RouteRights | 'public' =
    access.mode === 'open' ? 'public' : { role: 'reader', unscoped: true };
  server.get('/healthz', open, async () => ({ status: 'alive' }));
  server.get('/readyz', open, async (_request, reply) => {
    const { ready, checks } = readiness.report();
    // Reasons name files and addresses: they are for those who may ask for everything.
    const shown = access.mode === 'open' ? { ready, checks } : { ready };
    return reply.code(ready ? 200 : 503).send(shown);
  });
  const render = coalesce(() => registry.metrics());
  const forReaders = { config: { rights }, schema: { hide: true } };
  server.get('/metrics', forReaders, async (_request, reply) =>
    reply.type(registry.contentType).send(await render()),
  );
}
