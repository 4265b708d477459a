/**
 * The cookie of a session. Its name begins with `__Host-` where the gateway speaks TLS: a browser
 * then takes it only from this host, over TLS, for all paths.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';

const NAME = 'telemetry-session';
const SECURE_NAME = `__Host-${NAME}`;
const COOKIE = new RegExp(`(?:^|;\\s*)(?:__Host-)?${NAME}=([A-Za-z0-9_-]{43})(?:;|$)`);

/** The value that the browser sent; undefined where there is none. */
export function readSessionCookie({ headers }: FastifyRequest): string | undefined {
  return COOKIE.exec(headers.cookie ?? '')?.[1];
}

/** Hands the browser a cookie for `maxAgeSecs`; 0 takes it back. */
export function setSessionCookie(
  reply: FastifyReply,
  value: string,
  maxAgeSecs: number,
  isSecure: boolean,
): void {
  const name = isSecure ? SECURE_NAME : NAME;
  const attributes = ['Path=/', `Max-Age=${maxAgeSecs}`, 'HttpOnly', 'SameSite=Strict'];
  if (isSecure) attributes.push('Secure');
  reply.header('set-cookie', [`${name}=${value}`, ...attributes].join('; '));
}
