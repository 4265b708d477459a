/**
 * The server of the `transport` benchmark: takes bytes in and drops them. Its parent sends it the
 * credentials, is sent the address, and asks for what was used so far.
 */
import { once } from 'node:events';
import { systemClock } from '../src/lib/clock.ts';
import type { QuicCredentials } from '../src/transport/quic-endpoint.ts';
import { BENCH_TRANSPORT, STACKS, type StackName, type TransportUse } from './transport-stacks.ts';

const [credentials] = (await once(process, 'message')) as [QuicCredentials];
let bytes = 0;
const endpoint = await STACKS[process.argv[2] as StackName].openEndpoint(
  {
    bind: { host: '127.0.0.1', port: 0 },
    transport: BENCH_TRANSPORT,
    socketBufferBytes: 4 << 20,
    accept: {
      credentials: () => credentials,
      maxConnections: 10,
      maxHandshakes: 10,
      maxMemoryBytes: 1 << 30,
      handshakeTimeoutMs: 10_000,
      alwaysRetry: false,
      handlers: {
        onConnected() {},
        onData(_connection, _streamId, data) {
          bytes += data.length;
        },
        onReset() {},
        onDrained() {},
        onClosed() {},
      },
      onRefused() {},
    },
  },
  systemClock,
);
process.on('message', () => {
  const { user, system } = process.cpuUsage();
  const use: TransportUse = { bytes, cpuSeconds: (user + system) / 1e6 };
  process.send?.(use);
});
process.send?.(endpoint.address);
