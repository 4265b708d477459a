/**
 * Who a certificate speaks for. Pure: takes what the TLS stack has verified already and reads the
 * names in it.
 */
import { X509Certificate } from 'node:crypto';
import { errorMessage } from '../../lib/errors.ts';
import type { PeerIdentity } from '../../domain/telemetry.ts';

const IDENTITY_CHARACTERS_MAX = 255;
const IDENTITIES_MAX = 100;
/** Printable ASCII without spaces: what a DNS name or a node id can be made of, and no more. */
const USABLE_NAME = /^[\x21-\x7e]+$/;
/** The characters that SPIFFE allows in a path segment. */
const SPIFFE_NODE = /^spiffe:\/\/[^/?#]+\/(?:[^?#]*\/)?node\/([A-Za-z0-9._-]+)$/;

export type IdentityResult =
  | { readonly ok: true; readonly identity: PeerIdentity }
  | { readonly ok: false; readonly reason: string };

/** Reads the leaf certificate (DER). Never throws. */
export function readPeerIdentity(leaf: Uint8Array | undefined): IdentityResult {
  if (leaf === undefined) return { ok: false, reason: 'the peer showed no certificate' };
  try {
    return identify(new X509Certificate(leaf));
  } catch (error) {
    return { ok: false, reason: `the certificate cannot be read: ${errorMessage(error)}` };
  }
}

function identify(certificate: X509Certificate): IdentityResult {
  const [first, ...others] = [...new Set(namesOf(certificate))]
    .filter(isUsable)
    .slice(0, IDENTITIES_MAX);
  if (first === undefined) {
    return { ok: false, reason: 'the certificate names no node: no DNS SAN, no SPIFFE node id' };
  }
  const validToMs = Date.parse(certificate.validTo);
  if (Number.isNaN(validToMs)) return { ok: false, reason: 'the certificate has no readable end' };
  return {
    ok: true,
    identity: {
      nodeIds: [first, ...others],
      fingerprint256: certificate.fingerprint256,
      serialNumber: certificate.serialNumber,
      validToMs,
    },
  };
}

/**
 * DNS names, then SPIFFE node ids; the common name only where there is no alternative name at all.
 */
function namesOf(certificate: X509Certificate): string[] {
  const { subjectAltName } = certificate;
  if (subjectAltName === undefined) return commonName(certificate);
  const names = parseAlternativeNames(subjectAltName);
  const dns = names.filter(({ type }) => type === 'DNS').map(({ value }) => value);
  const spiffe = names
    .filter(({ type }) => type === 'URI')
    .map(({ value }) => SPIFFE_NODE.exec(value)?.[1])
    .filter((nodeId) => nodeId !== undefined);
  return [...dns, ...spiffe];
}

function commonName(certificate: X509Certificate): string[] {
  // The subject as text would have to be unescaped; this form is not. Several names are no name.
  const { CN: name } = certificate.toLegacyObject().subject as { CN?: string | string[] };
  return typeof name === 'string' ? [name] : [];
}

function isUsable(name: string): boolean {
  return name.length <= IDENTITY_CHARACTERS_MAX && USABLE_NAME.test(name);
}

export interface AlternativeName {
  readonly type: string;
  readonly value: string;
}

/**
 * Reads `DNS:a.example, URI:spiffe://…, DNS:"a, DNS:b"` as Node prints it: a value with a comma, a
 * quote or something unprintable in it is written as a JSON string. A certificate could otherwise
 * smuggle a second name into one it was issued. Text that does not keep to that form ends the list.
 */
export function parseAlternativeNames(text: string): AlternativeName[] {
  const names: AlternativeName[] = [];
  for (let rest = text; rest !== ''; ) {
    const entry = /^([^:,"]+):(?:("(?:[^"\\]|\\.)*")|([^,"]*))(?:, |$)/.exec(rest);
    if (entry === null) break;
    const [whole, type, quoted, plain] = entry;
    const value = quoted === undefined ? plain : unquote(quoted);
    if (value === undefined) break;
    names.push({ type: type!, value });
    rest = rest.slice(whole.length);
  }
  return names;
}

function unquote(quoted: string): string | undefined {
  try {
    const value: unknown = JSON.parse(quoted);
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}
