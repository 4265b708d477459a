/**
 * Metrics of the listener. What happens per frame or per datagram is counted in plain numbers by
 * those who see it and read here when Prometheus asks.
 */
import type { Registry } from 'prom-client';
import { RoomMetrics } from '../../observability/metrics.ts';
import type { QuicCounters, QuicRefusal } from '../../transport/quic-endpoint.ts';
import type { RevocationLists } from './crl-file.ts';
import type { CertificateFacts } from './tls-credentials.ts';

/** Since the start of the process, over all sessions. */
export interface TrafficCounters {
  /** Whole frames, by the kind of stream they came on. */
  framesBidi: number;
  framesUni: number;
  /** Bytes of streams, frame headers included. */
  streamBytes: number;
  acksSent: number;
  streamResets: number;
  readingPauses: number;
}

/** The state of the listener at one moment. */
export interface ListenerSnapshot {
  readonly connections: number;
  readonly handshakes: number;
  /** Of `connections`, those over TLS and TCP. */
  readonly tcpConnections: number;
  readonly streams: number;
  readonly framesInFlight: number;
  readonly unfinishedFrameBytes: number;
  readonly ackBytesQueued: number;
  readonly isPaused: boolean;
  readonly receiveBufferBytes: number;
  readonly traffic: TrafficCounters;
  readonly quic: QuicCounters;
}

export interface ListenerMetrics {
  connectionAccepted(): void;
  /** An authenticated connection ended. */
  connectionClosed(by: string, reason: string): void;
  handshakeFailed(by: string, reason: string): void;
  refused(why: QuicRefusal): void;
  credentialsLoaded(certificate: CertificateFacts): void;
  credentialReloadFailed(): void;
  denylistLoaded(entries: number): void;
  denylistReloadFailed(): void;
  revocationsLoaded(lists: Pick<RevocationLists, 'certificates' | 'nextUpdateMs'>): void;
  revocationReloadFailed(): void;
  /** Where the numbers come from that are read at scrape time. */
  observe(snapshot: () => ListenerSnapshot): void;
}

/** Creates them on `registry`. */
export function createListenerMetrics(registry: Registry): ListenerMetrics {
  const metrics = new RoomMetrics(registry, 'telemetry_collector_listener_');
  let source: () => ListenerSnapshot = () => NOT_STARTED;
  addSnapshotMetrics(metrics, () => source());
  const accepted = metrics.counter(
    'connections_accepted_total',
    'Connections whose handshake completed and whose certificate was verified.',
  );
  const closed = metrics.counter(
    'connections_closed_total',
    'Authenticated connections that ended, by the side that ended them and the reason.',
    ['by', 'reason'],
  );
  const failures = metrics.counter(
    'handshake_failures_total',
    'Handshakes that failed, by the side that gave up and the reason, for example unknown_ca.',
    ['by', 'reason'],
  );
  const refusals = metrics.counter(
    'refused_total',
    'Datagrams that opened no connection and belonged to none, by reason.',
    ['reason'],
  );
  return {
    connectionAccepted: () => accepted.inc(),
    connectionClosed: (by, reason) => closed.inc({ by, reason }),
    handshakeFailed: (by, reason) => failures.inc({ by, reason }),
    refused: (why) => refusals.inc({ reason: why }),
    ...createCredentialMetrics(metrics),
    ...createDenylistMetrics(metrics),
    ...createRevocationMetrics(metrics),
    observe(snapshot) {
      source = snapshot;
    },
  };
}

