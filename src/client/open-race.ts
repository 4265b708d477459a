/** The connections of a client put together: a loop for each transport, and who chooses. */
import type { QuicEndpoint, QuicStack } from '../transport/quic-endpoint.ts';
import { ClientEndpoints } from './client-endpoints.ts';
import type { ClientDeps, ClientOptions } from './client-options.ts';
import { ConnectionLoop, type TryEvents } from './connection-loop.ts';
import { systemLookup } from './remote-address.ts';
import { type RaceEvents, TransportRace } from './transport-race.ts';

/** Starts nothing; the defaults of what the options leave out are here. */
export function openRace(
  options: ClientOptions,
  deps: ClientDeps,
  events: RaceEvents,
): TransportRace {
  const { clock, logger, stack, fallbackStack } = deps;
  const settings = {
    remote: options.remote,
    serverName: options.serverName,
    handshakeTimeoutMs: options.handshakeTimeoutMs ?? 10_000,
    ackTimeoutMs: options.ackTimeoutMs ?? 10_000,
    keepaliveMs: options.keepaliveMs ?? 5000,
    backoff: options.backoff ?? { initialMs: 250, maxMs: 30_000 },
  };
  const openLoop = (of: QuicStack, lent?: QuicEndpoint) => (loopEvents: TryEvents) => {
    const idleTimeoutMs = options.idleTimeoutMs ?? 15_000;
    const endpoints = new ClientEndpoints({ clock, logger, stack: of }, { idleTimeoutMs, lent });
    const lookupHost = deps.lookupHost ?? systemLookup;
    const loopDeps = { clock, logger, endpoints, lookupHost };
    return new ConnectionLoop(loopDeps, settings, options.credentials, loopEvents);
  };
  const loops = {
    first: openLoop(stack, deps.endpoint),
    second: fallbackStack === undefined ? undefined : openLoop(fallbackStack),
  };
  const raceOptions = {
    fallbackMs: options.transportFallbackMs ?? 3000,
    retryMs: options.transportRetryMs ?? 600_000,
  };
  return new TransportRace({ clock, logger }, raceOptions, loops, events);
}
