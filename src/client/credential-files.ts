/**
 * The agent's certificate files. A pair that cannot work is found out here, with the file's name,
 * and not by a handshake that fails somewhere else.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import { errorMessage, OperatingError } from '../lib/errors.ts';
import type { QuicCredentials } from '../transport/quic-endpoint.ts';

export interface CredentialFiles {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}

/** Reads and checks the three files. Throws OperatingError BAD_CREDENTIALS. */
export function readCredentials(files: CredentialFiles): QuicCredentials {
  const certPem = read(files.certFile, 'certificate');
  const keyPem = read(files.keyFile, 'private key');
  const caPem = read(files.caFile, 'authority');
  const certificate = parse(files.certFile, () => new X509Certificate(certPem));
  parse(files.caFile, () => new X509Certificate(caPem));
  const key = parse(files.keyFile, () => createPrivateKey(keyPem));
  if (!certificate.checkPrivateKey(key)) {
    throw bad(files.keyFile, `it is not the key of the certificate in ${files.certFile}`);
  }
  return { certPem, keyPem, caPem };
}

function read(file: string, what: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    throw bad(file, `the ${what} is not readable: ${errorMessage(error)}`, error);
  }
}

function parse<T>(file: string, parseIt: () => T): T {
  try {
    return parseIt();
  } catch (error) {
    throw bad(file, `it is not PEM of the expected kind: ${errorMessage(error)}`, error);
  }
}

function bad(file: string, why: string, cause?: unknown): OperatingError {
  return new OperatingError('BAD_CREDENTIALS', `cannot use ${file}: ${why}`, { cause });
}