function createCredentialMetrics(
  metrics: RoomMetrics,
): Pick<ListenerMetrics, 'credentialsLoaded' | 'credentialReloadFailed'> {
  const state = { isValid: false, expiryS: 0, isFirstLoad: true };
  const reloads = metrics.counter(
    'tls_reloads_total',
    'Times that new TLS credentials were taken up while running.',
  );
  const reloadFailures = metrics.counter(
    'tls_reload_failures_total',
    'Times that changed TLS files were unusable and the credentials in use were kept.',
  );
  metrics.gauge(
    'tls_credentials_valid',
    'Whether the TLS files were usable when last read; 0 means that older credentials are in use.',
    () => (state.isValid ? 1 : 0),
  );
  metrics.gauge(
    'tls_certificate_expiry_timestamp_seconds',
    'When the certificate in use expires, as a Unix time in seconds.',
    () => state.expiryS,
  );
  return {
    credentialsLoaded({ validToMs }) {
      if (!state.isFirstLoad) reloads.inc();
      Object.assign(state, {
        isValid: true,
        expiryS: Math.floor(validToMs / 1000),
        isFirstLoad: false,
      });
    },
    credentialReloadFailed() {
      state.isValid = false;
      reloadFailures.inc();
    },
  };
}

function createRevocationMetrics(
  metrics: RoomMetrics,
): Pick<ListenerMetrics, 'revocationsLoaded' | 'revocationReloadFailed'> {
  const state = { isValid: true, certificates: 0, nextUpdateMs: 0 };
  const failures = metrics.counter(
    'crl_reload_failures_total',
    'Times that changed revocation lists were unusable and those in use were kept.',
  );
  metrics.gauge(
    'crl_entries',
    'Certificates that the lists of security.crl_path revoke.',
    () => state.certificates,
  );
  metrics.gauge(
    'crl_valid',
    'Whether the revocation lists were usable when last read; 0 means that older ones are in use.',
    () => (state.isValid ? 1 : 0),
  );
  metrics.gauge(
    'crl_next_update_timestamp_seconds',
    'When the first revocation list is due to be replaced, as a Unix time in seconds; 0 if there is none.',
    () => Math.floor(state.nextUpdateMs / 1000),
  );
  return {
    revocationsLoaded({ certificates, nextUpdateMs = 0 }) {
      Object.assign(state, { isValid: true, certificates, nextUpdateMs });
    },
    revocationReloadFailed() {
      state.isValid = false;
      failures.inc();
    },
  };
}

function createDenylistMetrics(
  metrics: RoomMetrics,
): Pick<ListenerMetrics, 'denylistLoaded' | 'denylistReloadFailed'> {
  const state = { isValid: true, entries: 0 };
  const failures = metrics.counter(
    'denylist_reload_failures_total',
    'Times that a changed denylist was unusable and the one in use was kept.',
  );
  metrics.gauge(
    'denylist_entries',
    'Certificates that security.denylist_path turns away.',
    () => state.entries,
  );
  metrics.gauge(
    'denylist_valid',
    'Whether the denylist was usable when last read; 0 means that an older one is in use.',
    () => (state.isValid ? 1 : 0),
  );
  return {
    denylistLoaded(entries) {
      state.entries = entries;
      state.isValid = true;
    },
    denylistReloadFailed() {
      state.isValid = false;
      failures.inc();
    },
  };
}

/** Before the first connection. */
export const NO_TRAFFIC: TrafficCounters = {
  framesBidi: 0,
  framesUni: 0,
  streamBytes: 0,
  acksSent: 0,
  streamResets: 0,
  readingPauses: 0,
};

const NOT_STARTED: ListenerSnapshot = {
  connections: 0,
  handshakes: 0,
  tcpConnections: 0,
  streams: 0,
  framesInFlight: 0,
  unfinishedFrameBytes: 0,
  ackBytesQueued: 0,
  isPaused: false,
  receiveBufferBytes: 0,
  traffic: NO_TRAFFIC,
  quic: {
    datagramsReceived: 0,
    bytesReceived: 0,
    datagramsSent: 0,
    bytesSent: 0,
    socketErrors: 0,
    datagramsDropped: 0,
    retriesSent: 0,
    panics: 0,
    memoryBytes: 0,
    isDown: false,
  },
};

