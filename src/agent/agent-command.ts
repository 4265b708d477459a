/**
 * The command line of `telemetry-agent`: a configuration file, and options that win over it. Opens
 * nothing that they name; what does not fit is answered with what to type.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { LevelWithSilent } from 'pino';
import { TRANSPORT_CHOICES, type TransportChoice } from '../client/transport-choice.ts';
import type { Environment } from '../config/environment.ts';
import { programVersion } from '../lib/program-version.ts';
import { AGENT_DEFAULTS } from './agent-defaults.ts';
import type { AgentConfig } from './agent-schema.ts';
import { type AgentSettings, toSettings, UsageError } from './agent-settings.ts';
import { SOURCE_KINDS, type SourceKind } from './sources/source-kinds.ts';

export type ParsedCommand =
  | { kind: 'run'; settings: AgentSettings }
  /** Help or version was printed, or what is wrong was said. */
  | { kind: 'done'; exitCode: 0 | 2 };

const MIB = 1024 * 1024;
/** Variables with this prefix override keys, as they do for the collector. */
const OVERRIDE_PREFIX = 'TELEMETRY_AGENT_';

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
  Settings from a file, with one option that overrides it (agent.example.yaml has every key):
    telemetry-agent /etc/horizon/telemetry-agent.yaml --log-level debug
  What a source would send, without sending it:
    telemetry-agent --source host --dry-run

