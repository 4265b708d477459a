/**
 * What the agent is to do, as its parts want it: the configuration file, with what the command line
 * says on top, and checked as a whole. An error names the option and the key that fix
 * it.
 */
import { isIP } from 'node:net';
import os from 'node:os';
import type { LevelWithSilent } from 'pino';
import type { TransportChoice } from '../client/transport-choice.ts';
import { parseSocketAddress } from '../config/socket-address.ts';
import type { QuicAddress } from '../transport/quic-endpoint.ts';
import type { AgentConfig } from './agent-schema.ts';
import type { SourceOptions } from './sources/open-source.ts';
import { SOURCE_KINDS, type SourceKind } from './sources/source-kinds.ts';

/** Where to send, and as whom. */
export interface ServerSettings {
  readonly remote: QuicAddress;
  readonly transport: TransportChoice;
  readonly transportFallbackMs: number;
  readonly transportRetryMs: number;
  readonly serverName: string;
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}

export interface ThrottleSettings {
  readonly isEnabled: boolean;
  readonly maxQueueDepth: number;
  /** Of the collections, when the spool is full. */
  readonly rate: number;
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
  readonly throttle: ThrottleSettings;
  /** Of /metrics and the health pages; undefined: none. */
  readonly metrics: { readonly host: string; readonly port: number } | undefined;
  readonly logLevel: LevelWithSilent;
  readonly logFormat: 'json' | 'pretty';
  readonly sources: readonly SourceKind[];
  readonly sourceOptions: SourceOptions;
}

/** How often to collect is no part of a configuration: it is asked for on the command line. */
export interface RunSettings {
  readonly rounds: number | undefined;
  readonly isDryRun: boolean;
}

/** The options, or keys, do not fit together; the message says what to change. */
export class UsageError extends Error {}

/** Throws UsageError. */
export function toSettings(config: AgentConfig, run: RunSettings): AgentSettings {
  const { collect, csv, prometheus, spool, throttle, observability } = config;
  const { sources } = collect;
  if (sources.length === 0) {
    const kinds = SOURCE_KINDS.join(', ');
    throw new UsageError(`no source is given; add --source (collect.sources), one of ${kinds}`);
  }
  if (new Set(sources).size < sources.length) {
    throw new UsageError('a source is given twice; each may be given once');
  }
  if (sources.includes('csv') && csv.path === '') {
    throw new UsageError('--source csv needs a file; add --file EXPORT.csv (csv.path)');
  }
  if (sources.includes('prometheus') && prometheus.url === '') {
    throw new UsageError(
      '--source prometheus needs a page; add --url (prometheus.url), for example ' +
        'http://localhost:9400/metrics',
    );
  }
  const { log_format: logFormat } = observability;
  const automatic = process.stderr.isTTY === true ? 'pretty' : 'json';
  return {
    server: run.isDryRun ? undefined : toServer(config),
    nodeId: config.server.node_id,
    intervalMs: Math.round(collect.interval_secs * 1000),
    rounds: run.rounds,
    spoolDir: spool.dir === '' ? undefined : spool.dir,
    spoolBytes: spool.max_bytes,
    maxBatchSamples: collect.max_batch_samples,
    throttle: {
      isEnabled: throttle.enabled,
      maxQueueDepth: throttle.max_queue_depth,
      rate: throttle.rate,
    },
    metrics: toBind(observability.metrics_addr),
    logLevel: observability.log_level,
    logFormat: logFormat === 'auto' ? automatic : logFormat,
    sources,
    sourceOptions: toSourceOptions(config, run),
  };
}

function toServer({ server, security }: AgentConfig): ServerSettings {
  if (server.addr === '') {
    throw new UsageError(
      'no collector is given; add --server HOST:PORT (server.addr), or --dry-run',
    );
  }
  const remote = parseServer(server.addr);
  return {
    remote,
    transport: server.transport,
    transportFallbackMs: Math.round(server.transport_fallback_secs * 1000),
    transportRetryMs: Math.round(server.transport_retry_secs * 1000),
    serverName: server.server_name === '' ? defaultServerName(remote.host) : server.server_name,
    certFile: required(security.tls_cert_path, '--cert FILE', 'the client certificate'),
    keyFile: required(security.tls_key_path, '--key FILE', 'the private key of the certificate'),
    caFile: required(security.tls_ca_path, '--ca FILE', 'the authority of the collector'),
  };
}

function required(value: string, option: string, what: string): string {
  if (value === '') throw new UsageError(`${what} is missing; add ${option}, or its security key`);
  return value;
}

function parseServer(text: string): QuicAddress {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  if (host === '' || !(port >= 1 && port <= 65_535)) {
    throw new UsageError(
      `--server (server.addr) ${text} is not HOST:PORT, for example collector.example:5001`,
    );
  }
  return { host, port };
}

/** IP addresses in certificates are not matched, so an address needs a name to go with it. */
function defaultServerName(host: string): string {
  if (isIP(host) === 0) return host;
  if (host === '::1' || host.startsWith('127.')) return 'localhost';
  throw new UsageError(
    `the collector is given by address (${host}), and certificates are matched by name; ` +
      'add --server-name (server.server_name) with a DNS name of its certificate',
  );
}

function toBind(address: string): AgentSettings['metrics'] {
  if (address === '') return undefined;
  const bind = parseSocketAddress(address);
  if (bind !== undefined) return bind;
  throw new UsageError(
    `--metrics-addr ${address} is no IP address with a port, for example 127.0.0.1:9092`,
  );
}

function toSourceOptions(config: AgentConfig, run: RunSettings): SourceOptions {
  const { csv, host, nvidia_smi: smi, prometheus, simulate } = config;
  const nodeId = config.server.node_id === '' ? os.hostname() : config.server.node_id;
  const { fields } = smi;
  const periodMs = residentPeriodMs(config, run);
  return {
    simulate: {
      nodeId,
      gpus: simulate.gpus,
      seed: simulate.seed,
      extraMetrics: simulate.extra_metrics,
      jobChurn: simulate.job_churn,
      jobMedianSeconds: simulate.job_median_secs,
      faultsPerGpuHour: simulate.faults_per_gpu_hour,
    },
    nvidiaSmi: {
      command: smi.command,
      timeoutMs: smi.timeout_secs * 1000,
      ...(fields.length === 0 ? {} : { fields: fields[0] === 'all' ? 'all' : fields }),
      ...(periodMs === undefined ? {} : { residentPeriodMs: periodMs }),
    },
    prometheus: {
      url: prometheus.url,
      timeoutMs: prometheus.timeout_secs * 1000,
      maxBytes: prometheus.max_bytes,
      maxSamples: prometheus.max_samples,
      headers: toHeaders(prometheus.headers),
    },
    host: {
      procRoot: host.proc_root,
      fileSystemRoot: host.file_system_root,
      perCore: host.per_core,
    },
    csv: {
      path: csv.path,
      speed: csv.speed,
      loop: csv.loop,
      restamp: csv.restamp || csv.loop,
      maxReadings: csv.max_readings,
      ...(csv.node === '' ? {} : { node: csv.node }),
    },
  };
}

/**
 * A little less than the interval, so that each round finds a new answer; undefined where there
 * will be no other round for which a process could stay.
 */
function residentPeriodMs({ collect, nvidia_smi }: AgentConfig, run: RunSettings) {
  const isRepeated = collect.interval_secs > 0 && run.rounds !== 1 && !run.isDryRun;
  if (!isRepeated || !nvidia_smi.resident) return undefined;
  return Math.max(1, Math.floor(collect.interval_secs * 900));
}

function toHeaders(lines: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
}
