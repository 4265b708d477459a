/**
 * Every setting of the daemon in one place: key, type, bounds, default, meaning. The YAML reader,
 * the environment overrides, `config.example.yaml`, docs/configuration.md and the typed `Config`
 * all derive from this table. Sections are in pipeline order and are named like the rooms in
 * src/.
 */
import { z } from 'zod';
import { gatewaySchema } from './gateway-schema.ts';
import { count, GIB, MIB, seconds } from './schema-parts.ts';
import { parseSocketAddress } from './socket-address.ts';

/** `server.tcp_listen_addr` of a collector that takes no TLS over TCP. */
export const NO_TCP = 'off';

/*
 * `describe` says what a key is for. `meta` adds what bounds cannot say: `allowed`, the words for
 * the accepted values, `secret`, for values that are never printed, and `live`, for keys that a
 * reload takes up while the daemon runs. All other keys wait for a restart.
 */
const server = z.strictObject({
  listen_addr: z
    .string()
    .refine((text) => parseSocketAddress(text) !== undefined)
    .meta({ allowed: 'an IP address and a port, for example 0.0.0.0:5001 or [::]:5001' })
    .default('0.0.0.0:5001')
    .describe(
      'UDP address and port of the QUIC endpoint. IPv6 in brackets; port 0 picks a free one.',
    ),
  tcp_listen_addr: z
    .string()
    .refine((text) => text === '' || text === NO_TCP || parseSocketAddress(text) !== undefined)
    .meta({ allowed: 'an IP address and a port, for example 0.0.0.0:5001, or nothing, or off' })
    .default('')
    .describe(
      'TCP address and port for agents whose network blocks UDP: the same certificates and frames ' +
        'over TLS 1.3. Empty: those of server.listen_addr; off: none.',
    ),
  max_connections: count(1, 100_000)
    .default(1000)
    .describe(
      'Connections at once, over UDP and over TCP each; the next one is refused. Each costs about ' +
        '120 kB plus its windows.',
    ),
  connection_timeout_secs: seconds(1, 86_400)
    .default(300)
    .describe('Silence after which a connection is closed. An agent may ask for less.'),
  max_connections_per_node: count(1, 10_000)
    .default(8)
    .describe('Connections at once whose certificates have the same first identity.'),
  handshake_timeout_secs: seconds(0.1, 300)
    .default(10)
    .describe('Time a new connection has to authenticate; after that it is dropped.'),
  max_handshakes: count(1, 100_000)
    .default(256)
    .describe(
      'Handshakes in flight; beyond this, new peers must first prove their address (retry).',
    ),
  quic_stack: z
    .enum(['quinn', 'quiche'])
    .default('quinn')
    .describe(
      'The QUIC implementation: quinn, memory-safe in WebAssembly; or quiche, native, optional, ' +
        'with known holes and for this release only.',
    ),
  transport_max_bytes: count(16 * MIB, 3 * GIB)
    .default(GIB)
    .describe(
      'Memory of the QUIC stack. Beyond it, new peers are refused and handshakes are dropped.',
    ),
  always_retry: z
    .boolean()
    .default(false)
    .describe('Make every new peer prove its address with a retry token: one more round trip.'),
  max_streams_per_connection: count(1, 1000)
    .default(16)
    .describe('Open streams per connection and kind (bidirectional, unidirectional).'),
  stream_window_bytes: count(16_384, 64 * MIB)
    .default(MIB)
    .describe('Unread bytes that a peer may have in flight on one stream.'),
  connection_window_bytes: count(16_384, 256 * MIB)
    .default(2 * MIB)
    .describe(
      'Unread bytes that a peer may have in flight in all: the most memory one connection takes.',
    ),
  max_udp_payload_bytes: count(1200, 65_527)
    .default(1350)
    .describe(
      'Largest datagram sent and accepted. 1350 passes everywhere; raise it on jumbo frames.',
    ),
  socket_buffer_bytes: count(65_536, 256 * MIB)
    .default(4 * MIB)
    .describe('Kernel buffers of the UDP socket, each way; net.core.rmem_max must allow it.'),
  shutdown_timeout_secs: seconds(1, 3600)
    .default(30)
    .describe('How long writers may drain after SIGTERM; the rest stays in the journal.'),
});