type Read = (snapshot: ListenerSnapshot) => number;

const GAUGES: readonly (readonly [name: string, help: string, read: Read])[] = [
  ['connections', 'Connections now, including those in their handshake.', (s) => s.connections],
  [
    'tcp_connections',
    'Connections over TLS and TCP (server.tcp_listen_addr).',
    (s) => s.tcpConnections,
  ],
  ['handshakes', 'Handshakes in flight.', (s) => s.handshakes],
  ['streams', 'Streams of agents that are open.', (s) => s.streams],
  ['frames_in_flight', 'Frames received and not yet answered.', (s) => s.framesInFlight],
  [
    'unfinished_frame_bytes',
    'Buffered bytes of frames that are not complete yet.',
    (s) => s.unfinishedFrameBytes,
  ],
  ['ack_bytes_queued', 'Bytes of answers that flow control holds back.', (s) => s.ackBytesQueued],
  [
    'socket_receive_buffer_bytes',
    'Receive buffer that the kernel gave the UDP socket; server.socket_buffer_bytes is the size asked for.',
    (s) => s.receiveBufferBytes,
  ],
  [
    'transport_memory_bytes',
    'Memory of the quinn stack, which never shrinks; 0 with quiche.',
    (s) => s.quic.memoryBytes,
  ],
  [
    'transport_down',
    'Whether the QUIC stack has failed and has not started again yet: 1 or 0.',
    (s) => (s.quic.isDown ? 1 : 0),
  ],
  [
    'reading_paused',
    'Whether reading is paused because of backpressure: 1 or 0.',
    (s) => (s.isPaused ? 1 : 0),
  ],
];

const TOTALS: readonly (readonly [name: string, help: string, read: Read])[] = [
  ['stream_bytes_total', 'Bytes read from streams.', (s) => s.traffic.streamBytes],
  ['acks_sent_total', 'Batch acknowledgements written to streams.', (s) => s.traffic.acksSent],
  ['stream_resets_total', 'Streams that agents gave up.', (s) => s.traffic.streamResets],
  ['reading_pauses_total', 'Times that reading was paused.', (s) => s.traffic.readingPauses],
  ['datagrams_received_total', 'UDP datagrams received.', (s) => s.quic.datagramsReceived],
  ['datagrams_sent_total', 'UDP datagrams sent.', (s) => s.quic.datagramsSent],
  ['datagram_bytes_received_total', 'Bytes of UDP payload received.', (s) => s.quic.bytesReceived],
  ['datagram_bytes_sent_total', 'Bytes of UDP payload sent.', (s) => s.quic.bytesSent],
  [
    'socket_errors_total',
    'Datagrams that the system did not send, and other errors of the socket.',
    (s) => s.quic.socketErrors,
  ],
  [
    'datagrams_dropped_total',
    'Datagrams that the kernel dropped because the socket was not read in time (Linux only).',
    (s) => s.quic.datagramsDropped,
  ],
  [
    'retries_sent_total',
    'Retry packets sent: new peers asked to prove their address before a handshake.',
    (s) => s.quic.retriesSent,
  ],
  [
    'transport_panics_total',
    'Times that the QUIC stack failed; each time all its connections were lost.',
    (s) => s.quic.panics,
  ],
];

function addSnapshotMetrics(metrics: RoomMetrics, snapshot: () => ListenerSnapshot): void {
  for (const [name, help, read] of GAUGES) metrics.gauge(name, help, () => read(snapshot()));
  for (const [name, help, read] of TOTALS) metrics.total(name, help, () => read(snapshot()));
  metrics.totalBy(
    ['stream'],
    'frames_total',
    'Whole frames received, by the kind of stream; those on uni streams are not answered.',
    () => {
      const { framesBidi, framesUni } = snapshot().traffic;
      return [
        [{ stream: 'bidi' }, framesBidi],
        [{ stream: 'uni' }, framesUni],
      ];
    },
  );
}
