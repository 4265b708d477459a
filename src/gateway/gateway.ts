/**
 * telemetry-gateway as a whole, and the only file that knows all its parts.
 *
 *     collector ──feed──► follower ─┬─► fleet (last values) ──┐
 *                                   └─► tail (newest batches) ─┼─► HTTP: REST, WebSocket, SSE
 *                                            live hub ◄────────┘        ▲
 *                                                          access ──────┘
 *
 * Parts start leaf first and stop in reverse.
 */
import fs from 'node:fs';
import type { AddressInfo } from 'node:net';
import type { Logger } from 'pino';
import { feedSocketPath } from '../config/paths.ts';
import type { Config, GatewayConfig } from '../config/schema.ts';
import { parseSocketAddress } from '../config/socket-address.ts';
import { FeedClient } from '../feed/feed-client.ts';
import type { Clock } from '../lib/clock.ts';
import { errorMessage, OperatingError } from '../lib/errors.ts';
import { repeat } from '../lib/repeat.ts';
import { Readiness } from '../observability/readiness.ts';
import { createRegistry } from '../observability/registry.ts';
import type { ServiceNotifier } from '../observability/service-notifier.ts';
import { Access, type AccessOptions } from './access/access.ts';
import { FeedFollower } from './feed-follower.ts';
import { Fleet } from './fleet/fleet.ts';
import { NodeStates } from './fleet/node-states.ts';
import { createGatewayMetrics } from './gateway-metrics.ts';
import { createApiServer } from './http/api-server.ts';
import { registerHealthRoutes } from './http/health-routes.ts';
import { LiveHub } from './live/live-hub.ts';
import { Tail } from './tail/tail.ts';

const FORGET_INTERVAL_MS = 60_000;
/** Connections that are there for requests, beside those of live clients. */
const REQUEST_CONNECTIONS = 1024;

export interface GatewayDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly version: string;
  readonly notifier: ServiceNotifier;
}

export interface Gateway {
  /** Where the API is, such as `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Reads the keys file again. */
  reload(): void;
  /** Ends live clients and open requests, then everything else. Idempotent. */
  stop(): Promise<void>;
}

/** Starts all parts. Throws OperatingError KEYS_FILE, GATEWAY_CERTIFICATE or GATEWAY_LISTEN. */
export async function startGateway(config: Config, deps: GatewayDeps): Promise<Gateway> {
  const { clock, logger, notifier } = deps;
  const options = config.gateway;
  const tls = readCertificate(options);
  const access = new Access(accessOptions(options), clock, logger);
  const fleet = new Fleet({ maxSeries: options.max_series });
  const nodes = new NodeStates(fleet, options.silent_after_secs * 1000);
  const tail = new Tail(options.hot_max_bytes);
  const live = new LiveHub(clock, tail, options.max_live_clients);
  const feed = new FeedFollower(
    new FeedClient(clock, {
      socketPath: feedSocketPath(config),
      reader: 'telemetry-gateway',
      start: { at: 'cursor' },
    }),
    { fleet, nodes, tail },
    logger,
  );

  const readiness = createReadiness(feed, access, options);
  const registry = createRegistry(deps.version, 'telemetry_gateway');
  createGatewayMetrics(registry, { access, feed, fleet, live, tail });

  const isSecure = tls !== undefined || options.behind_proxy;
  const isLive = () => feed.isLive;
  const services = { clock, access, fleet, nodes, tail, live, isLive };
  const maxConnections = options.max_live_clients + REQUEST_CONNECTIONS;
  const serverOptions = { corsOrigins: options.cors_origins, tls, isSecure, maxConnections };
  const server = await createApiServer(services, serverOptions, logger);
  registerHealthRoutes(server, access, readiness, registry);
  await listen(server, options.listen_addr);
  const { address, port, family } = server.server.address() as AddressInfo;
  const host = family === 'IPv6' ? `[${address}]` : address;
  const url = `${tls === undefined ? 'http' : 'https'}://${host}:${port}`;

  access.start();
  live.start();
  feed.start();
  const stopForgetting = repeat(clock, FORGET_INTERVAL_MS, () =>
    fleet.forget(clock.nowMs() - options.forget_after_secs * 1000),
  );
  notifier.ready();
  logger.info({ url, access: options.access }, 'ready');

  const stop = async () => {
    notifier.stopping();
    live.close();
    await server.close();
    stopForgetting();
    await feed.close();
    access.close();
    logger.info('stopped');
  };
  let stopping: Promise<void> | undefined;
  return {
    url,
    reload: () => access.keys?.reload(),
    stop: () => {
      stopping ??= stop();
      return stopping;
    },
  };
}

function createReadiness(feed: FeedFollower, access: Access, gateway: GatewayConfig): Readiness {
  const readiness = new Readiness();
  readiness.add('collector feed', () =>
    feed.failure === undefined ? { ok: true } : { ok: false, reason: feed.failure },
  );
  readiness.add('keys file', () =>
    access.keys?.isFileUsable === false
      ? { ok: false, reason: `${gateway.keys_file} cannot be used; see the log` }
      : { ok: true },
  );
  return readiness;
}

function accessOptions(gateway: GatewayConfig): AccessOptions {
  return {
    mode: gateway.access,
    keysFile: gateway.keys_file,
    allowedHosts: gateway.allowed_hosts.map((host) => host.toLowerCase()),
    corsOrigins: gateway.cors_origins,
    behindProxy: gateway.behind_proxy,
    requestsPerMinute: gateway.rate_limit,
    requestsAtOnce: gateway.max_requests_at_once,
    sessionLifetimeMs: gateway.session_hours * 3_600_000,
  };
}

function readCertificate({ tls_cert_path: certPath, tls_key_path: keyPath }: GatewayConfig) {
  if (certPath === '') return undefined;
  try {
    return { cert: fs.readFileSync(certPath, 'utf8'), key: fs.readFileSync(keyPath, 'utf8') };
  } catch (error) {
    throw new OperatingError(
      'GATEWAY_CERTIFICATE',
      `cannot read the certificate of the gateway: ${errorMessage(error)}`,
      { cause: error },
    );
  }
}

async function listen(
  server: Awaited<ReturnType<typeof createApiServer>>,
  address: string,
): Promise<void> {
  const { host, port } = parseSocketAddress(address)!;
  try {
    await server.listen({ host, port });
  } catch (error) {
    throw new OperatingError(
      'GATEWAY_LISTEN',
      `cannot listen on gateway.listen_addr ${address}: ${errorMessage(error)}`,
      { cause: error },
    );
  }
}
