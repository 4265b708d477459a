/**
 * `transport`: what the transports cost the collector, without anything behind them: a server in a
 * process of its own takes frames over QUIC (quinn) and over TLS and TCP, behind the same seam, one
 * after the other in one run.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import {
  createAuthority,
  issueCertificate,
} from '../src/collector/cli/development-certificates.ts';
import { sleep, systemClock } from '../src/lib/clock.ts';
import { packageFile } from '../src/lib/package-root.ts';
import type {
  QuicAddress,
  QuicConnection,
  QuicCredentials,
} from '../src/transport/quic-endpoint.ts';
import type { Benchmark } from './benchmark.ts';
import { atLeast } from './figures.ts';
import { BENCH_TRANSPORT, STACKS, type StackName, type TransportUse } from './transport-stacks.ts';

const DEFAULT_SECONDS = 4;
const WARM_UP_SECONDS = 1;
/** A batch of a usual node. */
const FRAME_BYTES = 8192;
/** Enough to keep the server busy, and far below what a queue may hold. */
const QUEUED_BYTES_MAX = 1 << 20;

export const transport: Benchmark = {
  name: 'transport',
  promise: 'TLS over TCP takes in 1.2 times what QUIC does for the same processor time.',
  runs: 3,
  async measure({ seconds = DEFAULT_SECONDS }) {
    const authority = await createAuthority('bench');
    const pairOf = (name: string, usage: 'serverAuth' | 'clientAuth') =>
      issueCertificate(authority, { commonName: name, dnsNames: [name], usages: [usage] });
    const caPem = authority.certPem;
    const server = { ...(await pairOf('localhost', 'serverAuth')), caPem };
    const client = { ...(await pairOf('node', 'clientAuth')), caPem };
    const quic = await upload('quinn', { server, client }, seconds);
    const tls = await upload('tls', { server, client }, seconds);
    const unit = 'MB for a CPU second';
    return [
      { figure: 'QUIC (quinn), taken in', value: quic, unit },
      { figure: 'TLS over TCP, taken in', value: tls, unit },
      { figure: 'TLS over TCP, of QUIC', value: tls / quic, unit: 'times', bar: atLeast(1.2) },
    ];
  },
};

/** Megabytes that the server takes in for a second of its processor time. */
async function upload(
  name: StackName,
  credentials: { readonly server: QuicCredentials; readonly client: QuicCredentials },
  seconds: number,
): Promise<number> {
  const child = fork(packageFile('dist/bench/transport-server.js'), [name]);
  const exited = once(child, 'exit');
  try {
    child.send(credentials.server);
    const [remote] = (await once(child, 'message')) as [QuicAddress];
    const use = async () => {
      child.send('use');
      const [answer] = (await once(child, 'message')) as [TransportUse];
      return answer;
    };
    const stop = new AbortController();
    const sending = sendFrames(name, remote, credentials.client, stop.signal);
    await sleep(systemClock, WARM_UP_SECONDS * 1000);
    const before = await use();
    await sleep(systemClock, seconds * 1000);
    const after = await use();
    stop.abort();
    await sending;
    return (after.bytes - before.bytes) / 1e6 / (after.cpuSeconds - before.cpuSeconds);
  } finally {
    child.kill();
    await exited;
  }
}

async function sendFrames(
  name: StackName,
  remote: QuicAddress,
  credentials: QuicCredentials,
  stop: AbortSignal,
): Promise<void> {
  const options = {
    bind: { host: '127.0.0.1', port: 0 },
    transport: BENCH_TRANSPORT,
    socketBufferBytes: 4 << 20,
  };
  const endpoint = await STACKS[name].openEndpoint(options, systemClock);
  let wake = () => {};
  stop.addEventListener('abort', () => wake());
  const connection = await new Promise<QuicConnection>((resolve, reject) => {
    endpoint.connect({
      remote,
      serverName: 'localhost',
      credentials,
      handshakeTimeoutMs: 10_000,
      handlers: {
        onConnected: resolve,
        onData() {},
        onReset() {},
        onDrained: () => wake(),
        onClosed: (_connection, { reason }) => reject(new Error(`the connection ended: ${reason}`)),
      },
    });
  });
  const streamId = connection.openStream('bidi') ?? 0;
  const frame = Buffer.alloc(4 + FRAME_BYTES, 1);
  frame.writeUInt32BE(FRAME_BYTES);
  while (!stop.aborted) {
    while (connection.queuedBytes < QUEUED_BYTES_MAX) connection.write(streamId, frame);
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
  await endpoint.close(0, 'done');
}
