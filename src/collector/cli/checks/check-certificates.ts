/**
 * Whether the certificate files can be used: they parse, belong together, are valid now, and
 * contain what agents check.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import type { SecurityConfig } from '../../../config/schema.ts';
import { errorMessage } from '../../../lib/errors.ts';
import { readDenylist } from '../../listener/denylist.ts';
import { type Check, CheckList } from './check.ts';

const DAY_MS = 86_400_000;
const EXPIRY_WARNING_DAYS = 14;
const SERVER_AUTH_OID = '1.3.6.1.5.5.7.3.1';
const CERT_KEY = 'security.tls_cert_path';
const KEY_KEY = 'security.tls_key_path';
const CA_KEY = 'security.tls_ca_path';

/** All checks of the files but the revocation lists; `nowMs` is Unix time in ms. */
export function checkCertificates(security: SecurityConfig, nowMs: number): Check[] {
  const list = new CheckList('certificates');
  const chain = readCertificates(list, CERT_KEY, security.tls_cert_path);
  const authorities = readCertificates(list, CA_KEY, security.tls_ca_path);
  const privateKey = readPrivateKey(list, security.tls_key_path);
  const leaf = chain[0];
  if (leaf !== undefined) {
    const findingsBefore = list.entries.length;
    checkLeaf(list, leaf, security.tls_cert_path);
    checkDates(list, CERT_KEY, chain, nowMs);
    checkChain(list, chain, authorities);
    if (list.entries.length === findingsBefore) {
      list.ok(CERT_KEY, `${security.tls_cert_path}: ${describeChain(chain)}`);
    }
    if (privateKey !== undefined) checkKey(list, leaf, privateKey, security.tls_key_path);
  }
  if (privateKey !== undefined) checkKeyMode(list, security.tls_key_path);
  checkAuthorities(list, authorities, security.tls_ca_path, nowMs);
  checkDenylist(list, security.denylist_path);
  return list.entries;
}

/** Each with its end: the one that ends first ends the chain. */
function describeChain(chain: readonly X509Certificate[]): string {
  return chain
    .map((certificate, index) => {
      const name = index === 0 ? certificate.subjectAltName : undefined;
      return `${name ?? subjectOf(certificate)}, valid until ${dateOf(certificate.validTo)}`;
    })
    .join('; ');
}

function subjectOf(certificate: X509Certificate): string {
  return certificate.subject.replaceAll('\n', ', ');
}

function dateOf(text: string): string {
  return new Date(text).toISOString().slice(0, 10);
}

function readFile(list: CheckList, key: string, path: string): string | undefined {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch (error) {
    const hint =
      `put the file there, or set ${key} to where it is; ` +
      '`telemetry-collector certs` makes certificates for development';
    list.fail(key, `cannot read ${path}: ${errorMessage(error)}`, hint);
    return undefined;
  }
}

function readCertificates(list: CheckList, key: string, path: string): X509Certificate[] {
  const pem = readFile(list, key, path);
  if (pem === undefined) return [];
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) {
    list.fail(key, `${path} holds no certificate`, 'it must be a PEM file of certificates');
  }
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch (error) {
    const hint = `openssl x509 -in ${path} -noout -text says more`;
    list.fail(key, `${path} holds a broken certificate: ${errorMessage(error)}`, hint);
    return [];
  }
}

function readPrivateKey(list: CheckList, path: string): KeyObject | undefined {
  const pem = readFile(list, KEY_KEY, path);
  if (pem === undefined) return undefined;
  try {
    return createPrivateKey(pem);
  } catch (error) {
    const hint = 'it must be a PEM file of one private key without a passphrase';
    list.fail(KEY_KEY, `${path} holds no usable private key: ${errorMessage(error)}`, hint);
    return undefined;
  }
}

