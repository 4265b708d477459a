/**
 * ADDRESS:PORT as the configuration spells it; IPv6 addresses are in brackets.
 */
import net from 'node:net';

/** The parts of `text`, without brackets; undefined where it is no IP address with a port. */
export function parseSocketAddress(text: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const [, v6, v4, digits] = match;
  const port = Number(digits);
  if (port > 65_535) return undefined;
  if (v6 !== undefined) return net.isIPv6(v6) ? { host: v6, port } : undefined;
  return net.isIPv4(v4 ?? '') ? { host: v4 ?? '', port } : undefined;
}
