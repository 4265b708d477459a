/**
 * Certificate revocation lists of the authorities, in one file: PEM, one or more, or one in DER. A
 * list counts only if the authority that it names has signed it, so that write access to
 * the file is not enough to lock out a certificate that was not revoked.
 *
 * A list whose `nextUpdate` has passed stays in use and is shown in the metrics. Without it,
 * revoked certificates would get in again; refusing every certificate would turn a missed update
 * into an outage.
 */
import type { X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import 'reflect-metadata'; // The container inside @peculiar/x509 refuses to load without it.
import * as x509 from '@peculiar/x509';
import { errorMessage, OperatingError } from '../../lib/errors.ts';
import { authorityKey, type RevokedSerials } from './trust.ts';

/** A hundred thousand revoked certificates; more than that belongs into shorter lifetimes. */
const FILE_BYTES_MAX = 4 * 1024 * 1024;
const LISTS_MAX = 100;
const PEM_LIST = /-----BEGIN X509 CRL-----[\s\S]*?-----END X509 CRL-----/g;

export interface RevocationLists {
  readonly revoked: RevokedSerials;
  readonly certificates: number;
  /** The earliest `nextUpdate`, Unix ms; undefined where no list has one. */
  readonly nextUpdateMs: number | undefined;
}

/** Reads the file against the authorities in force. Rejects with OperatingError BAD_CRL. */
export async function readCrlFile(
  path: string,
  authorities: readonly X509Certificate[],
): Promise<RevocationLists> {
  const lists = parseLists(path);
  const revoked = new Map<string, Set<string>>();
  let nextUpdateMs: number | undefined;
  let certificates = 0;
  for (const [index, list] of lists.entries()) {
    const signer = await signerOf(list, authorities);
    if (signer === undefined) {
      const why = `list ${index + 1}, of ${list.issuer}, is not signed by an authority of security.tls_ca_path`;
      throw badCrl(path, why);
    }
    const key = authorityKey(signer);
    const serials = revoked.get(key) ?? new Set();
    revoked.set(key, serials);
    for (const { serialNumber } of list.entries) serials.add(canonicalSerial(serialNumber));
    certificates += list.entries.length;
    if (list.nextUpdate !== undefined) {
      nextUpdateMs = Math.min(nextUpdateMs ?? Number.POSITIVE_INFINITY, list.nextUpdate.getTime());
    }
  }
  return { revoked, certificates, nextUpdateMs };
}

function parseLists(path: string): x509.X509Crl[] {
  try {
    const { size } = fs.statSync(path);
    if (size > FILE_BYTES_MAX) throw new Error(`it has ${size} bytes, more than ${FILE_BYTES_MAX}`);
    const bytes = fs.readFileSync(path);
    const blocks = bytes.toString('latin1').match(PEM_LIST);
    if (blocks === null) return [new x509.X509Crl(bytes)];
    if (blocks.length > LISTS_MAX) throw new Error(`it holds more than ${LISTS_MAX} lists`);
    return blocks.map((block) => new x509.X509Crl(block));
  } catch (error) {
    throw badCrl(path, errorMessage(error), error);
  }
}

async function signerOf(
  list: x509.X509Crl,
  authorities: readonly X509Certificate[],
): Promise<X509Certificate | undefined> {
  for (const authority of authorities) {
    const certificate = new x509.X509Certificate(authority.raw);
    if (certificate.subject !== list.issuer) continue;
    if (await list.verify({ publicKey: certificate })) return authority;
  }
  return undefined;
}

/** As Node spells serial numbers: upper case, without leading zero bytes. */
function canonicalSerial(hex: string): string {
  const digits = hex.toUpperCase().replace(/^(00)+(?=..)/, '');
  return digits;
}

function badCrl(path: string, why: string, cause?: unknown): OperatingError {
  return new OperatingError('BAD_CRL', `cannot use security.crl_path ${path}: ${why}`, { cause });
}
