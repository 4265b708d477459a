/**
 * What the agent does by default. Apart from the schema, because an agent that is
 * given options alone needs neither the schema nor a YAML reader: together they take 20 MB.
 */
import type { LevelWithSilent } from 'pino';
import type { TransportChoice } from '../client/transport-choice.ts';
import type { SourceKind } from './sources/source-kinds.ts';

const MIB = 1024 * 1024;

/** A configuration without a key; `AGENT_FORMAT` takes every default from here. */
export const AGENT_DEFAULTS = {
  server: {
    addr: '',
    transport: 'auto' as TransportChoice,
    transport_fallback_secs: 3,
    transport_retry_secs: 600,
    server_name: '',
    node_id: '',
  },
  security: { tls_cert_path: '', tls_key_path: '', tls_ca_path: '' },
  collect: { sources: [] as SourceKind[], interval_secs: 10, max_batch_samples: 1000 },
  spool: { dir: '', max_bytes: 64 * MIB },
  throttle: { enabled: true, max_queue_depth: 10_000, rate: 0.5 },
  nvidia_smi: { command: 'nvidia-smi', timeout_secs: 20, fields: [] as string[], resident: true },
  prometheus: {
    url: '',
    timeout_secs: 10,
    max_bytes: 32 * MIB,
    max_samples: 200_000,
    headers: [] as string[],
  },
  host: { proc_root: '/proc', file_system_root: '/', per_core: false },
  csv: { path: '', speed: 1, loop: false, restamp: false, node: '', max_readings: 10_000 },
  simulate: {
    gpus: 8,
    seed: 1,
    extra_metrics: 0,
    job_churn: true,
    job_median_secs: 616,
    faults_per_gpu_hour: 0.002,
  },
  observability: {
    metrics_addr: '',
    log_level: 'info' as LevelWithSilent,
    log_format: 'auto' as 'auto' | 'json' | 'pretty',
  },
};
