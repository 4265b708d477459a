/**
 * Laws between keys: what each key allows on its own can still make no sense together.
 */
import path from 'node:path';
import { hasZstd, ZSTD_NODE_VERSION } from '../lib/zstd.ts';
import { withByteUnit } from './describe-config.ts';
import { deadLetterDir, feedSocketPath, journalDir, stagingDir, warehouseDir } from './paths.ts';
import type { Config } from './schema.ts';
import { parseSocketAddress } from './socket-address.ts';

export interface BrokenLaw {
  /** The keys it is about; the first is the one to change. */
  readonly keys: readonly string[];
  /** A sentence that says what is wrong and which key to change. */
  readonly message: string;
}

const DAY_SECS = 86_400;
/**
 * The journal must take a few batches even of the largest kind, or it is full with the first one.
 */
const JOURNAL_BATCHES_MIN = 4;
/** Of a Unix socket: 107 on Linux, 103 on macOS. */
const SOCKET_PATH_BYTES_MAX = 103;

/** Why the daemon cannot run like this; empty when it can. */
export function brokenLaws(config: Config): BrokenLaw[] {
  return [
    ...writerLaws(config),
    ...sizeLaws(config),
    ...retentionLaws(config),
    ...directoryLaws(config),
    ...tagLaws(config),
    ...codecLaws(config),
    ...feedLaws(config),
    ...gatewayLaws(config.gateway),
  ];
}

/** What works but is hardly meant; empty when there is nothing to say. */
export function configRemarks(config: Config): BrokenLaw[] {
  const { limits, parquet, server } = config;
  const remarks: BrokenLaw[] = [];
  if (limits.max_cardinality_per_node > limits.max_cardinality) {
    remarks.push({
      keys: ['limits.max_cardinality_per_node', 'limits.max_cardinality'],
      message:
        `limits.max_cardinality_per_node (${limits.max_cardinality_per_node}) is over ` +
        `limits.max_cardinality (${limits.max_cardinality}), so one node can take every place`,
    });
  }
  const retentionSecs = parquet.retention_days * DAY_SECS;
  if (parquet.enabled && retentionSecs > 0 && limits.max_timestamp_age_secs > retentionSecs) {
    remarks.push({
      keys: ['limits.max_timestamp_age_secs', 'parquet.retention_days'],
      message:
        'samples older than parquet.retention_days are accepted and removed again at once; ' +
        `lower limits.max_timestamp_age_secs to ${retentionSecs}`,
    });
  }
  if (config.feed.enabled && !parquet.enabled) {
    remarks.push({
      keys: ['feed.enabled', 'parquet.enabled'],
      message:
        'without the warehouse, a reader of the feed that falls behind loses what InfluxDB has ' +
        'got already; set parquet.enabled to true',
    });
  }
  const isRemote = config.feed.enabled && config.feed.listen_addr !== '';
  if (isRemote && config.security.readers.length === 0) {
    remarks.push({
      keys: ['security.readers', 'feed.listen_addr'],
      message: 'security.readers is empty, so nobody may read the feed at feed.listen_addr',
    });
  }
  if (server.max_connections_per_node > server.max_connections) {
    remarks.push({
      keys: ['server.max_connections_per_node', 'server.max_connections'],
      message: 'server.max_connections_per_node is over server.max_connections and does nothing',
    });
  }
  return remarks;
}

function writerLaws(config: Config): BrokenLaw[] {
  if (config.parquet.enabled || config.influxdb !== undefined) return [];
  return [
    {
      keys: ['parquet.enabled'],
      message:
        'no writer is on, so nothing would leave the journal; ' +
        'set parquet.enabled to true or add an influxdb section',
    },
  ];
}

function codecLaws({ parquet }: Config): BrokenLaw[] {
  if (!parquet.enabled || parquet.compression !== 'zstd') return [];
  if (parquet.encoder !== 'hyparquet') {
    return [
      {
        keys: ['parquet.compression', 'parquet.encoder'],
        message: `parquet.compression zstd needs parquet.encoder hyparquet, not ${parquet.encoder}`,
      },
    ];
  }
  if (hasZstd()) return [];
  return [
    {
      keys: ['parquet.compression'],
      message:
        `parquet.compression zstd needs Node ${ZSTD_NODE_VERSION} or newer, ` +
        `this is ${process.version}; set it to snappy or gzip`,
    },
  ];
}

function sizeLaws({ server, limits, journal }: Config): BrokenLaw[] {
  const laws: BrokenLaw[] = [];
  if (server.stream_window_bytes > server.connection_window_bytes) {
    laws.push({
      keys: ['server.stream_window_bytes', 'server.connection_window_bytes'],
      message:
        `server.stream_window_bytes is ${withByteUnit(server.stream_window_bytes)}, but must not ` +
        `be over server.connection_window_bytes, ${withByteUnit(server.connection_window_bytes)}`,
    });
  }
  if (limits.backpressure_bytes < limits.max_batch_bytes) {
    laws.push({
      keys: ['limits.backpressure_bytes', 'limits.max_batch_bytes'],
      message:
        `limits.backpressure_bytes is ${withByteUnit(limits.backpressure_bytes)}, but must be at ` +
        `least limits.max_batch_bytes, ${withByteUnit(limits.max_batch_bytes)}`,
    });
  }
  const journalBytesMin = JOURNAL_BATCHES_MIN * limits.max_batch_bytes;
  if (journal.max_bytes <= journalBytesMin) {
    laws.push({
      keys: ['journal.max_bytes', 'limits.max_batch_bytes'],
      message:
        `journal.max_bytes is ${withByteUnit(journal.max_bytes)}, but must be over ` +
        `${withByteUnit(journalBytesMin)}, which is ${JOURNAL_BATCHES_MIN} batches of ` +
        'limits.max_batch_bytes',
    });
  }
  if (limits.max_name_bytes + limits.max_label_value_bytes > limits.max_batch_bytes) {
    laws.push({
      keys: ['limits.max_batch_bytes', 'limits.max_name_bytes', 'limits.max_label_value_bytes'],
      message:
        `limits.max_batch_bytes is ${withByteUnit(limits.max_batch_bytes)}, but must have room ` +
        'for one name and one value of limits.max_name_bytes and limits.max_label_value_bytes',
    });
  }
  return laws;
}

