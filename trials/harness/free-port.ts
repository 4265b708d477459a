/**
 * Ports for servers that are stopped and started again, or that another process opens later. They
 * lie below the ports that the system gives out by itself (Linux: from 32768, others: from 49152),
 * so nobody without a wish of its own takes one while its server is down.
 */
import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import { errorCode } from '../../src/lib/errors.ts';

const FIRST_PORT = 12_000;
const PORTS = 20_000;

/** Each process begins elsewhere, and gives out no port twice. */
let next = Math.floor(Math.random() * PORTS);

/** A port of 127.0.0.1 that nobody uses, neither for TCP nor for UDP. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < PORTS; tries += 1) {
    const port = FIRST_PORT + next;
    next = (next + 1) % PORTS;
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port from ${FIRST_PORT} on`);
}

async function isFree(port: number): Promise<boolean> {
  const server = net.createServer();
  const socket = dgram.createSocket('udp4');
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    socket.bind(port, '127.0.0.1');
    await once(socket, 'listening');
    return true;
  } catch (error) {
    if (errorCode(error) === 'EADDRINUSE') return false;
    throw error;
  } finally {
    socket.close();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  }
}
