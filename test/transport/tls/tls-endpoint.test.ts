/** The transport over TLS and TCP, on real sockets. What it shares with QUIC is asked alike. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  createAuthority,
  issueCertificate,
} from '../../../src/collector/cli/development-certificates.ts';
import type { QuicCredentials } from '../../../src/transport/quic-endpoint.ts';
import { tlsStack } from '../../../src/transport/tls/tls-endpoint.ts';
import { eventually } from '../../helpers/eventually.ts';
import { QuicTestBed, type TestServer } from '../../helpers/quic-pair.ts';
import {
  createTestAuthorities,
  SERVER_NAME,
  type TestAuthorities,
} from '../../helpers/test-credentials.ts';

const TLS_ALERT = 256;

const bed = new QuicTestBed(tlsStack);
let authorities: TestAuthorities;

beforeAll(async () => {
  authorities = await createTestAuthorities();
});
afterEach(() => bed.close());

function frame(text: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(Buffer.byteLength(text));
  return Buffer.concat([length, Buffer.from(text)]);
}

async function connectedPair() {
  const server = await bed.server(authorities.server);
  const client = await bed.client(server.endpoint.address, await authorities.agent('gpu-001'));
  await eventually('both are connected', () => {
    return server.recorder.connected.length === 1 && client.recorder.connected.length === 1;
  });
  return { server, client, inside: server.recorder.connected[0]! };
}

test('strangers that are gone before they are accepted cost nothing', async () => {
  const server = await bed.server(authorities.server);
  const { port } = server.endpoint.address;
  const knock = `
    for (let count = 0; count < 20; count += 1) {
      const socket = require('node:net').connect(${port}, '127.0.0.1');
      socket.on('connect', () => socket.resetAndDestroy());
    }`;
  // This process accepts nobody meanwhile, so all of them are gone when it does.
  expect(spawnSync(process.execPath, ['-e', knock]).status).toBe(0);
  const client = await bed.client(server.endpoint.address, await authorities.agent('gpu-001'));
  await eventually('somebody else connects', () => client.recorder.connected.length === 1);
  expect(server.endpoint.connections).toBe(1);
});

describe('a connection over TLS', () => {
  test('has one stream of both directions', async () => {
    const { server, client, inside } = await connectedPair();
    const streamId = client.connection.openStream('bidi')!;
    expect(client.connection.openStream('bidi')).toBeUndefined();
    expect(client.connection.openStream('uni')).toBeUndefined();
    expect(inside.streamKind(streamId)).toBe('bidi');
    client.connection.write(streamId, frame('question'));
    await eventually('it arrives', () => server.recorder.bytes === 12);
    inside.write(streamId, frame('answer'));
    await eventually('the answer comes', () => client.recorder.bytes === 10);
  });

  test('shows the certificates of its peer', async () => {
    const { inside } = await connectedPair();
    expect(inside.peerCertificates().length).toBeGreaterThanOrEqual(1);
  });

  test('says why it ends, after all that was written before', async () => {
    const { server, client, inside } = await connectedPair();
    const streamId = client.connection.openStream('bidi')!;
    client.connection.write(streamId, frame('x'));
    await eventually('it arrives', () => server.recorder.bytes === 5);
    inside.write(streamId, Buffer.concat(Array.from({ length: 50 }, () => frame('y'.repeat(996)))));
    inside.close(0x1005, 'certificate expired');
    await eventually('the client is told', () => client.recorder.closed.length === 1);
    expect(client.recorder.bytes).toBe(50_000);
    const told = { isApplication: true, code: 0x1005, reason: 'certificate expired' };
    expect(client.recorder.lastReason).toEqual({ by: 'peer', ...told, wasConnected: true });
    await eventually('the server is done', () => server.recorder.closed.length === 1);
    expect(server.recorder.lastReason).toEqual({ by: 'local', ...told, wasConnected: true });
    expect(server.endpoint.connections).toBe(0);
  });

  test('that ends without a word is the end of its stream', async () => {
    const { server, client } = await connectedPair();
    const streamId = client.connection.openStream('bidi')!;
    client.connection.write(streamId, frame('last'), true);
    const [inside] = server.recorder.connected;
    await eventually('the end is seen', () => server.recorder.stream(inside!, streamId).fin);
  });

  test('holds its peer while it does not read, and tells when the peer may go on', async () => {
    const { server, client, inside } = await connectedPair();
    inside.pauseReading();
    const streamId = client.connection.openStream('bidi')!;
    const bytes = frame('z'.repeat(999_996));
    for (let sent = 0; sent < 20; sent += 1) client.connection.write(streamId, bytes);
    await eventually('it waits', () => client.connection.queuedBytes > 1_000_000);
    expect(client.recorder.drained).toBe(0);
    inside.resumeReading();
    await eventually('all arrives', () => server.recorder.bytes === 20_000_000);
    await eventually('it is told', () => client.recorder.drained > 0);
    expect(client.connection.queuedBytes).toBe(0);
  });

  test('is kept alive by pings, also in the middle of a frame, and else ends as idle', async () => {
    const transport = { idleTimeoutMs: 400 };
    const server = await bed.server(authorities.server, { transport });
    const credentials = await authorities.agent('gpu-001');
    const client = await bed.client(server.endpoint.address, credentials, { transport });
    await eventually('it connects', () => server.recorder.connected.length === 1);
    const streamId = client.connection.openStream('bidi')!;
    const bytes = frame('halved');
    client.connection.write(streamId, bytes.subarray(0, 7));
    client.connection.ping();
    client.connection.write(streamId, bytes.subarray(7));
    await eventually('the frame is whole', () => server.recorder.bytes === bytes.length);
    const received = Buffer.concat(server.recorder.stream(server.recorder.connected[0]!, 0).chunks);
    expect(received.equals(bytes)).toBe(true);
    const startedMs = performance.now();
    await eventually('several idle times pass', () => {
      client.connection.ping();
      return performance.now() - startedMs > 1500;
    });
    expect(server.recorder.closed).toHaveLength(0);
    expect(client.recorder.closed).toHaveLength(0);
    await eventually('both find it idle', () => {
      return server.recorder.closed.length === 1 && client.recorder.closed.length === 1;
    });
    const reasons = [server.recorder.lastReason?.by, client.recorder.lastReason?.by];
    expect(reasons).toContain('idle');
  });

  test('whose handler throws is closed, and others go on', async () => {
    const { server, client } = await connectedPair();
    const other = await bed.client(server.endpoint.address, await authorities.agent('gpu-002'));
    await eventually('the other connects', () => server.recorder.connected.length === 2);
    server.recorder.react = {
      onData(connection) {
        if (connection === server.recorder.connected[0]) throw new Error('BUG: on purpose');
      },
    };
    client.connection.write(client.connection.openStream('bidi')!, frame('trip'));
    await eventually('its client hears of it', () => client.recorder.closed.length === 1);
    expect(client.recorder.lastReason).toMatchObject({ by: 'peer', code: 1 });
    expect(server.errors).toHaveLength(1);
    other.connection.write(other.connection.openStream('bidi')!, frame('fine'));
    await eventually('the other goes on', () => server.recorder.bytes === 16);
  });
});

describe('mutual TLS over TCP', () => {
  async function expectRefused(credentials: QuicCredentials, alert: number, alpn?: string) {
    const server = await bed.server(authorities.server);
    const options = alpn === undefined ? {} : { transport: { alpn } };
    const client = await bed.client(server.endpoint.address, credentials, options);
    await eventually('both know', () => {
      return server.recorder.closed.length === 1 && client.recorder.closed.length === 1;
    });
    expect(server.recorder.connected).toHaveLength(0);
    const code = TLS_ALERT + alert;
    expect(server.recorder.lastReason).toMatchObject({ isApplication: false, code });
    expect(client.recorder.lastReason).toMatchObject({ isApplication: false, code });
  }

  test('refuses an unknown authority', async () => {
    const stranger = await createAuthority('Other CA');
    const leaf = await issueCertificate(stranger, { commonName: 'gpu-1', dnsNames: ['gpu-1'] });
    await expectRefused({ ...leaf, caPem: authorities.collectors.certPem }, 48);
  });

  test('refuses an expired certificate', async () => {
    const nowMs = Date.now();
    const notBefore = new Date(nowMs - 86_400_000);
    const notAfter = new Date(nowMs - 60_000);
    await expectRefused(await authorities.agent('gpu-001', { notBefore, notAfter }), 45);
  });

  test('refuses a certificate for servers only', async () => {
    await expectRefused(await authorities.agent('gpu-001', { usages: ['serverAuth'] }), 43);
  });

  test('refuses another protocol', async () => {
    await expectRefused(await authorities.agent('gpu-001'), 120, 'h3');
  });

  test('refuses whoever shows no certificate, and tells', async () => {
    const server = await bed.server(authorities.server);
    const { host, port } = server.endpoint.address;
    const socket = tls.connect({
      host,
      port,
      servername: SERVER_NAME,
      ca: authorities.collectors.certPem,
      ALPNProtocols: ['horizon-telemetry/1'],
    });
    const [record] = (await once(socket, 'data')) as [Buffer];
    expect(record.readUInt32BE(5)).toBe(TLS_ALERT + 116);
    socket.destroy();
    expect(server.recorder.connected).toHaveLength(0);
    await eventually('the server is done', () => server.recorder.closed.length === 1);
    expect(server.recorder.lastReason?.code).toBe(TLS_ALERT + 116);
  });

  test('a client that expected another name is not connected, and tells', async () => {
    const server = await bed.server(authorities.server);
    const connect = { serverName: 'elsewhere.test' };
    const client = await bed.client(server.endpoint.address, await authorities.agent('gpu-001'), {
      connect,
    });
    await eventually('both know', () => {
      return server.recorder.closed.length === 1 && client.recorder.closed.length === 1;
    });
    expect(client.recorder.connected).toHaveLength(0);
    expect(client.recorder.lastReason).toMatchObject({ by: 'local', code: TLS_ALERT + 42 });
    expect(server.recorder.lastReason).toMatchObject({ by: 'peer', code: TLS_ALERT + 42 });
  });

  test('resumes no session, whose certificate would not be checked again', async () => {
    const server = await bed.server(authorities.server);
    const { host, port } = server.endpoint.address;
    const pair = await authorities.agent('gpu-001');
    const options = {
      host,
      port,
      servername: SERVER_NAME,
      ca: pair.caPem,
      cert: pair.certPem,
      key: pair.keyPem,
      ALPNProtocols: ['horizon-telemetry/1'],
    };
    server.recorder.react = {
      onData: (connection, streamId) => connection.write(streamId, frame('answer')),
    };
    const sessions: Buffer[] = [];
    const first = tls.connect(options);
    first.on('session', (session: Buffer) => sessions.push(session));
    first.write(frame('question'));
    await once(first, 'data');
    const session = sessions[0];
    const second = tls.connect(session === undefined ? options : { ...options, session });
    second.write(frame('question'));
    await once(second, 'data');
    expect(second.isSessionReused()).toBe(false);
    first.destroy();
    second.destroy();
  });

  test('new credentials count for the next connection', async () => {
    const renewed = await issueCertificate(authorities.collectors, {
      commonName: SERVER_NAME,
      dnsNames: [SERVER_NAME],
      usages: ['serverAuth'],
    });
    const next = { ...renewed, caPem: authorities.agents.certPem };
    let current = authorities.server;
    const server = await bed.server(current, { accept: { credentials: () => current } });
    const { host, port } = server.endpoint.address;
    const serialOf = async () => {
      const socket = tls.connect({ host, port, rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      const serial = socket.getPeerX509Certificate()!.serialNumber;
      socket.destroy();
      return serial;
    };
    const before = await serialOf();
    current = next;
    expect(await serialOf()).not.toBe(before);
  });
});

describe('strangers on TCP', () => {
  async function halfOpen(server: TestServer, count: number): Promise<net.Socket[]> {
    const { host, port } = server.endpoint.address;
    const sockets = Array.from({ length: count }, () => net.connect(port, host));
    for (const socket of sockets) socket.on('error', () => {});
    await eventually('they are in', () => server.endpoint.handshakes > 0);
    return sockets;
  }

  test('who never begin a handshake are dropped at the deadline', async () => {
    const server = await bed.server(authorities.server, { accept: { handshakeTimeoutMs: 300 } });
    await halfOpen(server, 3);
    await eventually('all are dropped', () => server.recorder.closed.length === 3);
    expect(server.recorder.lastReason?.by).toBe('handshake-timeout');
    expect(server.endpoint.connections).toBe(0);
  });

  test('who only open sockets do not keep an honest client out', async () => {
    const server = await bed.server(authorities.server, { accept: { maxConnections: 20 } });
    const sockets = await halfOpen(server, 200);
    await eventually('the oldest make room', () => server.recorder.closed.length >= 180);
    expect(server.endpoint.connections).toBeLessThanOrEqual(20);
    const client = await bed.client(server.endpoint.address, await authorities.agent('gpu-001'));
    await eventually('the client gets in', () => client.recorder.connected.length === 1);
    for (const socket of sockets) socket.destroy();
  });

  test('send garbage and are dropped', async () => {
    const server = await bed.server(authorities.server);
    const [socket] = await halfOpen(server, 1);
    socket!.write('GET / HTTP/1.1\r\n\r\n');
    await eventually('it is over', () => server.recorder.closed.length === 1);
    expect(server.recorder.connected).toHaveLength(0);
    expect(server.endpoint.handshakes).toBe(0);
  });

  test('are refused over the bound on connections and while the endpoint stops', async () => {
    const server = await bed.server(authorities.server, { accept: { maxConnections: 1 } });
    const first = await bed.client(server.endpoint.address, await authorities.agent('gpu-001'));
    await eventually('it connects', () => server.recorder.connected.length === 1);
    const second = await bed.client(server.endpoint.address, await authorities.agent('gpu-002'));
    await eventually('the second is refused', () => second.recorder.closed.length === 1);
    expect(server.refusals).toEqual(['max_connections']);
    server.endpoint.stopAccepting();
    const third = await bed.client(server.endpoint.address, await authorities.agent('gpu-003'));
    await eventually('the third is refused', () => third.recorder.closed.length === 1);
    expect(server.refusals).toEqual(['max_connections', 'stopping']);
    expect(first.recorder.closed).toHaveLength(0);
  });

  test('where nobody listens, a client is told so', async () => {
    const server = await bed.server(authorities.server);
    const { address } = server.endpoint;
    await server.endpoint.close(0, 'gone');
    const client = await bed.client(address, await authorities.agent('gpu-001'));
    await eventually('it gives up', () => client.recorder.closed.length === 1);
    expect(client.recorder.lastReason).toMatchObject({ by: 'peer', wasConnected: false });
    expect(client.recorder.lastReason?.reason).toContain('ECONNREFUSED');
  });
});
