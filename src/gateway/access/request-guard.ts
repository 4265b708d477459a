/**
 * What a request must look like before anybody asks whose it is. These checks are about browsers: a
 * page of a stranger can make a browser send requests to any address that the browser reaches, with
 * the cookies it holds (CSRF), and can give our address a name of its own (DNS rebinding). Where
 * the gateway is open to its own host, nothing but these checks stands between such a page and the
 * data.
 */
import net from 'node:net';

export interface GuardOptions {
  /** Open: no keys, so the address and the form of a request are all there is to check. */
  readonly mode: 'open' | 'keys';
  /** Names that the gateway is reached by, beside addresses of this host; [] = any, with keys. */
  readonly allowedHosts: readonly string[];
  /** Origins of other pages that may ask, as `https://grafana.example:3000`. */
  readonly corsOrigins: readonly string[];
  /** A proxy in front speaks for its clients by `X-Forwarded-*`. */
  readonly behindProxy: boolean;
}

export interface RequestHead {
  readonly method: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** The request has a body, or says so. */
  readonly hasBody: boolean;
}

export interface GuardRefusal {
  readonly code: 'host_not_allowed' | 'origin_not_allowed' | 'proxy_in_front' | 'content_type';
  readonly detail: string;
}

const SAFE_METHODS = ['GET', 'HEAD', 'OPTIONS'];
const PROXY_HEADERS = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip'];
/** A form cannot send these, so a browser asks first (CORS) and is refused. */
const BODY_TYPES = ['application/json', 'application/x-ndjson'];

/** Whether a method only reads. */
export function isSafeMethod(method: string): boolean {
  return SAFE_METHODS.includes(method);
}

/** Why the request is refused; undefined where it may go on. */
export function guardRequest(head: RequestHead, options: GuardOptions): GuardRefusal | undefined {
  return (
    guardProxy(head, options) ??
    guardHost(head, options) ??
    guardOrigin(head, options) ??
    guardBody(head)
  );
}

/**
 * Whether `Origin` (absent: not a cross-site request of a browser) is the page of this gateway
 * itself. Needed for whatever a cookie pays for.
 */
export function isOwnOrigin(head: RequestHead, behindProxy: boolean): boolean {
  const origin = headerOf(head, 'origin');
  return origin === undefined || originHost(origin) === hostOf(head, behindProxy);
}

function guardProxy(head: RequestHead, { mode }: GuardOptions): GuardRefusal | undefined {
  if (mode !== 'open') return undefined;
  const found = PROXY_HEADERS.find((name) => headerOf(head, name) !== undefined);
  if (found === undefined) return undefined;
  return {
    code: 'proxy_in_front',
    detail:
      `the request has the header ${found}, so it came through a proxy; ` +
      'gateway.access is open, which serves this host alone: use keys',
  };
}

function guardHost(head: RequestHead, options: GuardOptions): GuardRefusal | undefined {
  const { mode, allowedHosts, behindProxy } = options;
  if (mode === 'keys' && allowedHosts.length === 0) return undefined;
  const host = hostOf(head, behindProxy);
  const name = nameOf(host);
  if (allowedHosts.includes(name) || isLoopbackName(name)) return undefined;
  return {
    code: 'host_not_allowed',
    detail: `the header Host is '${host}', which is not among gateway.allowed_hosts`,
  };
}

function guardOrigin(head: RequestHead, options: GuardOptions): GuardRefusal | undefined {
  const origin = headerOf(head, 'origin');
  if (origin === undefined || options.corsOrigins.includes(origin)) return undefined;
  if (isOwnOrigin(head, options.behindProxy)) return undefined;
  return {
    code: 'origin_not_allowed',
    detail: `the page ${origin} is not among gateway.cors_origins`,
  };
}

function guardBody(head: RequestHead): GuardRefusal | undefined {
  if (isSafeMethod(head.method) || !head.hasBody) return undefined;
  const type = (headerOf(head, 'content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  if (BODY_TYPES.includes(type)) return undefined;
  return {
    code: 'content_type',
    detail: `the body is '${type}', but must be one of ${BODY_TYPES.join(', ')}`,
  };
}

function hostOf(head: RequestHead, behindProxy: boolean): string {
  const forwarded = behindProxy ? headerOf(head, 'x-forwarded-host') : undefined;
  return withoutDefaultPort((forwarded ?? headerOf(head, 'host') ?? '').toLowerCase());
}

/** `null`, the origin of a page without one, is nobody's host. */
function originHost(origin: string): string | undefined {
  if (!URL.canParse(origin)) return undefined;
  return withoutDefaultPort(new URL(origin).host);
}

function withoutDefaultPort(host: string): string {
  return host.replace(/:(?:80|443)$/, '');
}

function nameOf(host: string): string {
  return host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}

function isLoopbackName(name: string): boolean {
  if (name === 'localhost' || name === '::1') return true;
  return net.isIPv4(name) && name.startsWith('127.');
}

function headerOf(head: RequestHead, name: string): string | undefined {
  const value = head.headers[name];
  return typeof value === 'string' || value === undefined ? value : value.join(', ');
}