function retentionLaws({ parquet }: Config): BrokenLaw[] {
  if (!parquet.enabled) return [];
  const laws: BrokenLaw[] = [];
  const retentionSecs = parquet.retention_days * DAY_SECS;
  if (retentionSecs > 0 && retentionSecs < parquet.rotation_interval_secs) {
    laws.push({
      keys: ['parquet.retention_days', 'parquet.rotation_interval_secs'],
      message:
        `parquet.retention_days is ${parquet.retention_days}, which is shorter than ` +
        `parquet.rotation_interval_secs, ${parquet.rotation_interval_secs}: ` +
        'files would be removed before they are finished',
    });
  }
  if (parquet.retention_bytes > 0 && parquet.retention_bytes < parquet.max_file_bytes) {
    laws.push({
      keys: ['parquet.retention_bytes', 'parquet.max_file_bytes'],
      message:
        `parquet.retention_bytes is ${withByteUnit(parquet.retention_bytes)}, but must be at ` +
        `least one file of parquet.max_file_bytes, ${withByteUnit(parquet.max_file_bytes)}, or 0`,
    });
  }
  return laws;
}

/** Staging is wiped on start and the warehouse is read by others: nothing else may live there. */
function directoryLaws(config: Config): BrokenLaw[] {
  const taken = [warehouseDir(config), stagingDir(config)];
  const lodgers = [journalDir(config), deadLetterDir(config)];
  const clash = taken.find((folder) => lodgers.some((lodger) => isInside(lodger, folder)));
  if (clash === undefined) return [];
  return [
    {
      keys: ['journal.dir', 'parquet.output_dir'],
      message: `journal.dir is "${config.journal.dir}", but must not lie inside ${clash}`,
    },
  ];
}

/** The kernel cuts a longer path off, or refuses it. */
function feedLaws(config: Config): BrokenLaw[] {
  if (!config.feed.enabled) return [];
  const socketPath = feedSocketPath(config);
  const bytes = Buffer.byteLength(socketPath);
  if (bytes <= SOCKET_PATH_BYTES_MAX) return [];
  return [
    {
      keys: ['feed.socket_path'],
      message:
        `the path of the feed's socket, ${socketPath}, has ${bytes} bytes, but may have ` +
        `${SOCKET_PATH_BYTES_MAX}; set feed.socket_path to a shorter one`,
    },
  ];
}

/** Without keys, the address is all that protects the data; without TLS, keys can be read. */
function gatewayLaws(gateway: Config['gateway']): BrokenLaw[] {
  const { access, listen_addr: address, behind_proxy: behindProxy } = gateway;
  const host = parseSocketAddress(address)?.host ?? '';
  const isLoopback = host === '::1' || host.startsWith('127.');
  const hasTls = gateway.tls_cert_path !== '';
  const laws: BrokenLaw[] = [];
  if (hasTls !== (gateway.tls_key_path !== '')) {
    laws.push({
      keys: ['gateway.tls_cert_path', 'gateway.tls_key_path'],
      message: 'gateway.tls_cert_path and gateway.tls_key_path belong together; set both or none',
    });
  }
  if (access === 'open' && (!isLoopback || behindProxy)) {
    laws.push({
      keys: ['gateway.access', 'gateway.listen_addr', 'gateway.behind_proxy'],
      message:
        `gateway.access is open, so everybody who reaches ${address} may read and write; ` +
        'listen on loopback without a proxy, or set gateway.access to keys',
    });
  }
  if (access === 'keys' && !isLoopback && !hasTls && !behindProxy) {
    laws.push({
      keys: ['gateway.tls_cert_path', 'gateway.listen_addr', 'gateway.behind_proxy'],
      message:
        `API keys would cross the network to ${address} in clear text; set gateway.tls_cert_path, ` +
        'or gateway.behind_proxy where a proxy ends TLS',
    });
  }
  return laws;
}

function isInside(inner: string, outer: string): boolean {
  const relative = path.relative(outer, inner);
  return relative === '' || !(relative.startsWith('..') || path.isAbsolute(relative));
}

function tagLaws({ influxdb }: Config): BrokenLaw[] {
  const labels = influxdb?.tag_labels ?? [];
  const repeated = labels.find(
    (label, index) => label === 'node_id' || labels.indexOf(label) !== index,
  );
  if (repeated === undefined) return [];
  return [
    {
      keys: ['influxdb.tag_labels'],
      message:
        `influxdb.tag_labels names "${repeated}" ` +
        (repeated === 'node_id' ? 'which is always a tag' : 'twice'),
    },
  ];
}
