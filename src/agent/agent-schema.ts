/**
 * Every key of the agent's configuration file: type, bounds, default, meaning. The reader,
 * `agent.example.yaml` and docs/agent-configuration.md derive from this table, as the collector's
 * do from its own.
 */
import { z } from 'zod';
import type { ConfigFormat } from '../config/read-config.ts';
import { TRANSPORT_CHOICES } from '../client/transport-choice.ts';
import { parseSocketAddress } from '../config/socket-address.ts';
import { AGENT_DEFAULTS } from './agent-defaults.ts';
import { SOURCE_KINDS } from './sources/source-kinds.ts';

const count = (min: number, max: number) => z.int().min(min).max(max);
const seconds = (min: number, max: number) => z.number().min(min).max(max);
const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const D = AGENT_DEFAULTS;
const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

const server = z.strictObject({
  addr: z
    .string()
    .default(D.server.addr)
    .describe('The collector, HOST:PORT; IPv6 addresses in brackets (--server).'),
  transport: z
    .enum(TRANSPORT_CHOICES)
    .default(D.server.transport)
    .describe(
      'quic (over UDP), tls (over TCP), or auto: QUIC, and TLS while the network blocks it ' +
        '(--transport).',
    ),
  transport_fallback_secs: seconds(0.1, 300)
    .default(D.server.transport_fallback_secs)
    .describe('With auto: how long QUIC may take to connect before TLS is tried as well.'),
  transport_retry_secs: seconds(1, 86_400)
    .default(D.server.transport_retry_secs)
    .describe('With auto: how often QUIC is tried while the agent sends over TLS.'),
  server_name: z
    .string()
    .default(D.server.server_name)
    .describe("DNS name in the collector's certificate; empty: the host (--server-name)."),
  node_id: z
    .string()
    .default(D.server.node_id)
    .describe(
      'The node that the metrics are about; empty: the one in the certificate (--node-id).',
    ),
});

const security = z.strictObject({
  tls_cert_path: z
    .string()
    .default(D.security.tls_cert_path)
    .describe('Client certificate chain, PEM, leaf first. Read again when it changes (--cert).'),
  tls_key_path: z
    .string()
    .default(D.security.tls_key_path)
    .describe('Private key of the certificate, PEM (--key).'),
  tls_ca_path: z
    .string()
    .default(D.security.tls_ca_path)
    .describe("Authorities that sign the collector's certificate, PEM (--ca)."),
});

const collect = z.strictObject({
  sources: z
    .array(z.enum(SOURCE_KINDS))
    .max(SOURCE_KINDS.length)
    .meta({ allowed: `a list of ${SOURCE_KINDS.join(', ')}` })
    .default([...D.collect.sources])
    .describe('Where metrics come from (--source).'),
  interval_secs: seconds(0, 86_400)
    .default(D.collect.interval_secs)
    .describe(
      'Time between two collections; 0: as fast as the collector acknowledges (--interval).',
    ),
  max_batch_samples: count(1, 1_000_000)
    .default(D.collect.max_batch_samples)
    .describe('Largest number of samples in a batch, if the collector allows it (--max-batch).'),
});

const spool = z.strictObject({
  dir: z
    .string()
    .default(D.spool.dir)
    .describe(
      'Directory that keeps unanswered batches across restarts; empty: in memory (--spool-dir).',
    ),
  max_bytes: count(65_536, 1024 * GIB)
    .default(D.spool.max_bytes)
    .describe('Bytes of unanswered batches; beyond this, new ones are dropped (--spool-bytes).'),
});

const throttle = z.strictObject({
  enabled: z
    .boolean()
    .default(D.throttle.enabled)
    .describe('Collect less often while the spool is more than half full.'),
  max_queue_depth: count(1, 100_000_000)
    .default(D.throttle.max_queue_depth)
    .describe('With this many batches the spool counts as full, even if it has bytes left.'),
  rate: z
    .number()
    .min(0.01)
    .max(1)
    .default(D.throttle.rate)
    .describe('The share of collections that is still made when the spool is full.'),
});

const nvidiaSmi = z.strictObject({
  command: z
    .string()
    .min(1)
    .default(D.nvidia_smi.command)
    .describe('The program (--nvidia-smi-path).'),
  timeout_secs: seconds(0.1, 600)
    .default(D.nvidia_smi.timeout_secs)
    .describe('Time for one answer; without persistence mode it takes seconds.'),
  fields: z
    .array(z.string().min(1))
    .max(500)
    .default([...D.nvidia_smi.fields])
    .describe('Fields besides the identities; empty: about 70; `all`: what the driver lists.'),
  resident: z
    .boolean()
    .default(D.nvidia_smi.resident)
    .describe('Keep one process running that prints its table again and again.'),
});

