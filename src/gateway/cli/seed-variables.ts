/**
 * Three variables by which deployments of other gateways are configured: they win over the keys
 * that mean the same, so that such a deployment keeps its environment.
 */
import type { Environment } from '../../config/environment.ts';
import type { Config } from '../../config/schema.ts';
import { parseSocketAddress } from '../../config/socket-address.ts';
import { OperatingError } from '../../lib/errors.ts';

const PORT_MAX = 65_535;
const CLIENTS_MAX = 100_000;

/**
 * `GATEWAY_PORT` for the port of `gateway.listen_addr`, `WS_MAX_CONNECTIONS` for
 * `gateway.max_live_clients`, and `WS_ENABLED=false` for none of them. Throws OperatingError
 * CONFIG_INVALID.
 */
export function withSeedVariables(config: Config, environment: Environment): Config {
  const port = numberOf(environment, 'GATEWAY_PORT', PORT_MAX);
  const clients = numberOf(environment, 'WS_MAX_CONNECTIONS', CLIENTS_MAX);
  const { gateway } = config;
  const maxClients = isEnabled(environment) ? (clients ?? gateway.max_live_clients) : 0;
  const address = port === undefined ? gateway.listen_addr : withPort(gateway.listen_addr, port);
  return { ...config, gateway: { ...gateway, listen_addr: address, max_live_clients: maxClients } };
}

function isEnabled({ WS_ENABLED: text }: Environment): boolean {
  if (text === undefined || text === '') return true;
  if (text === 'true' || text === 'false') return text === 'true';
  throw invalid(`WS_ENABLED is '${text}', but must be true or false`);
}

function numberOf(environment: Environment, name: string, max: number): number | undefined {
  const text = environment[name];
  if (text === undefined || text === '') return undefined;
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= max) return value;
  throw invalid(`${name} is '${text}', but must be a whole number from 0 to ${max}`);
}

function withPort(address: string, port: number): string {
  const { host } = parseSocketAddress(address)!;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function invalid(message: string): OperatingError {
  return new OperatingError('CONFIG_INVALID', message);
}
