/**
 * Whether the addresses can be bound: binds them and releases them at once. If a running collector
 * has the port, that is no error: its own configuration is being checked.
 */
import dgram from 'node:dgram';
import net from 'node:net';
import type { Config } from '../../../config/schema.ts';
import { parseSocketAddress } from '../../../config/socket-address.ts';
import { systemClock } from '../../../lib/clock.ts';
import { errorCode } from '../../../lib/errors.ts';
import { DatagramSocket } from '../../../transport/datagram-socket.ts';
import { type Check, CheckList } from './check.ts';

const PROBE_TIMEOUT_MS = 2000;

interface Bind {
  readonly key: string;
  readonly what: 'UDP' | 'TCP';
  readonly host: string;
  readonly port: number;
}

/** Checks the addresses of agents and the metrics address. */
export async function checkPorts(config: Config): Promise<Check[]> {
  const list = new CheckList('port');
  const { metrics_addr: host, metrics_port: port } = config.observability;
  const quic = parseSocketAddress(config.server.listen_addr);
  const metrics = { key: 'observability.metrics_port', what: 'TCP', host, port } as const;
  if (quic !== undefined) {
    const bind = { key: 'server.listen_addr', what: 'UDP', ...quic } as const;
    await check(list, bind, metrics, bindUdp);
    await checkBuffer(list, config.server.socket_buffer_bytes);
  }
  const { tcp_listen_addr: tcpAddr } = config.server;
  const tcp = tcpAddr === '' ? quic : parseSocketAddress(tcpAddr);
  if (tcp !== undefined) {
    const bind = { key: 'server.tcp_listen_addr', what: 'TCP', ...tcp } as const;
    await check(list, bind, metrics, bindTcp);
  }
  const feed = parseSocketAddress(config.feed.listen_addr);
  if (config.feed.enabled && feed !== undefined) {
    const bind = { key: 'feed.listen_addr', what: 'TCP', ...feed } as const;
    await check(list, bind, metrics, bindTcp);
  }
  await check(list, metrics, metrics, bindTcp);
  return list.entries;
}

async function check(
  list: CheckList,
  bind: Bind,
  metrics: Bind,
  tryBind: (bind: Bind) => Promise<string>,
): Promise<void> {
  const { key, what, host, port } = bind;
  const place = `${what} port ${port} of ${host}`;
  const code = await tryBind(bind);
  if (code === '') {
    list.ok(key, `${place} is free`);
  } else if (code === 'EADDRINUSE' && (await collectorAnswers(metrics))) {
    const hint = 'fine if this is the configuration of that collector';
    list.warn(key, `${place} is in use; a collector is running here`, hint);
  } else {
    list.fail(key, `cannot bind ${place}: ${code}`, hintFor(code, key));
  }
}

/** On any port: the kernel gives what its own limit allows, and says nothing. */
async function checkBuffer(list: CheckList, askedBytes: number): Promise<void> {
  const key = 'server.socket_buffer_bytes';
  const socket = await DatagramSocket.bind({ host: '127.0.0.1', port: 0 }, askedBytes);
  const { receiveBufferBytes } = socket;
  await socket.close(systemClock);
  if (receiveBufferBytes >= askedBytes) {
    list.ok(key, `the kernel gives a UDP socket ${askedBytes} bytes`);
    return;
  }
  const message = `the kernel gives a UDP socket ${receiveBufferBytes} bytes, not ${askedBytes}`;
  list.warn(key, message, `sysctl -w net.core.rmem_max=${askedBytes}, and in /etc/sysctl.d`);
}

function hintFor(code: string, key: string): string {
  if (code === 'EADDRINUSE') return `stop what uses it (ss -lunpt shows it) or change ${key}`;
  if (code === 'EACCES') return `ports under 1024 need CAP_NET_BIND_SERVICE; or change ${key}`;
  if (code === 'EADDRNOTAVAIL') return `this machine has no such address; change ${key}`;
  return `change ${key}`;
}

/** '' or the code of what went wrong. */
function bindUdp({ host, port }: Bind): Promise<string> {
  return new Promise((resolve) => {
    const socket = dgram.createSocket(net.isIPv6(host) ? 'udp6' : 'udp4');
    socket.once('error', (error) => {
      socket.close();
      resolve(errorCode(error));
    });
    socket.bind(port, host, () => socket.close(() => resolve('')));
  });
}

function bindTcp({ host, port }: Bind): Promise<string> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', (error) => resolve(errorCode(error)));
    server.listen(port, host, () => server.close(() => resolve('')));
  });
}

async function collectorAnswers({ host, port }: Bind): Promise<boolean> {
  const local = host === '0.0.0.0' || host === '::' ? 'localhost' : host;
  const url = `http://${net.isIPv6(local) ? `[${local}]` : local}:${port}/metrics`;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
    return (await response.text()).includes('telemetry_collector_build_info');
  } catch {
    return false;
  }
}