const prometheus = z.strictObject({
  url: z.string().default(D.prometheus.url).describe('The page to scrape (--url).'),
  timeout_secs: seconds(0.1, 600)
    .default(D.prometheus.timeout_secs)
    .describe('For the whole page.'),
  max_bytes: count(1024, GIB)
    .default(D.prometheus.max_bytes)
    .describe('Bytes of one page, uncompressed; all of it is held in memory while it is read.'),
  max_samples: count(1, 10_000_000)
    .default(D.prometheus.max_samples)
    .describe('Samples of one page; the rest are counted and left out.'),
  headers: z
    .array(z.string().regex(/^[!#$%&'*+.^_`|~\w-]+:/))
    .max(50)
    .meta({ secret: true, allowed: 'a list of at most 50 texts of the form `Name: value`' })
    .default([...D.prometheus.headers])
    .describe('Sent with each request, each as `Name: value`.'),
});

const host = z.strictObject({
  proc_root: z.string().min(1).default(D.host.proc_root).describe('Where /proc is mounted.'),
  file_system_root: z
    .string()
    .min(1)
    .default(D.host.file_system_root)
    .describe('Prefix for mount points, for an agent in a container.'),
  per_core: z
    .boolean()
    .default(D.host.per_core)
    .describe('CPU time of each core instead of the sum: 8 series a core.'),
});

const csv = z.strictObject({
  path: z.string().default(D.csv.path).describe('The DCGM export to replay (--file).'),
  speed: z
    .number()
    .min(0)
    .max(86_400)
    .default(D.csv.speed)
    .describe('Replay speed with moved times: 10 is ten times as fast, 0 has no pauses (--speed).'),
  loop: z.boolean().default(D.csv.loop).describe('Start over at the end (--loop).'),
  restamp: z
    .boolean()
    .default(D.csv.restamp)
    .describe('Move the times to now; `loop` does that too (--restamp).'),
  node: z
    .string()
    .default(D.csv.node)
    .describe('Only rows of this hostname; empty: all (--host-filter).'),
  max_readings: count(1, 1_000_000)
    .default(D.csv.max_readings)
    .describe('Largest number of readings in one collection.'),
});

const simulate = z.strictObject({
  gpus: count(1, 1024).default(D.simulate.gpus).describe('GPUs of the node (--gpus).'),
  seed: count(0, Number.MAX_SAFE_INTEGER)
    .default(D.simulate.seed)
    .describe('The same seed and node give the same values (--seed).'),
  extra_metrics: count(0, 68)
    .default(D.simulate.extra_metrics)
    .describe("Metrics besides dcgm-exporter's 25."),
  job_churn: z
    .boolean()
    .default(D.simulate.job_churn)
    .describe('Start new jobs; false: one job for ever, so the series never change.'),
  job_median_secs: seconds(1, 86_400_000)
    .default(D.simulate.job_median_secs)
    .describe('Median length of a job.'),
  faults_per_gpu_hour: z
    .number()
    .min(0)
    .max(1000)
    .default(D.simulate.faults_per_gpu_hour)
    .describe('XID errors; one in twenty takes the GPU off the bus for a while.'),
});

const observability = z.strictObject({
  metrics_addr: z
    .string()
    .refine((text) => text === '' || parseSocketAddress(text) !== undefined)
    .meta({ allowed: 'an IP address and a port, for example 127.0.0.1:9092, or empty' })
    .default(D.observability.metrics_addr)
    .describe('TCP address of /metrics, /healthz and /readyz; empty: none (--metrics-addr).'),
  log_level: z
    .enum(LOG_LEVELS)
    .default(D.observability.log_level)
    .describe('Lowest level that is logged (--log-level).'),
  log_format: z
    .enum(['auto', 'json', 'pretty'])
    .default(D.observability.log_format)
    .describe('auto: pretty on a terminal, JSON otherwise (--log-format).'),
});

const agentSchema = z.strictObject({
  server: server.prefault({}).describe('Where to send, and as which node.'),
  security: security
    .prefault({})
    .describe('Certificates, PEM files. The agent and the collector authenticate each other.'),
  collect: collect.prefault({}).describe('What is collected, and how often.'),
  spool: spool.prefault({}).describe('Where batches wait until the collector has answered.'),
  throttle: throttle
    .prefault({})
    .describe(
      'Fewer collections while the collector cannot keep up, so that the spool does not fill.',
    ),
  nvidia_smi: nvidiaSmi.prefault({}).describe('The source nvidia-smi.'),
  prometheus: prometheus.prefault({}).describe('The source prometheus.'),
  host: host.prefault({}).describe('The source host.'),
  csv: csv.prefault({}).describe('The source csv.'),
  simulate: simulate.prefault({}).describe('The source simulate.'),
  observability: observability.prefault({}).describe("The agent's own health."),
});

/** The whole configuration, defaults filled in; field names are those of the YAML file. */
export type AgentConfig = Readonly<z.infer<typeof agentSchema>>;

/** How the agent's configuration is read. What must hold between keys is asked of the settings. */
export const AGENT_FORMAT: ConfigFormat<AgentConfig> = {
  schema: agentSchema,
  overridePrefix: 'TELEMETRY_AGENT_',
  brokenLaws: () => [],
};
