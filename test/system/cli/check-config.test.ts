import dgram from 'node:dgram';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { stringify } from 'yaml';
import type { Check } from '../../../src/collector/cli/checks/check.ts';
import {
  createAuthority,
  issueCertificate,
  type KeyPairPem,
} from '../../../src/collector/cli/development-certificates.ts';
import { type CliOptions, runCli } from '../../helpers/run-cli.ts';
import { KERNEL_GIVES_LARGEST, LARGEST_BUFFER_BYTES } from '../../helpers/socket-buffers.ts';
import { createCrl } from '../../helpers/test-crl.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

const SECURITY = {
  tls_cert_path: 'server.pem',
  tls_key_path: 'key.pem',
  tls_ca_path: 'ca.pem',
};

let authority: KeyPairPem;
let server: KeyPairPem;

beforeAll(async () => {
  authority = await createAuthority('authority');
  server = await issueCertificate(authority, {
    commonName: 'localhost',
    dnsNames: ['localhost'],
    usages: ['serverAuth'],
  });
});

/** A directory in which everything is right, apart from what `changes` says. */
function workplace(changes: object = {}, pair: KeyPairPem = server): string {
  const cwd = tempDir();
  const config = {
    // What every kernel gives.
    server: { listen_addr: '127.0.0.1:0', socket_buffer_bytes: 65_536 },
    security: SECURITY,
    journal: { max_bytes: 16 * 1024 * 1024, min_free_bytes: 0 },
    parquet: { output_dir: 'data' },
    observability: { metrics_port: 0, metrics_addr: '127.0.0.1' },
    ...changes,
  };
  fs.writeFileSync(path.join(cwd, 'config.yaml'), stringify(config));
  fs.writeFileSync(path.join(cwd, 'server.pem'), pair.certPem);
  fs.writeFileSync(path.join(cwd, 'key.pem'), pair.keyPem, { mode: 0o600 });
  fs.writeFileSync(path.join(cwd, 'ca.pem'), authority.certPem);
  return cwd;
}

interface Findings {
  readonly code: number | null;
  readonly ok: boolean;
  readonly checks: readonly Check[];
  readonly troubles: readonly Check[];
}

async function check(cwd: string, options: CliOptions & { offline?: boolean } = {}) {
  const words = ['check-config', 'config.yaml', '--json'];
  if (options.offline !== false) words.push('--offline');
  const { code, stdout, stderr } = await runCli(words, { ...options, cwd });
  expect(stderr).toBe('');
  const { ok, checks } = JSON.parse(stdout) as { ok: boolean; checks: Check[] };
  const troubles = checks.filter((one) => one.status !== 'ok');
  return { code, ok, checks, troubles } satisfies Findings;
}

async function serve(handler: http.RequestListener): Promise<string> {
  const listener = http.createServer(handler).listen(0, '127.0.0.1');
  await new Promise((resolve) => listener.once('listening', resolve));
  onTestFinished(() => void listener.close());
  return `http://127.0.0.1:${(listener.address() as AddressInfo).port}`;
}

describe('check-config', () => {
  it('finds nothing wrong where nothing is, and leaves no traces', async () => {
    const cwd = workplace();
    const { code, ok, troubles } = await check(cwd);
    expect(troubles).toEqual([]);
    expect({ code, ok }).toEqual({ code: 0, ok: true });
    expect(fs.readdirSync(cwd).sort()).toEqual(['ca.pem', 'config.yaml', 'key.pem', 'server.pem']);
  });

  it('prints aligned lines with marks, hints and a verdict', async () => {
    const cwd = workplace({ parquet: { output_dir: 'ca.pem' } });
    const { code, stdout } = await runCli(['check-config', 'config.yaml', '--offline'], { cwd });
    expect(code).toBe(5);
    expect(stdout).toContain('✓ config        config.yaml: valid\n');
    expect(stdout).toMatch(
      /✗ directories {3}.*ca\.pem is a file, but must be a directory\n {16}→ /,
    );
    expect(stdout).toMatch(/Not ready to start: 1 error, 0 warnings\.\n$/);
  });

  it('tells every problem of an invalid configuration, exit code 3', async () => {
    const { code, ok, troubles } = await check(workplace({ limits: { a: 1 }, colector_id: 'x' }));
    expect({ code, ok }).toEqual({ code: 3, ok: false });
    expect(troubles.map((one) => one.key).sort()).toEqual(['colector_id', 'limits.a']);
    expect(troubles[0]?.message).toMatch(/^config\.yaml:\d+: /);
  });

  it('takes a missing file for an invalid configuration', async () => {
    const { code, stdout } = await runCli(['check-config', 'none.yaml'], { cwd: tempDir() });
    expect(code).toBe(3);
    expect(stdout).toContain('✗ config');
  });
});

