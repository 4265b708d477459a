/**
 * Metrics of the listener. What happens per frame or per datagram is counted in plain numbers by
 * those who see it and read here when Prometheus asks.
 */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { QuicCounters, QuicRefusal } from '../../transport/quic-endpoint.ts';
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
  /** Where the numbers come from that are read at scrape time. */
  observe(snapshot: () => ListenerSnapshot): void;
}

const PREFIX = 'telemetry_collector_listener_';

export function createListenerMetrics(registry: Registry): ListenerMetrics {
  const accepted = counter(registry, 'connections_accepted_total', ACCEPTED_HELP);
  const closed = counter(registry, 'connections_closed_total', CLOSED_HELP, ['by', 'reason']);
  const failures = counter(registry, 'handshake_failures_total', FAILURES_HELP, ['by', 'reason']);
  const refusals = counter(registry, 'refused_total', REFUSED_HELP, ['reason']);
  const reloads = counter(registry, 'tls_reloads_total', RELOADS_HELP);
  const reloadFailures = counter(registry, 'tls_reload_failures_total', RELOAD_FAILURES_HELP);
  const valid = gauge(registry, 'tls_credentials_valid', VALID_HELP);
  const expiry = gauge(registry, 'tls_certificate_expiry_timestamp_seconds', EXPIRY_HELP);
  const denied = gauge(registry, 'denylist_entries', DENIED_HELP);
  const denylistValid = gauge(registry, 'denylist_valid', DENYLIST_VALID_HELP);
  const denylistFailures = counter(registry, 'denylist_reload_failures_total', DENYLIST_HELP);
  denylistValid.set(1);
  let isFirstLoad = true;
  let read: () => ListenerSnapshot = () => NOT_STARTED;
  const snapshot = () => read();
  registerGauges(registry, snapshot);
  registerTotals(registry, snapshot);
  registerFrames(registry, snapshot);
  return {
    connectionAccepted: () => accepted.inc(),
    connectionClosed: (by, reason) => closed.inc({ by, reason }),
    handshakeFailed: (by, reason) => failures.inc({ by, reason }),
    refused: (why) => refusals.inc({ reason: why }),
    credentialsLoaded({ validToMs }) {
      valid.set(1);
      expiry.set(Math.floor(validToMs / 1000));
      if (!isFirstLoad) reloads.inc();
      isFirstLoad = false;
    },
    credentialReloadFailed() {
      valid.set(0);
      reloadFailures.inc();
    },
    denylistLoaded(entries) {
      denied.set(entries);
      denylistValid.set(1);
    },
    denylistReloadFailed() {
      denylistValid.set(0);
      denylistFailures.inc();
    },
    observe(source) {
      read = source;
    },
  };
}

const NOT_STARTED: ListenerSnapshot = {
  connections: 0,
  handshakes: 0,
  streams: 0,
  framesInFlight: 0,
  unfinishedFrameBytes: 0,
  ackBytesQueued: 0,
  isPaused: false,
  receiveBufferBytes: 0,
  traffic: {
    framesBidi: 0,
    framesUni: 0,
    streamBytes: 0,
    acksSent: 0,
    streamResets: 0,
    readingPauses: 0,
  },
  quic: {
    datagramsReceived: 0,
    bytesReceived: 0,
    datagramsSent: 0,
    bytesSent: 0,
    socketErrors: 0,
    datagramsDropped: 0,
    retriesSent: 0,
  },
};

const ACCEPTED_HELP = 'Connections whose handshake completed and whose certificate was verified.';
const CLOSED_HELP =
  'Authenticated connections that ended, by the side that ended them and the reason.';
const FAILURES_HELP =
  'Handshakes that failed, by the side that gave up and the reason, for example unknown_ca.';
const REFUSED_HELP = 'Datagrams that opened no connection and belonged to none, by reason.';
const RELOADS_HELP = 'Times that new TLS credentials were taken up while running.';
const RELOAD_FAILURES_HELP =
  'Times that changed TLS files were unusable and the credentials in use were kept.';
const VALID_HELP =
  'Whether the TLS files were usable when last read; 0 means that older credentials are in use.';
const EXPIRY_HELP = 'When the certificate in use expires, as a Unix time in seconds.';
const DENIED_HELP = 'Certificates that security.denylist_path turns away.';
const DENYLIST_VALID_HELP =
  'Whether the denylist was usable when last read; 0 means that an older one is in use.';
const DENYLIST_HELP = 'Times that a changed denylist was unusable and the one in use was kept.';

type Read = (snapshot: ListenerSnapshot) => number;

const GAUGES: readonly (readonly [name: string, help: string, read: Read])[] = [
  [
    'connections',
    'Connections at present, those in their handshake included.',
    (s) => s.connections,
  ],
  ['handshakes', 'Handshakes in flight.', (s) => s.handshakes],
  ['streams', 'Streams of agents that are open.', (s) => s.streams],
  ['frames_in_flight', 'Frames received and not yet answered.', (s) => s.framesInFlight],
  [
    'unfinished_frame_bytes',
    'Bytes held of frames that have not arrived whole.',
    (s) => s.unfinishedFrameBytes,
  ],
  ['ack_bytes_queued', 'Bytes of answers that flow control holds back.', (s) => s.ackBytesQueued],
  [
    'socket_receive_buffer_bytes',
    'Receive buffer that the kernel gave to the UDP socket; server.socket_buffer_bytes is asked for.',
    (s) => s.receiveBufferBytes,
  ],
  [
    'reading_paused',
    'Whether streams are not being read because of backpressure.',
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
    'Datagrams that the system would not send, and other errors of the socket.',
    (s) => s.quic.socketErrors,
  ],
  [
    'datagrams_dropped_total',
    'Datagrams that the kernel dropped because the socket was not read in time (Linux only).',
    (s) => s.quic.datagramsDropped,
  ],
  [
    'retries_sent_total',
    'Strangers that were asked to prove their address before a handshake.',
    (s) => s.quic.retriesSent,
  ],
];

function registerGauges(registry: Registry, snapshot: () => ListenerSnapshot): void {
  for (const [name, help, read] of GAUGES) {
    const collect = function (this: Gauge) {
      this.set(read(snapshot()));
    };
    new Gauge({ name: PREFIX + name, help, registers: [registry], collect });
  }
}

function registerTotals(registry: Registry, snapshot: () => ListenerSnapshot): void {
  for (const [name, help, read] of TOTALS) {
    const collect = function (this: Counter) {
      this.reset();
      this.inc(read(snapshot()));
    };
    new Counter({ name: PREFIX + name, help, registers: [registry], collect });
  }
}

function registerFrames(registry: Registry, snapshot: () => ListenerSnapshot): void {
  new Counter({
    name: `${PREFIX}frames_total`,
    help: 'Whole frames received, by the kind of stream; those on uni streams are not answered.',
    labelNames: ['stream'],
    registers: [registry],
    collect() {
      const { traffic } = snapshot();
      this.reset();
      this.inc({ stream: 'bidi' }, traffic.framesBidi);
      this.inc({ stream: 'uni' }, traffic.framesUni);
    },
  });
}

function counter(registry: Registry, name: string, help: string, labelNames: string[] = []) {
  return new Counter({ name: PREFIX + name, help, labelNames, registers: [registry] });
}

function gauge(registry: Registry, name: string, help: string) {
  return new Gauge({ name: PREFIX + name, help, registers: [registry] });
}