const security = z.strictObject({
  tls_cert_path: z
    .string()
    .default('/etc/horizon/certs/server.pem')
    .describe(
      'Certificate chain of the collector, PEM, leaf first. Reloaded on change and on SIGHUP.',
    ),
  tls_key_path: z
    .string()
    .default('/etc/horizon/certs/server-key.pem')
    .describe('Private key of the certificate, PEM.'),
  tls_ca_path: z
    .string()
    .default('/etc/horizon/certs/ca.pem')
    .describe('Authorities that sign agent certificates, PEM, one or more.'),
  denylist_path: z
    .string()
    .default('')
    .describe(
      'File of denied certificates: a serial number (hex) or SHA-256 fingerprint a line. Empty: none.',
    ),
  crl_path: z
    .string()
    .default('')
    .describe(
      'Certificate revocation lists, PEM (one or more) or DER, each signed by an authority of ' +
        'tls_ca_path. Reloaded on change and on SIGHUP. Empty: none.',
    ),
  delegates: z
    .array(z.string().min(1))
    .max(1000)
    .default([])
    .describe('Certificate identities that may send for any node (gateways, replays).')
    .meta({ live: true }),
  readers: z
    .array(z.string().min(1))
    .max(1000)
    .default([])
    .describe('Certificate identities that may read the feed at feed.listen_addr.')
    .meta({ live: true }),
});

const limits = z.strictObject({
  max_cardinality: count(1, 100_000_000)
    .default(100_000)
    .describe(
      'Distinct series at once over all nodes. When all slots are taken, a node with less than ' +
        'an equal share takes slots from the node that has the most. A slot takes 32 to 64 ' +
        'bytes; docs/operating.md, "Sizing", gives the full cost of a series.',
    )
    .meta({ live: true }),
  max_cardinality_per_node: count(1, 100_000_000)
    .default(10_000)
    .describe('Distinct series at once of one node.')
    .meta({ live: true }),
  max_series_text_per_node: count(1024, 64 * GIB)
    .default(16 * MIB)
    .describe('Bytes of names, units and labels in all series of one node.')
    .meta({ live: true }),
  series_ttl_secs: seconds(1, 31_536_000)
    .default(86_400)
    .describe('A series not seen for this long loses its slot.')
    .meta({ live: true }),
  max_batch_size: count(1, 1_000_000).default(1000).describe('Samples in one batch.'),
  max_batch_bytes: count(1024, 64 * MIB)
    .default(MIB)
    .describe('Bytes of one encoded batch, and bytes buffered of one unfinished frame.'),
  max_labels_per_series: count(0, 1000).default(32).describe('Labels of one series.'),
  max_name_bytes: count(1, 65_535)
    .default(256)
    .describe('Bytes of a metric name, a label key or a unit.'),
  max_label_value_bytes: count(1, 65_535).default(1024).describe('Bytes of a label value.'),
  max_timestamp_age_secs: seconds(1, 315_360_000)
    .default(604_800)
    .describe('A sample older than this is rejected.')
    .meta({ live: true }),
  max_timestamp_ahead_secs: seconds(1, 31_536_000)
    .default(300)
    .describe('A sample further in the future than this is rejected.')
    .meta({ live: true }),
  backpressure_threshold: count(1, 10_000_000)
    .default(5000)
    .describe('Batches not yet durable, over all connections. At this number, reading stops.')
    .meta({ live: true }),
  backpressure_bytes: count(MIB, 64 * GIB)
    .default(64 * MIB)
    .describe('Bytes not yet durable, over all connections. At this number, reading stops.')
    .meta({ live: true }),
  node_samples_per_second: z
    .number()
    .min(0)
    .max(1e9)
    .default(0)
    .describe('Samples per second of one node, averaged over ten seconds; 0 = no limit.')
    .meta({ live: true }),
  max_expanded_bytes: count(1024, 64 * MIB)
    .default(16 * 1024)
    .describe('Bytes of line protocol for one sample; a larger sample is rejected.')
    .meta({ live: true }),
  node_expanded_bytes_per_second: count(0, 64 * GIB)
    .default(32 * MIB)
    .describe(
      'Bytes per second of line protocol for the samples of one node, each on a line of ' +
        'its own, averaged over ten seconds. Beyond it, the node is throttled. 0 = no limit.',
    )
    .meta({ live: true }),
  node_table_bytes_per_minute: count(0, 64 * GIB)
    .default(16 * MIB)
    .describe(
      'Bytes of series tables of one node in a minute: that are read because a connection sends ' +
        'them for the first time, and whose series are looked up because the node is not known ' +
        'to have them. Rows count as a table unless they are those of the batch before. Beyond ' +
        'it, the node is throttled. 0 = no limit.',
    )
    .meta({ live: true }),
  max_hours_per_batch: count(1, 100_000)
    .default(24)
    .describe(
      'Different hours that one batch may have samples in; samples of further hours are rejected.',
    )
    .meta({ live: true }),
  node_hours_per_minute: count(0, 100_000)
    .default(96)
    .describe(
      'Different old hours (before the last full one) that one node may send in a minute. ' +
        'Beyond it, the node is throttled. 0 = no limit.',
    )
    .meta({ live: true }),
});