describe('check-config: certificates', () => {
  it('reads the denylist and names a line that cannot be used', async () => {
    const files = { tls_cert_path: 'server.pem', tls_key_path: 'key.pem', tls_ca_path: 'ca.pem' };
    const cwd = workplace({ security: { ...files, denylist_path: 'denied.txt' } });
    fs.writeFileSync(path.join(cwd, 'denied.txt'), 'AB:CD\ngpu-001 # by name\n');
    const { code, troubles } = await check(cwd);
    expect(code).toBe(4);
    expect(troubles).toMatchObject([{ key: 'security.denylist_path', status: 'error' }]);
    expect(troubles[0]?.message).toContain('line 2 is "gpu-001"');
    fs.writeFileSync(path.join(cwd, 'denied.txt'), 'AB:CD\n');
    expect((await check(cwd)).code).toBe(0);
  });

  it('misses files, exit code 4', async () => {
    const cwd = workplace();
    fs.rmSync(path.join(cwd, 'server.pem'));
    fs.writeFileSync(path.join(cwd, 'key.pem'), 'no key');
    const { code, troubles } = await check(cwd);
    expect(code).toBe(4);
    expect(troubles.map((one) => one.key)).toEqual([
      'security.tls_cert_path',
      'security.tls_key_path',
    ]);
  });

  const leaf = { commonName: 'localhost', dnsNames: ['localhost'] };
  const cases: [why: string, make: () => Promise<KeyPairPem>, status: string, says: RegExp][] = [
    [
      'a key of another certificate',
      async () => ({ ...server, keyPem: (await issueCertificate(authority, leaf)).keyPem }),
      'error',
      /key\.pem is not the key of the certificate/,
    ],
    [
      'an expired certificate',
      () => issueCertificate(authority, { ...leaf, notAfter: new Date(0), notBefore: new Date(0) }),
      'error',
      /expired on 1970-01-01/,
    ],
    [
      'a certificate of the future',
      () =>
        issueCertificate(authority, { ...leaf, notBefore: new Date('2090-01-01'), days: 30_000 }),
      'error',
      /is not valid before 2090-01-01/,
    ],
    [
      'a certificate about to expire',
      () => issueCertificate(authority, { ...leaf, days: 10 }),
      'warning',
      /expires on/,
    ],
    [
      'a certificate for clients',
      () => issueCertificate(authority, { ...leaf, usages: ['clientAuth'] }),
      'error',
      /may not be used by a server/,
    ],
    [
      'a certificate without a DNS name',
      () => issueCertificate(authority, { commonName: 'x', ipAddresses: ['127.0.0.1'] }),
      'warning',
      /names no DNS name/,
    ],
    [
      'the authority itself',
      async () => authority,
      'error',
      /begins with the certificate of an authority/,
    ],
    [
      'a certificate of an unknown authority',
      async () => issueCertificate(await createAuthority('other'), leaf),
      'warning',
      /no authority of security\.tls_ca_path has signed it/,
    ],
    [
      'a chain out of order',
      async () => ({ ...server, certPem: server.certPem + server.certPem }),
      'error',
      /certificate 1 is not signed by the one that follows/,
    ],
  ];
  for (const [why, make, status, says] of cases) {
    it(`notices ${why}`, async () => {
      const { code, troubles } = await check(workplace({}, await make()));
      expect(troubles.map((one) => [one.check, one.status])).toContainEqual([
        'certificates',
        status,
      ]);
      expect(troubles.map((one) => one.message).join('\n')).toMatch(says);
      expect(code).toBe(status === 'error' ? 4 : 0);
    });
  }

  it('notices a key that everybody may read and a leaf among the authorities', async () => {
    const cwd = workplace();
    fs.chmodSync(path.join(cwd, 'key.pem'), 0o644);
    fs.writeFileSync(path.join(cwd, 'ca.pem'), authority.certPem + server.certPem);
    const { troubles } = await check(cwd);
    expect(troubles.map(({ status, message }) => `${status}: ${message}`)).toEqual([
      'warning: key.pem is open to every user (mode 0644)',
      'error: ca.pem holds CN=localhost, which is no authority',
    ]);
  });

  it('says when each certificate ends, of the chain and of the authorities', async () => {
    const middle = await createAuthority('middle', { parent: authority });
    const pair = await issueCertificate(middle, { ...leaf, days: 100 });
    const { checks } = await check(
      workplace({}, { ...pair, certPem: pair.certPem + middle.certPem }),
    );
    const ends = (key: string) => checks.find((one) => one.key === key)?.message;
    const date = (days: number) =>
      new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10);
    expect(ends('security.tls_cert_path')).toContain(
      `, valid until ${date(100)}; CN=middle, valid until ${date(3650)}`,
    );
    expect(ends('security.tls_ca_path')).toMatch(/1 authority: CN=.*, valid until \d{4}-/);
  });

  it('reads revocation lists as the daemon does, and warns of one that is overdue', async () => {
    const lists: [name: string, list: Uint8Array, status: string, says: RegExp][] = [
      ['good', await createCrl(authority, [server.certPem]), 'ok', /1 certificate revoked/],
      ['overdue', await createCrl(authority, [], new Date(0)), 'warning', /replaced on 1970-01-01/],
      ['forged', await createCrl(await createAuthority('ca'), []), 'error', /is not signed by/],
    ];
    for (const [name, list, status, says] of lists) {
      const cwd = workplace({ security: { ...SECURITY, crl_path: 'agents.crl' } });
      fs.writeFileSync(path.join(cwd, 'agents.crl'), list);
      const found = (await check(cwd)).checks.find((one) => one.key === 'security.crl_path');
      expect([name, found?.status]).toEqual([name, status]);
      expect(found?.message).toMatch(says);
    }
  });

  it('accepts a chain through an intermediate authority', async () => {
    const middle = await createAuthority('middle', { parent: authority });
    const pair = await issueCertificate(middle, leaf);
    const chain = { ...pair, certPem: pair.certPem + middle.certPem };
    expect((await check(workplace({}, chain))).troubles).toEqual([]);
  });
});

