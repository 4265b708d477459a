/**
 * `conformance`: a small collector that checks a client against docs/protocol.md. It needs
 * no configuration and keeps nothing: certificates are made for the run, batches are forgotten.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseSocketAddress } from '../../config/socket-address.ts';
import { SCHEMA_VERSION, type Hello } from '../../domain/telemetry.ts';
import { commandClock } from '../../lib/clock.ts';
import { errorMessage, OperatingError } from '../../lib/errors.ts';
import type { QuicCredentials } from '../../transport/quic-endpoint.ts';
import { quinnStack } from '../../transport/quinn/quinn-endpoint.ts';
import { ClientWatch } from '../conformance/client-watch.ts';
import { Judge, type Judgement } from '../conformance/rules.ts';
import { StandInCollector } from '../conformance/stand-in-collector.ts';
import { runSteps } from '../conformance/steps.ts';
import { exitCode } from './exit-codes.ts';
import type { Host } from './host.ts';
import { makeCertificates } from './make-certificates.ts';

export interface ConformanceOptions {
  readonly listen: string;
  readonly stepSeconds: number;
  readonly json?: boolean;
}

const NODE_ID = 'conformance-client';
const SERVER_NAME = 'localhost';
/** Small limits, so that a client that ignores them is seen. */
const HELLO: Omit<Hello, 'timeMs'> = {
  schemaVersion: SCHEMA_VERSION,
  collectorId: 'conformance',
  nodeId: NODE_ID,
  maxBatchBytes: 65_536,
  maxBatchSamples: 20,
  acceptsSeriesTableId: true,
  maxNameBytes: 256,
  maxLabelsPerSeries: 32,
  maxLabelValueBytes: 1024,
  maxTableSeries: 1000,
  maxTimestampAgeSecs: 604_800,
  maxTimestampAheadSecs: 300,
  sequenceWindow: 16,
  epochsPerNode: 8,
  maxHoursPerBatch: 24,
  rememberedTables: 64,
  rememberedTableBytes: 2 * 1024 * 1024,
};

/** Runs all steps against `command`, or a client that connects, and returns the exit code. */
export async function runConformance(
  command: readonly string[],
  options: ConformanceOptions,
  host: Host,
): Promise<number> {
  const bind = parseSocketAddress(options.listen);
  if (bind === undefined) {
    throw new OperatingError('BAD_ADDRESS', `cannot listen on "${options.listen}": not host:port`);
  }
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'conformance-'));
  try {
    const names = { serverName: [SERVER_NAME], node: [NODE_ID] };
    await makeCertificates({ out: dir, ...names, days: 1, bad: true }, () => {});
    const judgements = await judge(command, { bind, dir, options }, host);
    host.out(options.json ? `${JSON.stringify(judgements)}\n` : report(judgements));
    return exitCode(judgements.every(({ verdict }) => verdict === 'pass') ? 'ok' : 'failed');
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

async function judge(
  command: readonly string[],
  run: { bind: { host: string; port: number }; dir: string; options: ConformanceOptions },
  host: Host,
): Promise<Judgement[]> {
  const clock = commandClock;
  const credentials = readCredentials(run.dir, 'server');
  const judge = new Judge();
  const watch = new ClientWatch(judge, NODE_ID);
  const parts = { clock, judge, watch, stack: quinnStack };
  const hello = { ...HELLO, timeMs: clock.nowMs() };
  const collector = new StandInCollector(parts, { bind: run.bind, credentials, hello });
  const ended = new AbortController();
  let client: ChildProcess | undefined;
  const onListening = () => {
    const environment = clientEnvironment(run.dir, collector.address.port);
    client = startClient(command, environment, ended, host);
  };
  try {
    await runSteps(
      { clock, judge, watch, collector },
      {
        stepMs: run.options.stepSeconds * 1000,
        credentials,
        foreignCredentials: readCredentials(run.dir, path.join('bad', 'server-foreign')),
        onListening,
        signal: ended.signal,
      },
    );
  } finally {
    client?.kill();
    await collector.stop();
  }
  return judge.judgements;
}

function readCredentials(dir: string, name: string): QuicCredentials {
  const read = (file: string) => fs.readFileSync(path.join(dir, `${file}.pem`), 'utf8');
  return { certPem: read(name), keyPem: read(`${name}-key`), caPem: read('ca') };
}

/** What the client needs to know. The address is a name, because certificates are for names. */
function clientEnvironment(dir: string, port: number): Record<string, string> {
  return {
    TELEMETRY_SERVER: `${SERVER_NAME}:${port}`,
    TELEMETRY_CA: path.join(dir, 'ca.pem'),
    TELEMETRY_CERT: path.join(dir, `${NODE_ID}.pem`),
    TELEMETRY_KEY: path.join(dir, `${NODE_ID}-key.pem`),
  };
}

function startClient(
  [program, ...words]: readonly string[],
  environment: Record<string, string>,
  ended: AbortController,
  host: Host,
): ChildProcess | undefined {
  if (program === undefined) {
    const lines = Object.entries(environment).map(([name, value]) => `  ${name}=${value}`);
    host.err(`Start your client now, with:\n${lines.join('\n')}\n`);
    return undefined;
  }
  const env = { ...host.environment, ...environment };
  const client = spawn(program, words, { env, stdio: ['ignore', 'ignore', 'inherit'] });
  client.on('error', (error) => {
    host.err(`cannot run ${program}: ${errorMessage(error)}\n`);
    ended.abort();
  });
  client.on('exit', () => ended.abort());
  return client;
}

const MARKS = { pass: '✓', fail: '✗', 'not seen': '?' } as const;

function report(judgements: readonly Judgement[]): string {
  const lines = judgements.flatMap(({ rule, text, verdict, why }) => [
    `${MARKS[verdict]} ${rule.padEnd(12)}${text}`,
    ...why.map((one) => `${' '.repeat(14)}${one}`),
  ]);
  const passed = judgements.filter(({ verdict }) => verdict === 'pass').length;
  return `${lines.join('\n')}\n\n${passed} of ${judgements.length} rules are kept.\n`;
}
