import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { parseAgentCommand } from '../../src/agent/agent-command.ts';
import type { AgentSettings } from '../../src/agent/agent-settings.ts';

const FILES = ['--cert', 'c.pem', '--key', 'k.pem', '--ca', 'ca.pem'];

let printed = '';
beforeEach(() => {
  printed = '';
  const keep = (text: string | Uint8Array) => {
    printed += String(text);
    return true;
  };
  vi.spyOn(process.stdout, 'write').mockImplementation(keep);
  vi.spyOn(process.stderr, 'write').mockImplementation(keep);
});
afterEach(() => {
  vi.restoreAllMocks();
});

async function settingsOf(...args: string[]): Promise<AgentSettings> {
  const command = await parseAgentCommand(args, {});
  if (command.kind !== 'run') throw new Error(`not accepted: ${printed}`);
  return command.settings;
}

/** What is said about arguments that are refused as wrong usage. */
async function complaintAbout(...args: string[]): Promise<string> {
  expect(await parseAgentCommand(args, {})).toEqual({ kind: 'done', exitCode: 2 });
  return printed;
}

test('a whole command line becomes settings', async () => {
  const args = ['--server', 'collector.example:5001', ...FILES, '--source', 'host'];
  const more = ['--source', 'simulate', '--gpus', '4', '--interval', '2.5', '--node-id', 'gpu-1'];
  expect(
    await settingsOf(...args, ...more, '--count', '3', '--spool-bytes', '16MiB'),
  ).toMatchObject({
    server: {
      remote: { host: 'collector.example', port: 5001 },
      serverName: 'collector.example',
      certFile: 'c.pem',
      keyFile: 'k.pem',
      caFile: 'ca.pem',
    },
    nodeId: 'gpu-1',
    intervalMs: 2500,
    rounds: 3,
    spoolBytes: 16 * 1024 * 1024,
    sources: ['host', 'simulate'],
    sourceOptions: { simulate: { nodeId: 'gpu-1', gpus: 4 } },
  });
});

test('an address needs a server name, except on the loopback', async () => {
  const to = (server: string) => ['--server', server, ...FILES, '--source', 'host'];
  expect((await settingsOf(...to('127.0.0.1:5001'))).server?.serverName).toBe('localhost');
  expect((await settingsOf(...to('[::1]:5001'))).server).toMatchObject({
    remote: { host: '::1', port: 5001 },
    serverName: 'localhost',
  });
  expect((await settingsOf(...to('10.0.0.1:5001'), '--server-name', 'c')).server?.serverName).toBe(
    'c',
  );
  expect(await complaintAbout(...to('10.0.0.1:5001'))).toContain('add --server-name');
});

test('what is missing is named with the option to type', async () => {
  expect(await complaintAbout()).toContain('add --source');
  expect(await complaintAbout('--source', 'host')).toContain('add --server HOST:PORT');
  const server = ['--server', 'c:1'];
  expect(await complaintAbout('--source', 'host', ...server)).toContain('add --cert FILE');
  expect(await complaintAbout('--source', 'csv', '--dry-run')).toContain('add --file');
  expect(await complaintAbout('--source', 'prometheus', '--dry-run')).toContain('add --url');
});

test.each([
  ['--source', 'tape'],
  ['--source', 'host', '--source', 'host'],
  ['--interval', '-1'],
  ['--interval', 'soon'],
  ['--count', '0'],
  ['--gpus', '1.5'],
  ['--spool-bytes', '10'],
  ['--log-level', 'loud'],
  ['--unknown'],
])('wrong usage is refused: %s %s', async (...args) => {
  expect(await complaintAbout('--dry-run', ...args)).toContain('error: ');
});

test.each(['collector', 'collector:0', 'collector:70000', ':5001', '::1:5001'])(
  'a server of %s is refused with an example',
  async (server) => {
    const complaint = await complaintAbout('--server', server, ...FILES, '--source', 'host');
    expect(complaint).toContain('collector.example:5001');
  },
);

test('once and count exclude each other', async () => {
  expect((await settingsOf('--source', 'host', '--dry-run', '--once')).rounds).toBe(1);
  const args = ['--source', 'host', '--dry-run', '--once', '--count', '2'];
  expect(await complaintAbout(...args)).toContain('leave one out');
});

test('help shows examples and exit codes, and is no error', async () => {
  expect(await parseAgentCommand(['--help'], {})).toEqual({ kind: 'done', exitCode: 0 });
  expect(printed).toContain('telemetry-agent --source host --dry-run');
  expect(printed).toContain('Exit codes');
  expect(await parseAgentCommand(['--version'], {})).toEqual({ kind: 'done', exitCode: 0 });
  expect(printed).toMatch(/\d+\.\d+\.\d+\n$/);
});