const journal = z.strictObject({
  dir: z
    .string()
    .default('')
    .describe('Directory of the durable log. Empty: `journal` inside parquet.output_dir.'),
  max_bytes: count(16 * MIB, 1024 * 1024 * GIB)
    .default(10 * GIB)
    .describe('Bytes of batches that a writer still has to write. At this, agents are throttled.'),
  min_free_bytes: count(0, 1024 * 1024 * GIB)
    .default(512 * MIB)
    .describe('Agents are throttled when less disk space than this is free.'),
});

const influxdb = z.strictObject({
  url: z
    .url({ protocol: /^https?$/ })
    .meta({ allowed: 'a URL that begins with http:// or https://' })
    .describe('Base URL of a server that speaks /api/v2/write.'),
  org: z.string().describe('InfluxDB organisation.'),
  bucket: z.string().describe('InfluxDB bucket.'),
  token: z
    .string()
    .meta({ secret: true })
    .default('')
    .describe(
      'API token. Better to take it from the environment, as shown, than to write it here.',
    ),
  timeout_secs: seconds(0.1, 600).default(10).describe('Time for one write request.'),
  max_batch_bytes: count(1024, 64 * MIB)
    .default(4 * MIB)
    .describe('Line protocol bytes in one write request, before compression.'),
  gzip: z.boolean().default(true).describe('Compress write requests.'),
  measurement_gpu: z
    .string()
    .min(1)
    .default('gpu')
    .describe('Measurement of series that name a GPU.'),
  measurement_node: z.string().min(1).default('node').describe('Measurement of all other series.'),
  tag_labels: z
    .array(z.string().regex(/^(?!label_|_?time$|_measurement$|_field$|_value$|series_hash$)./))
    .max(100)
    .meta({
      allowed:
        'a list of at most 100 label names, none of them reserved by InfluxDB and none with ' +
        '`label_` in front',
    })
    .default([
      'gpu_uuid',
      'gpu_index',
      'gpu_model',
      'gpu_instance_id',
      'gpu_instance_profile',
      'pci_bus_id',
      'link',
      'interface',
      'device',
      'mountpoint',
      'cpu',
      'cluster',
    ])
    .describe(
      'Labels that keep their name, besides GPU and job identities; others become `label_<name>`.',
    ),
});

const parquet = z.strictObject({
  enabled: z.boolean().default(true).describe('Write the warehouse.'),
  output_dir: z
    .string()
    .min(1)
    .default('/var/lib/horizon/telemetry')
    .describe('Root of the warehouse; files appear under `metrics/date=…/hour=…/`.'),
  rotation_interval_secs: seconds(1, 86_400)
    .default(3600)
    .describe('How long rows may wait before they are in a visible file.'),
  compression: z
    .enum(['snappy', 'zstd', 'gzip', 'uncompressed'])
    .default('snappy')
    .describe('Codec of column chunks; zstd makes the smallest files and needs Node 22.15.'),
  encoder: z
    .enum(['hyparquet', 'parquetjs'])
    .default('hyparquet')
    .describe('Library that encodes the files; hyparquet is faster and smaller.'),
  max_file_bytes: count(64 * 1024, 64 * GIB)
    .default(256 * MIB)
    .describe('Files are finished early when one of them holds about this much.'),
  row_group_rows: count(1000, 10_000_000)
    .default(98_304)
    .describe(
      'Largest number of rows in a row group; sealing takes about 100 bytes of memory for each.',
    ),
  memory_bytes: count(64 * MIB, 64 * GIB)
    .default(512 * MIB)
    .describe('Memory for waiting rows and series; at this, files are finished early.'),
  retention_days: z
    .number()
    .min(0)
    .max(36_500)
    .default(0)
    .describe('Files whose hour is older than this are removed; 0 = keep for ever.'),
  retention_bytes: count(0, 1024 * 1024 * GIB)
    .default(0)
    .describe(
      'The oldest hours are removed while the warehouse is larger than this; 0 = no limit.',
    ),
});

const deadLetters = z.strictObject({
  max_node_bytes: count(64 * 1024, 1024 * GIB)
    .default(16 * MIB)
    .describe('Bytes kept of one node, for each writer; the rest is counted, not kept.'),
  max_bytes: count(MIB, 1024 * GIB)
    .default(GIB)
    .describe('Bytes kept for each writer, over all nodes; the rest is counted, not kept.'),
});