Signals: on SIGTERM or SIGINT the agent sends the rest for up to 10 seconds and prints a summary;
a second one exits at once. SIGHUP rereads the certificate files, as any change to them does.
Exit codes: 0 everything was acknowledged, 1 operating error, 2 wrong usage, 3 stopped with samples
that were dropped, refused or not acknowledged.
`;

/**
 * What the arguments (without the program's name) and the environment ask for. Prints help, version
 * and usage errors. Rejects with CONFIG_UNREADABLE or CONFIG_INVALID.
 */
export async function parseAgentCommand(
  args: readonly string[],
  environment: Environment,
): Promise<ParsedCommand> {
  const command = defineCommand();
  try {
    command.parse(args, { from: 'user' });
    const raw = command.opts<RawOptions>();
    const config = await readConfiguration(command.args[0], environment);
    const rounds = raw.once === true ? 1 : raw.count;
    if (raw.once === true && raw.count !== undefined) {
      throw new UsageError('--once and --count exclude each other; leave one out');
    }
    const run = { rounds, isDryRun: raw.dryRun === true };
    return { kind: 'run', settings: toSettings(withOptions(config, raw), run) };
  } catch (error) {
    if (error instanceof UsageError) {
      process.stderr.write(`error: ${error.message}\n`);
      return { kind: 'done', exitCode: 2 };
    }
    if (!(error instanceof CommanderError)) throw error;
    return { kind: 'done', exitCode: error.exitCode === 0 ? 0 : 2 };
  }
}

/** The schema and the YAML reader are loaded only where there is something to read. */
async function readConfiguration(
  file: string | undefined,
  environment: Environment,
): Promise<AgentConfig> {
  const isOverridden = Object.keys(environment).some((name) => name.startsWith(OVERRIDE_PREFIX));
  if (file === undefined && !isOverridden) return AGENT_DEFAULTS;
  const { loadAgentConfig } = await import('./load-agent-config.ts');
  return loadAgentConfig(file, environment);
}

interface RawOptions {
  server?: string;
  cert?: string;
  key?: string;
  ca?: string;
  serverName?: string;
  transport?: TransportChoice;
  nodeId?: string;
  source?: SourceKind[];
  interval?: number;
  once?: true;
  count?: number;
  spoolDir?: string;
  spoolBytes?: number;
  maxBatch?: number;
  metricsAddr?: string;
  logLevel?: LevelWithSilent;
  logFormat?: 'json' | 'pretty';
  dryRun?: true;
  gpus?: number;
  seed?: number;
  file?: string;
  speed?: number;
  loop?: true;
  hostFilter?: string;
  restamp?: true;
  nvidiaSmiPath?: string;
  url?: string;
}

/** The options of a section win over its keys, one by one. */
function withOptions(config: AgentConfig, raw: RawOptions): AgentConfig {
  return {
    ...config,
    server: over(config.server, {
      addr: raw.server,
      server_name: raw.serverName,
      transport: raw.transport,
      node_id: raw.nodeId,
    }),
    security: over(config.security, {
      tls_cert_path: raw.cert,
      tls_key_path: raw.key,
      tls_ca_path: raw.ca,
    }),
    collect: over(config.collect, {
      sources: raw.source,
      interval_secs: raw.interval,
      max_batch_samples: raw.maxBatch,
    }),
    spool: over(config.spool, { dir: raw.spoolDir, max_bytes: raw.spoolBytes }),
    nvidia_smi: over(config.nvidia_smi, { command: raw.nvidiaSmiPath }),
    prometheus: over(config.prometheus, { url: raw.url }),
    csv: over(config.csv, {
      path: raw.file,
      speed: raw.speed,
      loop: raw.loop,
      restamp: raw.restamp,
      node: raw.hostFilter,
    }),
    simulate: over(config.simulate, { gpus: raw.gpus, seed: raw.seed }),
    observability: over(config.observability, {
      metrics_addr: raw.metricsAddr,
      log_level: raw.logLevel,
      log_format: raw.logFormat,
    }),
  };
}

/** `section` with the values of `given` that are not undefined. */
function over<T extends object>(section: T, given: { [K in keyof T]?: T[K] | undefined }): T {
  const set = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...section, ...Object.fromEntries(set) };
}

function defineCommand(): Command {
  const command = new Command('telemetry-agent')
    .argument('[config]', 'configuration file, YAML; options override it')
    .description('Sends metrics of this node to a telemetry collector over QUIC with mutual TLS.')
    .version(programVersion())
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
    .addOption(
      new Option(
        '--transport <kind>',
        'QUIC, TLS over TCP, or QUIC with TLS where it is blocked (default: auto)',
      ).choices([...TRANSPORT_CHOICES]),
    )
    .option('--cert <file>', 'client certificate chain, PEM, leaf first')
    .option('--key <file>', 'private key of the certificate, PEM')
    .option('--ca <file>', 'authorities that sign the collector’s certificate, PEM')
    .option('--server-name <name>', 'DNS name in the collector’s certificate (default: the host)')
    .option('--node-id <id>', 'node of the metrics (default: from the certificate)');
}

function addRunOptions(command: Command): void {
  command
    .option(
      '--interval <seconds>',
      'time between collections; 0: as fast as acked (default: 10)',
      parseSeconds,
    )
    .option('--once', 'collect and send once, then exit')
    .option('--count <n>', 'collect and send this many times, then exit', parseCount)
    .option('--spool-dir <dir>', 'keep unacknowledged batches here across restarts')
    .option('--spool-bytes <size>', 'bytes of unacknowledged batches (default: 64MiB)', parseSize)
    .option('--max-batch <n>', 'largest number of samples in a batch (default: 1000)', parseCount)
    .option('--metrics-addr <addr:port>', 'serve /metrics, /healthz and /readyz here')
    .addOption(
      new Option('--log-level <level>', 'lowest level that is logged (default: info)').choices([
        ...['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
      ]),
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
    .option('--gpus <n>', 'simulate: number of GPUs (default: 8)', parseCount)
    .option('--seed <n>', 'simulate: the same seed gives the same values', parseInteger)
    .option('--file <file>', 'csv: the DCGM export to replay')
    .option('--speed <factor>', 'csv: with moved timestamps; 0: without pauses', parseSeconds)
    .option('--loop', 'csv: start over at the end')
    .option('--host-filter <hostname>', 'csv: only rows of this Hostname')
    .option('--restamp', 'csv: move the timestamps to now; --loop does so too')
    .option('--nvidia-smi-path <file>', 'nvidia-smi: the program')
    .option('--url <url>', 'prometheus: the page to scrape');
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
