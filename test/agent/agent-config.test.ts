import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { parseAgentCommand } from '../../src/agent/agent-command.ts';
import { packageFile } from '../../src/lib/package-root.ts';
import { tempDir } from '../helpers/temp-dir.ts';

const FILE = `
server: { addr: "collector.example:5001", node_id: gpu-7 }
security: { tls_cert_path: c.pem, tls_key_path: k.pem, tls_ca_path: ca.pem }
collect: { sources: [nvidia-smi, prometheus], interval_secs: 2 }
throttle: { rate: 0.25 }
nvidia_smi: { fields: [power.draw, memory.used], timeout_secs: 7 }
prometheus:
  url: http://localhost:9400/metrics
  timeout_secs: 3
  headers: ["Authorization: Bearer \${SCRAPE_TOKEN}", "X-Scope: a:b"]
observability: { metrics_addr: "127.0.0.1:9092" }
`;
const ENVIRONMENT = { SCRAPE_TOKEN: 'secret' };

function write(text: string): string {
  const file = path.join(tempDir(), 'agent.yaml');
  fs.writeFileSync(file, text);
  return file;
}

async function settingsOf(args: readonly string[], environment = {}) {
  const command = await parseAgentCommand(args, { ...ENVIRONMENT, ...environment });
  if (command.kind !== 'run') throw new Error('not accepted');
  return command.settings;
}

test('a file says what the options say, and what only a file can', async () => {
  const settings = await settingsOf([write(FILE)]);
  expect(settings).toMatchObject({
    server: { remote: { host: 'collector.example', port: 5001 }, certFile: 'c.pem' },
    nodeId: 'gpu-7',
    intervalMs: 2000,
    sources: ['nvidia-smi', 'prometheus'],
    metrics: { host: '127.0.0.1', port: 9092 },
    throttle: { isEnabled: true, maxQueueDepth: 10_000, rate: 0.25 },
  });
  expect(settings.sourceOptions.nvidiaSmi).toEqual({
    command: 'nvidia-smi',
    fields: ['power.draw', 'memory.used'],
    timeoutMs: 7000,
    residentPeriodMs: 1800,
  });
  expect(settings.sourceOptions.prometheus).toMatchObject({
    timeoutMs: 3000,
    headers: { authorization: 'Bearer secret', 'x-scope': 'a:b' },
  });
});

test('an option wins over a variable, a variable over the file', async () => {
  const file = write(FILE);
  const environment = {
    TELEMETRY_AGENT_COLLECT__INTERVAL_SECS: '5',
    TELEMETRY_AGENT_THROTTLE__RATE: '0.75',
    TELEMETRY_AGENT_THROTTLE__MAX_QUEUE_DEPTH: '20',
  };
  expect((await settingsOf([file], environment)).intervalMs).toBe(5000);
  expect((await settingsOf([file, '--interval', '6'], environment)).intervalMs).toBe(6000);
  const { throttle } = await settingsOf([file], environment);
  expect(throttle).toEqual({ isEnabled: true, maxQueueDepth: 20, rate: 0.75 });
  const host = ['--source', 'host', '--dry-run'];
  expect((await settingsOf(host, environment)).throttle.rate).toBe(0.75);
});

test('every mistake is told, with its line, and a header is not shown', async () => {
  const file = write(
    'colect: {}\nspool:\n  dirr: /x\n  max_bytes: 5\nprometheus:\n  headers: [secretvalue]\n',
  );
  const error = await settingsOf([file]).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
  const text = String(error);
  expect(text).toContain('agent.yaml:1: colect is not a known key; did you mean collect?');
  expect(text).toContain('agent.yaml:3: spool.dirr is not a known key; did you mean spool.dir?');
  expect(text).toContain('agent.yaml:4: spool.max_bytes is 5');
  expect(text).toContain('agent.yaml:6: prometheus.headers');
  expect(text).not.toContain('secretvalue');
});

test('the example is a configuration of defaults, to which only what is needed must be added', async () => {
  const file = packageFile('agent.example.yaml');
  const settings = await settingsOf([file, '--source', 'host', '--dry-run']);
  expect(settings).toEqual(await settingsOf(['--source', 'host', '--dry-run']));
});
