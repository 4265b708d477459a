/**
 * The command line of `telemetry-agent`: its options, and what they mean together. Opens nothing
 * that the options name; what does not fit is answered with what to type.
 */
import fs from 'node:fs';
import { isIP } from 'node:net';
import os from 'node:os';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { LevelWithSilent } from 'pino';
import { packageFile } from '../lib/package-root.ts';
import type { QuicAddress } from '../transport/quic-endpoint.ts';
import { SOURCE_KINDS, type SourceKind, type SourceOptions } from './sources/open-source.ts';

/** Where to send, and as whom. */
export interface ServerSettings {
  readonly remote: QuicAddress;
  readonly serverName: string;
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}

export interface AgentSettings {
  /** Undefined with --dry-run. */
  readonly server: ServerSettings | undefined;
  readonly nodeId: string;
  readonly intervalMs: number;
  readonly rounds: number | undefined;
  readonly spoolDir: string | undefined;
  readonly spoolBytes: number;
  readonly maxBatchSamples: number;
  readonly logLevel: LevelWithSilent;
  readonly logFormat: 'json' | 'pretty';
  readonly sources: readonly SourceKind[];
  readonly sourceOptions: SourceOptions;
}

export type ParsedCommand =
  | { kind: 'run'; settings: AgentSettings }
  /** Help or version was printed, or what is wrong was said. */
  | { kind: 'done'; exitCode: 0 | 2 };

const MIB = 1024 * 1024;

const EXAMPLES = `
Examples:
  A simulated node with eight GPUs, every ten seconds:
    telemetry-agent --server collector.example:5001 --cert node.pem --key node-key.pem \\
      --ca ca.pem --source simulate --gpus 8
  This machine's own GPUs and operating system, buffered on disk while the collector is away:
    telemetry-agent --server collector.example:5001 --cert node.pem --key node-key.pem \\
      --ca ca.pem --source nvidia-smi --source host --spool-dir /var/lib/telemetry-agent
  A dcgm-exporter beside the agent:
    telemetry-agent --server collector.example:5001 --cert node.pem --key node-key.pem \\
      --ca ca.pem --source prometheus --url http://localhost:9400/metrics
  What a source would send, without sending it:
    telemetry-agent --source host --dry-run

Signals: SIGTERM and SIGINT send what is left for up to 10 seconds and print a summary, a second one
exits at once; SIGHUP reads the certificate files again.
Exit codes: 0 everything was acknowledged, 1 operating error, 2 wrong usage, 3 stopped with samples
that were dropped, refused or not acknowledged.
`;

/**
 * What the arguments (without the program's name) ask for. Prints help, version and usage errors.
 */
export function parseAgentCommand(args: readonly string[]): ParsedCommand {
  const command = defineCommand();
  try {
    command.parse(args, { from: 'user' });
    return { kind: 'run', settings: toSettings(command.opts<RawOptions>()) };
  } catch (error) {
    if (error instanceof UsageError) {
      process.stderr.write(`error: ${error.message}\n`);
      return { kind: 'done', exitCode: 2 };
    }
    if (!(error instanceof CommanderError)) throw error;
    return { kind: 'done', exitCode: error.exitCode === 0 ? 0 : 2 };
  }
}

class UsageError extends Error {}

interface RawOptions {
  server?: string;
  cert?: string;
  key?: string;
  ca?: string;
  serverName?: string;
  nodeId?: string;
  source?: SourceKind[];
  interval: number;
  once?: true;
  count?: number;
  spoolDir?: string;
  spoolBytes: number;
  maxBatch: number;
  logLevel: LevelWithSilent;
  logFormat?: 'json' | 'pretty';
  dryRun?: true;
  gpus: number;
  seed: number;
  file?: string;
  speed: number;
  loop?: true;
  hostFilter?: string;
  restamp?: true;
  nvidiaSmiPath: string;
  url?: string;
}

