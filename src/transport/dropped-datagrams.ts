/**
 * What the kernel threw away because a socket was not read in time. QUIC sends it again, but each
 * loss makes a peer slower, and many in a row end a connection. Linux only: elsewhere nothing is
 * known of it.
 */
import fs from 'node:fs';
import { isIPv6 } from 'node:net';
import type { QuicAddress } from './quic-endpoint.ts';

/** Columns of /proc/net/udp, counted from 0. */
const LOCAL_ADDRESS = 1;
const DROPS = 12;

/** Datagrams dropped so far by UDP sockets at this port; 0 where the system does not say. */
export function droppedDatagrams({ host, port }: QuicAddress): number {
  const ending = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  let drops = 0;
  for (const line of readTable(isIPv6(host) ? '/proc/net/udp6' : '/proc/net/udp')) {
    const columns = line.trim().split(/\s+/);
    if (columns[LOCAL_ADDRESS]?.endsWith(ending)) drops += Number(columns[DROPS] ?? 0);
  }
  return drops;
}

function readTable(file: string): string[] {
  try {
    return fs.readFileSync(file, 'latin1').split('\n');
  } catch {
    return [];
  }
}
