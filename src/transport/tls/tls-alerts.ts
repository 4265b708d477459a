/**
 * TLS alerts as QUIC's close codes (256 + alert), so that a handshake that failed says the same
 * over both transports. Node tells failures by names of OpenSSL's.
 */

/** QUIC counts TLS alerts from here (RFC 9001 section 4.8). */
const CRYPTO_ERROR = 256;
const ALERT = {
  handshakeFailure: 40,
  badCertificate: 42,
  unsupportedCertificate: 43,
  certificateExpired: 45,
  certificateUnknown: 46,
  unknownCa: 48,
  decryptError: 51,
  protocolVersion: 70,
  certificateRequired: 116,
  noApplicationProtocol: 120,
} as const;

/** Verdicts on a certificate (`authorizationError`), and errors of a handshake (`code`). */
const ALERTS: Readonly<Record<string, number>> = {
  CERT_HAS_EXPIRED: ALERT.certificateExpired,
  CERT_NOT_YET_VALID: ALERT.certificateExpired,
  INVALID_PURPOSE: ALERT.unsupportedCertificate,
  UNABLE_TO_GET_ISSUER_CERT: ALERT.unknownCa,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: ALERT.unknownCa,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: ALERT.unknownCa,
  DEPTH_ZERO_SELF_SIGNED_CERT: ALERT.unknownCa,
  SELF_SIGNED_CERT_IN_CHAIN: ALERT.unknownCa,
  INVALID_CA: ALERT.unknownCa,
  CERT_SIGNATURE_FAILURE: ALERT.decryptError,
  ERR_TLS_CERT_ALTNAME_INVALID: ALERT.badCertificate,
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: ALERT.certificateRequired,
  ERR_SSL_NO_APPLICATION_PROTOCOL: ALERT.noApplicationProtocol,
  ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL: ALERT.noApplicationProtocol,
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: ALERT.certificateRequired,
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: ALERT.unknownCa,
  ERR_SSL_TLSV1_ALERT_DECRYPT_ERROR: ALERT.decryptError,
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: ALERT.badCertificate,
  ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE: ALERT.unsupportedCertificate,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: ALERT.certificateExpired,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: ALERT.certificateUnknown,
  ERR_SSL_UNSUPPORTED_PROTOCOL: ALERT.protocolVersion,
};

/** The close code for a verdict or an error of Node's. */
export function closeCodeOf(name: string): number {
  return CRYPTO_ERROR + (ALERTS[name] ?? ALERT.handshakeFailure);
}

/** Whether the peer found fault, not we. */
export function isPeersAlert(name: string): boolean {
  return name.includes('_ALERT_');
}
