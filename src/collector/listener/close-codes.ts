/**
 * Application close codes that the collector sends, and a stable word for every way in which a
 * connection can end. The codes stay outside 256..511, which reads as TLS alerts; docs/protocol.md
 * tells agents what to do about each.
 */
import type { QuicCloseReason } from '../../transport/quic-endpoint.ts';

export const CLOSE_CODES = {
  /** The collector is stopping. */
  stopping: 0x1000,
  /** The length of a frame is 0 or over limits.max_batch_bytes. */
  bad_frame_length: 0x1001,
  /** The certificate names no usable identity. */
  identity: 0x1002,
  /** server.max_connections_per_node. */
  node_connections: 0x1003,
  /** The peer does not read its acknowledgements. */
  unread_acks: 0x1004,
  /** The certificate expired while connected. */
  certificate_expired: 0x1005,
  /** A stream ended inside a frame, or too many frames were begun and not finished. */
  misuse: 0x1006,
  /** security.denylist_path names the certificate. */
  certificate_denied: 0x1007,
  /** A list of security.crl_path names the certificate, or one between it and its root. */
  certificate_revoked: 0x1008,
  /** No authority of security.tls_ca_path vouches for the certificate any more. */
  certificate_untrusted: 0x1009,
} as const;

export type CloseWord = keyof typeof CLOSE_CODES;

const WORD_BY_CODE: ReadonlyMap<number, string> = new Map(
  Object.entries(CLOSE_CODES).map(([word, code]) => [code, word]),
);

/** TLS alerts as RFC 8446 section 6 names them. */
const TLS_ALERTS: ReadonlyMap<number, string> = new Map([
  [0, 'close_notify'],
  [10, 'unexpected_message'],
  [20, 'bad_record_mac'],
  [40, 'handshake_failure'],
  [42, 'bad_certificate'],
  [43, 'unsupported_certificate'],
  [44, 'certificate_revoked'],
  [45, 'certificate_expired'],
  [46, 'certificate_unknown'],
  [47, 'illegal_parameter'],
  [48, 'unknown_ca'],
  [49, 'access_denied'],
  [50, 'decode_error'],
  [51, 'decrypt_error'],
  [70, 'protocol_version'],
  [71, 'insufficient_security'],
  [80, 'tls_internal_error'],
  [90, 'user_canceled'],
  [109, 'missing_extension'],
  [112, 'unrecognized_name'],
  [116, 'certificate_required'],
  [120, 'no_application_protocol'],
]);

/** QUIC transport errors, RFC 9000 section 20.1. */
const TRANSPORT_ERRORS = [
  'no_error',
  'internal_error',
  'connection_refused',
  'flow_control_error',
  'stream_limit_error',
  'stream_state_error',
  'final_size_error',
  'frame_encoding_error',
  'transport_parameter_error',
  'connection_id_limit_error',
  'protocol_violation',
  'invalid_token',
  'application_error',
  'crypto_buffer_exceeded',
  'key_update_error',
  'aead_limit_reached',
  'no_viable_path',
];

/** A bounded word for a metric label or a log line: why the connection ended. */
export function closeWord(reason: QuicCloseReason): string {
  if (reason.by === 'idle') return 'idle_timeout';
  if (reason.by === 'handshake-timeout') return 'handshake_timeout';
  if (reason.isApplication) {
    // What codes a peer chooses is its own business; they must not become labels.
    return reason.by === 'local' ? (WORD_BY_CODE.get(reason.code) ?? 'other') : 'application';
  }
  if (reason.code >= 256 && reason.code < 512) {
    return TLS_ALERTS.get(reason.code - 256) ?? 'other_tls_alert';
  }
  return TRANSPORT_ERRORS[reason.code] ?? 'other_transport_error';
}