describe('check-config: directories and ports', () => {
  it('warns where the disk ends before the journal', async () => {
    const { code, troubles } = await check(workplace({ journal: { max_bytes: 1024 ** 5 } }));
    expect(code).toBe(0);
    expect(troubles.map((one) => [one.status, one.key])).toEqual([
      ['warning', 'journal.max_bytes'],
    ]);
  });

  it('fails where agents would be throttled from the start, exit code 5', async () => {
    const journal = { max_bytes: 1024 ** 3, min_free_bytes: 1024 ** 5 };
    const { code, troubles } = await check(workplace({ journal }));
    expect(code).toBe(5);
    expect(troubles.map((one) => one.key)).toEqual(['journal.min_free_bytes']);
  });

  it('fails where a stranger holds the port, exit code 7', async () => {
    const socket = dgram.createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    onTestFinished(() => void socket.close());
    const listen_addr = `127.0.0.1:${socket.address().port}`;
    const { code, troubles } = await check(
      workplace({ server: { listen_addr, socket_buffer_bytes: 65_536 } }),
    );
    expect(code).toBe(7);
    expect(troubles[0]?.message).toMatch(/EADDRINUSE/);
  });

  it.skipIf(KERNEL_GIVES_LARGEST)(
    'warns of a socket buffer that the kernel will not give',
    async () => {
      const server = { listen_addr: '127.0.0.1:0', socket_buffer_bytes: LARGEST_BUFFER_BYTES };
      const { code, troubles } = await check(workplace({ server }));
      expect(code).toBe(0);
      expect(troubles).toMatchObject([{ key: 'server.socket_buffer_bytes', status: 'warning' }]);
      expect(troubles[0]?.hint).toContain('net.core.rmem_max=268435456');
    },
  );

  it('only warns where a running collector holds the port', async () => {
    const url = await serve((_request, response) => {
      response.end('telemetry_collector_build_info{version="0.1.0"} 1\n');
    });
    const observability = { metrics_addr: '127.0.0.1', metrics_port: Number(new URL(url).port) };
    const { code, troubles } = await check(workplace({ observability }));
    expect(code).toBe(0);
    expect(troubles.map((one) => [one.status, one.key])).toEqual([
      ['warning', 'observability.metrics_port'],
    ]);
  });

  it('fails for an address that this machine does not have', async () => {
    const { code } = await check(workplace({ server: { listen_addr: '203.0.113.1:5001' } }));
    expect(code).toBe(7);
  });
});

