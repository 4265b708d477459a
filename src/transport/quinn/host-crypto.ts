/**
 * Public-key work for the module: what `native/quinn/src/node_crypto.rs` imports. Node's OpenSSL
 * signs, verifies and agrees on keys in constant time, and twice as fast as code in WebAssembly.
 *
 * Everything takes and gives bytes; a peer's bad bytes give `undefined` or false, never an error.
 */
import {
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';

/** In front of a raw public key to make it an SPKI, in DER. */
const SPKI_P256 = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex');
const SPKI_X25519 = Buffer.from('302a300506032b656e032100', 'hex');
/** Public keys that are kept ready: the authorities' come again with every handshake. */
const KNOWN_KEYS_MAX = 64;

/** An agreed secret and the public half of our key, 32 bytes each. */
export interface Agreement {
  readonly ours: Uint8Array;
  readonly secret: Uint8Array;
}

/** One per module; it remembers public keys, and private keys by the module's numbers. */
export class HostCrypto {
  readonly #publicKeys = new Map<string, KeyObject>();
  readonly #privateKeys: KeyObject[] = [];

  /** The number under which the module signs with `key`, a P-256 key. */
  addPrivateKey(key: KeyObject): number {
    const known = this.#privateKeys.findIndex((other) => other.equals(key));
    return known >= 0 ? known : this.#privateKeys.push(key) - 1;
  }

  /** ECDSA over SHA-256, in DER; undefined where there is no such key. */
  signP256(key: number, message: Uint8Array): Uint8Array | undefined {
    const privateKey = this.#privateKeys[key];
    return privateKey === undefined ? undefined : sign('sha256', message, privateKey);
  }

  /** `point` is the uncompressed public key, `signature` in DER. */
  verifyP256(point: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
    try {
      return verify('sha256', message, this.#publicKey(point), signature);
    } catch {
      // A point that is not on the curve, or a signature that is no DER.
      return false;
    }
  }

  /** A new key of ours, and the secret that it makes with `theirs`. */
  agreeX25519(theirs: Uint8Array): Agreement | undefined {
    try {
      const { publicKey, privateKey } = generateKeyPairSync('x25519');
      const secret = diffieHellman({ privateKey, publicKey: spki(SPKI_X25519, theirs) });
      const ours = publicKey.export({ format: 'der', type: 'spki' }).subarray(SPKI_X25519.length);
      return { ours, secret };
    } catch {
      // A point of small order: the secret would be zero.
      return undefined;
    }
  }

  #publicKey(point: Uint8Array): KeyObject {
    const id = Buffer.from(point).toString('latin1');
    const known = this.#publicKeys.get(id);
    if (known !== undefined) return known;
    const key = spki(SPKI_P256, point);
    if (this.#publicKeys.size < KNOWN_KEYS_MAX) this.#publicKeys.set(id, key);
    return key;
  }
}

function spki(prefix: Buffer, raw: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([prefix, raw]), format: 'der', type: 'spki' });
}
