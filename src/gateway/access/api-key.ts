/**
 * API keys as text: `tk_<id>_<secret>`. The id is public and names the key in lists and logs. Only
 * a hash of the secret is stored. The secret has 256 random bits, so one round of SHA-256 is
 * enough: there is nothing to guess that a slow hash would protect.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

const ID_BYTES = 6;
const SECRET_BYTES = 32;
const KEY = /^tk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/;

export interface KeyParts {
  readonly id: string;
  readonly secret: string;
}

/** A new key; `text` is shown to its owner once. */
export function mintKey(): { readonly id: string; readonly text: string; readonly hash: string } {
  const id = randomBytes(ID_BYTES).toString('hex');
  const secret = randomBytes(SECRET_BYTES).toString('base64url');
  return { id, text: `tk_${id}_${secret}`, hash: hashSecret(secret) };
}

/** The parts of `text`; undefined where it has not the form of a key. */
export function parseKey(text: string): KeyParts | undefined {
  const [, id, secret] = KEY.exec(text) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}

/** SHA-256 in hexadecimal: what the keys file holds. */
export function hashSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

/** Whether `secret` is the one behind `hash`; takes the same time whatever differs. */
export function isSecretOf(secret: string, hash: string): boolean {
  return timingSafeEqual(Buffer.from(hashSecret(secret), 'hex'), Buffer.from(hash, 'hex'));
}
