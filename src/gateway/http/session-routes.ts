/**
 * Logging in and out: a browser shows a key once and gets a session.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Access } from '../access/access.ts';
import type { Session } from '../access/sessions.ts';
import { callerOf, refusalProblem } from './access-plugin.ts';
import { Problem } from './problem.ts';
import { readSessionCookie, setSessionCookie } from './session-cookie.ts';

const PATH = '/api/v1/session';
const BODY_BYTES_MAX = 1024;

const loginSchema = z.strictObject({ key: z.string().max(200) });

/** `isSecure`: browsers reach the gateway over TLS. */
export function registerSessionRoutes(
  server: FastifyInstance,
  access: Access,
  isSecure: boolean,
): void {
  server.post(
    PATH,
    { config: { rights: 'public' }, bodyLimit: BODY_BYTES_MAX },
    async (request, reply) => {
      if (access.mode === 'open') {
        throw new Problem(
          409,
          'access_open',
          'gateway.access is open: there is nothing to log in to',
        );
      }
      const body = loginSchema.safeParse(request.body);
      if (!body.success) throw new Problem(400, 'body_invalid', 'the body must be {"key": "tk_…"}');
      const result = access.openSession(body.data.key);
      if ('kind' in result) throw refusalProblem(result);
      const { cookie, session } = result;
      setSessionCookie(reply, cookie, access.sessions.secondsLeft(session), isSecure);
      return reply.code(201).send(describeSession(session));
    },
  );

  server.get(PATH, { config: { rights: { role: 'reader' } } }, async (request) => {
    const session = sessionOf(request, access);
    if (session !== undefined) return describeSession(session);
    const { id, role, scope } = callerOf(request);
    return { key: id, role, scope };
  });

  server.delete(PATH, { config: { rights: { role: 'reader' } } }, async (request, reply) => {
    const cookie = readSessionCookie(request);
    if (cookie !== undefined) access.sessions.close(cookie);
    setSessionCookie(reply, '', 0, isSecure);
    return reply.code(204).send();
  });
}

function sessionOf(request: FastifyRequest, access: Access): Session | undefined {
  const cookie = readSessionCookie(request);
  return cookie === undefined ? undefined : access.sessions.find(cookie);
}

function describeSession(session: Session): Record<string, unknown> {
  const { id, name, role, namespaces, nodes } = session.live.key;
  return {
    key: id,
    name,
    role,
    scope: { namespaces, nodes },
    csrf_token: session.csrfToken,
    expires_at: new Date(session.expiresAtMs).toISOString(),
  };
}