function checkLeaf(list: CheckList, leaf: X509Certificate, path: string): void {
  if (leaf.ca) {
    const hint = 'the first certificate of the file must be that of the collector itself';
    list.fail(CERT_KEY, `${path} begins with the certificate of an authority`, hint);
    return;
  }
  // Despite its name, this lists the extended key usage.
  const purposes: readonly string[] | undefined = leaf.keyUsage;
  if (purposes !== undefined && !purposes.includes(SERVER_AUTH_OID)) {
    const hint = 'issue it with the extended key usage serverAuth';
    list.fail(CERT_KEY, `${path} may not be used by a server`, hint);
  }
  if (!/(^|, )DNS:/.test(leaf.subjectAltName ?? '')) {
    const hint = 'issue it with the DNS name that agents connect to';
    list.warn(CERT_KEY, `${path} names no DNS name, so agents will not accept it`, hint);
  }
}

function checkDates(
  list: CheckList,
  key: string,
  certificates: readonly X509Certificate[],
  nowMs: number,
): void {
  for (const certificate of certificates) {
    const name = subjectOf(certificate);
    const untilMs = Date.parse(certificate.validTo);
    if (untilMs <= nowMs) {
      list.fail(key, `${name} expired on ${dateOf(certificate.validTo)}`, 'renew it');
    } else if (Date.parse(certificate.validFrom) > nowMs) {
      const hint = "wait, or correct this machine's clock";
      list.fail(key, `${name} is not valid before ${dateOf(certificate.validFrom)}`, hint);
    } else if (untilMs <= nowMs + EXPIRY_WARNING_DAYS * DAY_MS) {
      const hint = 'renew it; the collector takes it up without a restart';
      list.warn(key, `${name} expires on ${dateOf(certificate.validTo)}`, hint);
    }
  }
}

function checkChain(
  list: CheckList,
  chain: readonly X509Certificate[],
  authorities: readonly X509Certificate[],
): void {
  for (const [index, certificate] of chain.entries()) {
    const issuer = chain[index + 1];
    if (issuer === undefined || isIssuedBy(certificate, issuer)) continue;
    const hint = 'order the file: leaf first, then each authority that signed the one before';
    list.fail(CERT_KEY, `certificate ${index + 1} is not signed by the one that follows`, hint);
    return;
  }
  const last = chain.at(-1);
  if (last === undefined || authorities.length === 0) return;
  if (authorities.some((authority) => isIssuedBy(last, authority))) return;
  const hint = 'right if agents trust another authority; wrong if one authority signs both sides';
  list.warn(CERT_KEY, `no authority of ${CA_KEY} has signed it`, hint);
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function checkKey(list: CheckList, leaf: X509Certificate, key: KeyObject, path: string): void {
  if (leaf.checkPrivateKey(key)) {
    list.ok(KEY_KEY, `${path}: belongs to the certificate`);
    return;
  }
  const hint = `${CERT_KEY} and ${KEY_KEY} must come from the same request`;
  list.fail(KEY_KEY, `${path} is not the key of the certificate`, hint);
}

function checkKeyMode(list: CheckList, path: string): void {
  const mode = fs.statSync(path).mode & 0o777;
  if ((mode & 0o007) === 0) return;
  const message = `${path} is open to every user (mode ${mode.toString(8).padStart(4, '0')})`;
  list.warn(KEY_KEY, message, `chmod 600 ${path}`);
}

function checkAuthorities(
  list: CheckList,
  authorities: readonly X509Certificate[],
  path: string,
  nowMs: number,
): void {
  if (authorities.length === 0) return;
  const before = list.entries.length;
  for (const certificate of authorities) {
    if (certificate.ca) continue;
    const name = subjectOf(certificate);
    const hint = 'only authorities belong there; agents are recognised by who signed them';
    list.fail(CA_KEY, `${path} holds ${name}, which is no authority`, hint);
  }
  checkDates(list, CA_KEY, authorities, nowMs);
  if (list.entries.length > before) return;
  const count = authorities.length === 1 ? '1 authority' : `${authorities.length} authorities`;
  list.ok(CA_KEY, `${path}: ${count}: ${describeChain(authorities)}`);
}

function checkDenylist(list: CheckList, path: string): void {
  if (path === '') return;
  const key = 'security.denylist_path';
  try {
    const { size } = readDenylist(path);
    list.ok(key, `${path}: ${size === 1 ? '1 certificate' : `${size} certificates`} denied`);
  } catch (error) {
    const hint = 'a line holds one serial number in hex or one SHA-256 fingerprint; # is a comment';
    list.fail(key, errorMessage(error), hint);
  }
}
