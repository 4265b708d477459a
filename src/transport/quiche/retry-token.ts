/**
 * Address validation without memory (RFC 9000 section 8.1): a token that only this process could
 * have made, for this address, this retry and the next half minute. Whoever brings it back receives
 * at the address it sends from.
 *
 *   expiry, ms of the clock (6 bytes) | MAC (16 bytes) | original destination id (8..20 bytes)
 *
 * The key changes now and then; the one before it stays good for as long as its tokens live.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';
import type { QuicAddress } from '../quic-endpoint.ts';

const TOKEN_LIFETIME_MS = 30_000;
const KEY_LIFETIME_MS = 3_600_000;
const EXPIRY_BYTES = 6;
const MAC_BYTES = 16;
const HEAD_BYTES = EXPIRY_BYTES + MAC_BYTES;

/** Makes and checks the tokens by which peers prove their address. */
export class RetryTokens {
  readonly #clock: Clock;
  #key = randomBytes(32);
  #previousKey = this.#key;
  #keyChangesAtMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#keyChangesAtMs = clock.monotonicMs() + KEY_LIFETIME_MS;
  }

  /**
   * `originalId` is the client's first destination id, `retryId` the one that the retry tells it.
   */
  mint(from: QuicAddress, originalId: Uint8Array, retryId: Uint8Array): Buffer {
    this.#changeKeyWhenOld();
    const token = Buffer.alloc(HEAD_BYTES + originalId.length);
    token.writeUIntBE(Math.floor(this.#clock.monotonicMs()) + TOKEN_LIFETIME_MS, 0, EXPIRY_BYTES);
    token.set(originalId, HEAD_BYTES);
    token.set(authenticate(this.#key, token, from, retryId), EXPIRY_BYTES);
    return token;
  }

  /** The original destination id, or undefined for a token that is forged, foreign or expired. */
  open(token: Uint8Array, from: QuicAddress, retryId: Uint8Array): Buffer | undefined {
    this.#changeKeyWhenOld();
    const copy = Buffer.from(token);
    if (copy.length <= HEAD_BYTES) return undefined;
    const mac = copy.subarray(EXPIRY_BYTES, HEAD_BYTES);
    const isOurs = [this.#key, this.#previousKey].some((key) =>
      timingSafeEqual(mac, authenticate(key, copy, from, retryId)),
    );
    if (!isOurs || copy.readUIntBE(0, EXPIRY_BYTES) < this.#clock.monotonicMs()) return undefined;
    return copy.subarray(HEAD_BYTES);
  }

  #changeKeyWhenOld(): void {
    if (this.#clock.monotonicMs() < this.#keyChangesAtMs) return;
    this.#previousKey = this.#key;
    this.#key = randomBytes(32);
    this.#keyChangesAtMs = this.#clock.monotonicMs() + KEY_LIFETIME_MS;
  }
}

/** The MAC over everything but the MAC's own place; fields of varying length say their length. */
function authenticate(key: Buffer, token: Buffer, from: QuicAddress, retryId: Uint8Array): Buffer {
  return createHmac('sha256', key)
    .update(token.subarray(0, EXPIRY_BYTES))
    .update(`${from.host} ${from.port} ${retryId.length} `)
    .update(retryId)
    .update(token.subarray(HEAD_BYTES))
    .digest()
    .subarray(0, MAC_BYTES);
}
