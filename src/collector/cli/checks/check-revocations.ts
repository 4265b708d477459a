/**
 * Whether the revocation lists can be used: they parse, a trusted authority has signed each, and
 * none is overdue.
 */
import { X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import type { SecurityConfig } from '../../../config/schema.ts';
import { errorMessage } from '../../../lib/errors.ts';
import { readCrlFile } from '../../listener/crl-file.ts';
import { type Check, CheckList } from './check.ts';

const KEY = 'security.crl_path';

/** Checks the lists; without any there is nothing to say. `nowMs` is Unix time in ms. */
export async function checkRevocations(security: SecurityConfig, nowMs: number): Promise<Check[]> {
  const { crl_path: path, tls_ca_path: caPath } = security;
  const list = new CheckList('certificates');
  if (path === '') return [];
  try {
    const { certificates, nextUpdateMs } = await readCrlFile(path, authoritiesIn(caPath));
    if (nextUpdateMs !== undefined && nextUpdateMs <= nowMs) {
      const due = new Date(nextUpdateMs).toISOString().slice(0, 10);
      const hint = 'fetch the new list from the authority; until then this one is used';
      list.warn(KEY, `${path}: a list was to be replaced on ${due}`, hint);
    } else {
      const count = certificates === 1 ? '1 certificate' : `${certificates} certificates`;
      list.ok(KEY, `${path}: ${count} revoked`);
    }
  } catch (error) {
    const hint = 'PEM or DER, and the authority that signed it must be in security.tls_ca_path';
    list.fail(KEY, errorMessage(error), hint);
  }
  return list.entries;
}

function authoritiesIn(path: string): X509Certificate[] {
  const pem = fs.readFileSync(path, 'utf8');
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}