const feed = z.strictObject({
  enabled: z
    .boolean()
    .default(false)
    .describe('Serve the feed: records as they become durable, for the gateway and other readers.'),
  socket_path: z
    .string()
    .default('')
    .describe(
      'Unix socket of the feed; its owner and group may connect. Empty: `feed.sock` beside the ' +
        'journal.',
    ),
  listen_addr: z
    .string()
    .refine((text) => text === '' || parseSocketAddress(text) !== undefined)
    .meta({ allowed: 'an IP address and a port, for example 0.0.0.0:5002, or nothing' })
    .default('')
    .describe(
      'TCP address and port of the feed for readers on other hosts: TLS 1.3, and certificates ' +
        'that security.readers names. Empty: none.',
    ),
  max_readers: count(1, 1000).default(8).describe('Readers at once; the next one is refused.'),
  max_queue_bytes: count(64 * 1024, GIB)
    .default(4 * MIB)
    .describe(
      'Bytes that may wait for a reader; more stays in the journal. Each reader takes this much ' +
        'memory, and that of one record and one series table.',
    ),
  stall_timeout_secs: seconds(1, 3600)
    .default(30)
    .describe('A reader that takes nothing of what waits for so long is disconnected.'),
});

const observability = z.strictObject({
  metrics_port: count(0, 65_535)
    .default(9091)
    .describe('TCP port of /metrics, /healthz and /readyz; 0 picks a free one.'),
  metrics_addr: z
    .string()
    .min(1)
    .default('127.0.0.1')
    .describe(
      'Address of that port. The default serves this host only, because the pages name nodes ' +
        'and need no password. 0.0.0.0 serves all addresses; the container image uses it.',
    ),
  log_level: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal'])
    .default('info')
    .describe('Lowest level that is logged.')
    .meta({ live: true }),
  log_format: z
    .enum(['auto', 'json', 'pretty'])
    .default('auto')
    .describe('auto: pretty on a terminal, JSON otherwise.'),
  max_writer_lag_secs: seconds(1, 86_400)
    .default(120)
    .describe(
      'Not ready when a writer is this far behind; for Parquet, this plus its rotation interval.',
    )
    .meta({ live: true }),
  max_stall_secs: seconds(0, 3600)
    .default(10)
    .describe(
      'When the main thread has stood still for this long, the process logs its stack and ends, ' +
        'and a supervisor starts it again. 0 = never.',
    ),
  max_sink_failing_secs: seconds(1, 86_400)
    .default(6)
    .describe('Not ready when a writer has failed, or stood still, for this long.')
    .meta({ live: true }),
});

/** Accepts what the YAML file may say; the result has every default filled in. */
export const configSchema = z.strictObject({
  collector_id: z
    .string()
    .regex(/^[A-Za-z0-9._]{1,64}$/)
    .meta({ allowed: '1 to 64 letters, digits, dots or underscores' })
    .default('collector')
    .describe('Name of this collector, in Hello messages and Parquet file names.'),
  server: server.prefault({}).describe('The QUIC endpoint that agents connect to.'),
  security: security
    .prefault({})
    .describe('Certificates, PEM files. Agents and the collector authenticate each other.'),
  limits: limits.prefault({}).describe('What is admitted, and how much may be in flight.'),
  journal: journal.prefault({}).describe('The durable log between agents and writers.'),
  influxdb: influxdb
    .optional()
    .describe('Live metrics. Without this section, the InfluxDB writer is off.'),
  parquet: parquet.prefault({}).describe('The warehouse.'),
  dead_letters: deadLetters
    .prefault({})
    .describe('What a destination refuses for good is kept in `dead-letter/`, beside the journal.'),
  feed: feed
    .prefault({})
    .describe('Readers of what the collector has acknowledged; docs/feed.md is their protocol.'),
  gateway: gatewaySchema
    .prefault({})
    .describe('The API of telemetry-gateway, a program of its own.'),
  observability: observability.prefault({}).describe("The daemon's own health."),
});

/** The whole configuration, defaults filled in; field names are those of the YAML file. */
export type Config = Readonly<z.infer<typeof configSchema>>;
export type ServerConfig = Config['server'];
export type SecurityConfig = Config['security'];
export type LimitsConfig = Config['limits'];
export type JournalConfig = Config['journal'];
export type InfluxConfig = NonNullable<Config['influxdb']>;
export type ParquetConfig = Config['parquet'];
export type FeedConfig = Config['feed'];
export type GatewayConfig = Config['gateway'];
export type ObservabilityConfig = Config['observability'];
