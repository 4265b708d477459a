import { spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { debianTool } from '../../helpers/debian-tool.ts';
import { eventually } from '../../helpers/eventually.ts';
import { QuicTestBed, type TestServer } from '../../helpers/quic-pair.ts';
import { tempDir } from '../../helpers/temp-dir.ts';
import {
  createTestAuthorities,
  SERVER_NAME,
  type TestAuthorities,
} from '../../helpers/test-credentials.ts';
import { quicheStack } from '../../../src/transport/quiche/quiche-endpoint.ts';

/** Debian's client of another QUIC stack and another TLS library; it speaks HTTP/3 only. */
const CLIENT = { program: 'gtlsclient', debianPackage: 'ngtcp2-client' };
const HTTP3 = 'h3';
const CERTIFICATE_REQUIRED = 256 + 116;

let authorities: TestAuthorities;
const bed = new QuicTestBed(quicheStack);
let tool: string | undefined;

beforeAll(async () => {
  authorities = await createTestAuthorities();
  tool = debianTool(CLIENT.program, CLIENT.debianPackage);
});
beforeEach((context) => {
  if (tool === undefined) context.skip(`${CLIENT.program} is not installed`);
});
afterEach(() => bed.close());

function h3Server(accept: { alwaysRetry?: boolean } = {}): Promise<TestServer> {
  return bed.server(authorities.server, { transport: { alpn: HTTP3 }, accept });
}

/** Runs the client against the server until it ends; returns what it printed. */
async function runClient(server: TestServer, options: readonly string[]): Promise<string> {
  const { host, port } = server.endpoint.address;
  const uri = `https://${SERVER_NAME}:${port}/`;
  const child = spawn(tool ?? '', [...options, host, String(port), uri], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 20_000,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (bytes: Buffer) => {
      output += bytes.toString('latin1');
    });
  }
  await new Promise((resolve) => child.once('close', resolve));
  return output;
}

async function agentFiles(): Promise<string[]> {
  const { certPem, keyPem } = await authorities.agent('gpu-001');
  const folder = tempDir();
  const [cert, key] = [path.join(folder, 'cert.pem'), path.join(folder, 'key.pem')];
  fs.writeFileSync(cert, certPem);
  fs.writeFileSync(key, keyPem);
  return [`--cert=${cert}`, `--key=${key}`];
}

test('another QUIC stack completes a handshake with certificates on both sides', async () => {
  const server = await h3Server();
  let leaf: Uint8Array | undefined;
  server.recorder.react = {
    onConnected: (connection) => {
      leaf = connection.peerCertificates()[0];
    },
  };
  const output = await runClient(server, [...(await agentFiles()), '--timeout=2s']);
  expect(server.recorder.connected, output.slice(-2000)).toHaveLength(1);
  const { certPem } = await authorities.agent('gpu-001');
  expect(new X509Certificate(leaf!).issuer).toBe(new X509Certificate(certPem).issuer);
  // Its request arrived on a stream.
  expect(server.recorder.bytes).toBeGreaterThan(0);
  expect(server.errors).toEqual([]);
});

test('it proves its address where a retry asks for that', async () => {
  const server = await h3Server({ alwaysRetry: true });
  const output = await runClient(server, [...(await agentFiles()), '--timeout=2s']);
  expect(server.endpoint.counters.retriesSent, output.slice(-2000)).toBe(1);
  expect(server.recorder.connected).toHaveLength(1);
});

/** Lets the client change its address before it sends anything; says from where it was heard. */
async function moveEarly(options: readonly string[]) {
  const server = await h3Server();
  const ports: number[] = [];
  server.recorder.react = {
    onConnected: (connection) => void ports.push(connection.remoteAddress.port),
  };
  const move = ['--change-local-addr=300ms', '--delay-stream=1s', '--timeout=3s', ...options];
  const output = await runClient(server, [...(await agentFiles()), ...move]);
  expect(server.recorder.connected, output.slice(-2000)).toHaveLength(1);
  expect(server.recorder.bytes, output.slice(-2000)).toBeGreaterThan(0);
  expect(server.errors).toEqual([]);
  return { first: ports[0], last: server.recorder.connected[0]!.remoteAddress.port };
}

test('it stays connected when its NAT gives it another port', async () => {
  const { first, last } = await moveEarly(['--nat-rebinding']);
  expect(last).not.toBe(first);
});

test('it stays connected when it would like to move and is not allowed to', async () => {
  const { first, last } = await moveEarly([]);
  expect(last).toBe(first);
});

test('without a certificate it is refused with 372', async () => {
  const server = await h3Server();
  const output = await runClient(server, ['--timeout=2s']);
  await eventually('the refusal', () => server.recorder.closed.length === 1);
  expect(server.recorder.lastReason).toMatchObject({
    by: 'local',
    isApplication: false,
    code: CERTIFICATE_REQUIRED,
    wasConnected: false,
  });
  expect(server.recorder.connected).toHaveLength(0);
  expect(output).toMatch(/0x174|372|certificate/i);
});