function defineCommand(): Command {
  const command = new Command('telemetry-agent')
    .description('Sends metrics of this node to a telemetry collector over QUIC with mutual TLS.')
    .version(packageVersion())
    .exitOverride()
    .showHelpAfterError('(telemetry-agent --help lists all options)')
    .addHelpText('after', EXAMPLES);
  addServerOptions(command);
  addRunOptions(command);
  addSourceOptions(command);
  return command;
}

function addServerOptions(command: Command): void {
  command
    .option('--server <host:port>', 'the collector; IPv6 addresses in brackets')
    .option('--cert <file>', 'client certificate chain, PEM, leaf first')
    .option('--key <file>', 'private key of the certificate, PEM')
    .option('--ca <file>', 'authorities that may have signed the collector’s certificate, PEM')
    .option('--server-name <name>', 'DNS name in the collector’s certificate (default: the host)')
    .option('--node-id <id>', 'who the metrics are about (default: as the certificate says)');
}

function addRunOptions(command: Command): void {
  command
    .option('--interval <seconds>', 'between collections; 0: as fast as acked', parseSeconds, 10)
    .option('--once', 'collect and send once, then exit')
    .option('--count <n>', 'collect and send this many times, then exit', parseCount)
    .option('--spool-dir <dir>', 'keep unacknowledged batches here across restarts')
    .option('--spool-bytes <size>', 'bytes of unacknowledged batches', parseSize, 64 * MIB)
    .option('--max-batch <n>', 'samples in one batch, if the collector allows', parseCount, 1000)
    .addOption(
      new Option('--log-level <level>', 'least level that is logged')
        .choices(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
        .default('info'),
    )
    .addOption(
      new Option('--log-format <format>', 'default: pretty on a terminal, else json').choices([
        'json',
        'pretty',
      ]),
    )
    .option('--dry-run', 'print one collection as a table instead of sending');
}

function addSourceOptions(command: Command): void {
  command
    .addOption(
      new Option('--source <kind>', `where metrics come from; may be repeated`)
        .choices([...SOURCE_KINDS])
        .argParser(collectSource),
    )
    .option('--gpus <n>', 'simulate: number of GPUs', parseCount, 8)
    .option('--seed <n>', 'simulate: the same seed gives the same values', parseInteger, 1)
    .option('--file <file>', 'csv: the DCGM export to replay')
    .option('--speed <factor>', 'csv: with moved timestamps; 0: without pauses', parseSeconds, 1)
    .option('--loop', 'csv: start over at the end')
    .option('--host-filter <hostname>', 'csv: only rows of this Hostname')
    .option('--restamp', 'csv: move the timestamps to now; --loop does so too')
    .option('--nvidia-smi-path <file>', 'nvidia-smi: the program', 'nvidia-smi')
    .option('--url <url>', 'prometheus: the page to scrape');
}

function toSettings(raw: RawOptions): AgentSettings {
  const sources = raw.source ?? [];
  if (sources.length === 0) {
    throw new UsageError(`no source is given; add --source, one of ${SOURCE_KINDS.join(', ')}`);
  }
  if (raw.once === true && raw.count !== undefined) {
    throw new UsageError('--once and --count exclude each other; leave one out');
  }
  if (sources.includes('csv') && raw.file === undefined) {
    throw new UsageError('--source csv needs a file; add --file EXPORT.csv');
  }
  if (sources.includes('prometheus') && raw.url === undefined) {
    throw new UsageError(
      '--source prometheus needs a page; add --url, for example http://localhost:9400/metrics',
    );
  }
  return {
    server: raw.dryRun === true ? undefined : toServer(raw),
    nodeId: raw.nodeId ?? '',
    intervalMs: Math.round(raw.interval * 1000),
    rounds: raw.once === true ? 1 : raw.count,
    spoolDir: raw.spoolDir,
    spoolBytes: raw.spoolBytes,
    maxBatchSamples: raw.maxBatch,
    logLevel: raw.logLevel,
    logFormat: raw.logFormat ?? (process.stderr.isTTY === true ? 'pretty' : 'json'),
    sources,
    sourceOptions: toSourceOptions(raw),
  };
}

function toServer(raw: RawOptions): ServerSettings {
  if (raw.server === undefined) {
    throw new UsageError('no collector is given; add --server HOST:PORT, or --dry-run');
  }
  const remote = parseServer(raw.server);
  return {
    remote,
    serverName: raw.serverName ?? defaultServerName(remote.host),
    certFile: required(raw.cert, '--cert', 'the client certificate'),
    keyFile: required(raw.key, '--key', 'the private key of the certificate'),
    caFile: required(raw.ca, '--ca', 'the authority of the collector’s certificate'),
  };
}

function required(value: string | undefined, option: string, what: string): string {
  if (value === undefined) throw new UsageError(`${what} is missing; add ${option} FILE`);
  return value;
}

function parseServer(text: string): QuicAddress {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  if (host === '' || !(port >= 1 && port <= 65_535)) {
    throw new UsageError(`--server ${text} is not HOST:PORT, for example collector.example:5001`);
  }
  return { host, port };
}

/** IP addresses in certificates are not matched, so an address needs a name to go with it. */
function defaultServerName(host: string): string {
  if (isIP(host) === 0) return host;
  if (host === '::1' || host.startsWith('127.')) return 'localhost';
  throw new UsageError(
    `the collector is given by address (${host}), and certificates are matched by name; ` +
      'add --server-name with a DNS name of its certificate',
  );
}

function toSourceOptions(raw: RawOptions): SourceOptions {
  const { file, gpus, hostFilter, loop, nvidiaSmiPath, restamp, seed, speed, url } = raw;
  const nodeId = raw.nodeId ?? os.hostname();
  const replay = {
    speed,
    ...(loop === undefined ? {} : { loop }),
    ...(restamp === undefined ? {} : { restamp }),
    ...(hostFilter === undefined ? {} : { node: hostFilter }),
  };
  return {
    simulate: { nodeId, gpus, seed },
    nvidiaSmi: {
      command: nvidiaSmiPath,
      ...(isRepeated(raw) ? { residentPeriodMs: residentPeriod(raw.interval) } : {}),
    },
    ...(file === undefined ? {} : { csv: { path: file, ...replay } }),
    ...(url === undefined ? {} : { prometheus: { url } }),
  };
}

/** Whether there will be a next collection, for which a program may stay. */
function isRepeated({ interval, once, dryRun }: RawOptions): boolean {
  return interval > 0 && once !== true && dryRun !== true;
}

/** A little less than the interval, so that each round finds a new answer. */
function residentPeriod(intervalSeconds: number): number {
  return Math.max(1, Math.floor(intervalSeconds * 900));
}

function collectSource(value: string, previous: SourceKind[] | undefined): SourceKind[] {
  const kind = SOURCE_KINDS.find((known) => known === value);
  if (kind === undefined) {
    throw new InvalidArgumentError(`Allowed choices are ${SOURCE_KINDS.join(', ')}.`);
  }
  if (previous?.includes(kind) === true) {
    throw new InvalidArgumentError('Each source may be given once.');
  }
  return [...(previous ?? []), kind];
}

function parseSeconds(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= 86_400)) {
    throw new InvalidArgumentError('It must be a number from 0 to 86400.');
  }
  return value;
}

function parseInteger(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError('It must be a whole number.');
  }
  return value;
}

function parseCount(text: string): number {
  const value = parseInteger(text);
  if (value < 1 || value > 1_000_000_000) {
    throw new InvalidArgumentError('It must be a whole number from 1.');
  }
  return value;
}

function parseSize(text: string): number {
  const match = /^(\d+)(KiB|MiB|GiB)?$/.exec(text);
  const units = { KiB: 1024, MiB: MIB, GiB: 1024 * MIB } as const;
  const unit = match?.[2] as keyof typeof units | undefined;
  const bytes = Number(match?.[1]) * (unit === undefined ? 1 : units[unit]);
  if (!(bytes >= 65_536 && bytes <= 1024 * units.GiB)) {
    throw new InvalidArgumentError('It must be 65536 or more, for example 64MiB.');
  }
  return bytes;
}

function packageVersion(): string {
  const text = fs.readFileSync(packageFile('package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