describe('check-config: InfluxDB', () => {
  const section = (url: string) => ({
    influxdb: { url, org: 'o', bucket: 'b', token: 's3cret', timeout_secs: 2 },
  });

  /** A server that is healthy and answers writes with `status`. */
  const serveWrites = (status: number, seen: string[] = []) =>
    serve((request, response) => {
      seen.push(`${request.method} ${request.url} ${request.headers.authorization ?? ''}`);
      response.statusCode = request.url?.startsWith('/api/v2/write') ? status : 200;
      response.end();
    });

  it('asks for health and tries an empty write with the token', async () => {
    const seen: string[] = [];
    const url = await serveWrites(400, seen);
    const { code, troubles } = await check(workplace(section(url)), { offline: false });
    expect(troubles).toEqual([]);
    expect(code).toBe(0);
    expect(seen).toEqual([
      'GET /health ',
      'POST /api/v2/write?org=o&bucket=b&precision=ms Token s3cret',
    ]);
  });

  const answers: [status: number, code: number, key: string][] = [
    [204, 0, ''],
    [401, 6, 'influxdb.token'],
    [403, 6, 'influxdb.token'],
    [404, 6, 'influxdb.bucket'],
    [503, 0, 'influxdb.url'],
  ];
  for (const [status, code, key] of answers) {
    it(`understands the answer ${status} to a write`, async () => {
      const url = await serveWrites(status);
      const result = await check(workplace(section(url)), { offline: false });
      expect(result.code).toBe(code);
      expect(result.troubles.map((one) => one.key)).toEqual(key === '' ? [] : [key]);
      expect(JSON.stringify(result)).not.toContain('s3cret');
    });
  }

  it('says what kept it from reaching the server, exit code 6', async () => {
    const { code, troubles } = await check(workplace(section('http://127.0.0.1:1')), {
      offline: false,
    });
    expect(code).toBe(6);
    expect(troubles[0]?.message).toMatch(
      /cannot reach http:\/\/127\.0\.0\.1:1: .*(ECONNREFUSED|bad port)/,
    );
  });

  it('never prints a password that stands in the URL', async () => {
    const url = await serveWrites(204);
    const withPassword = url.replace('://', '://operator:p@ssw0rd@');
    for (const offline of [true, false]) {
      const result = await check(workplace(section(withPassword)), { offline });
      expect(JSON.stringify(result)).not.toMatch(/ssw0rd/);
    }
  });

  it('keeps away from the network with --offline', async () => {
    const seen: string[] = [];
    await check(workplace(section(await serveWrites(204, seen))));
    expect(seen).toEqual([]);
  });

  it('tells the worst kind of error by its exit code', async () => {
    const cwd = workplace({ ...section('http://127.0.0.1:1'), parquet: { output_dir: 'ca.pem' } });
    expect((await check(cwd, { offline: false })).code).toBe(5);
    fs.rmSync(path.join(cwd, 'server.pem'));
    expect((await check(cwd, { offline: false })).code).toBe(4);
  });
});
