import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { RetryTokens } from '../../../src/transport/quiche/retry-token.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';

const FROM = { host: '192.0.2.1', port: 4433 };
const ORIGINAL_ID = randomBytes(8);
const RETRY_ID = randomBytes(20);

describe('a retry token', () => {
  function fresh() {
    const clock = new FakeClock(0);
    const tokens = new RetryTokens(clock);
    return { clock, tokens, token: tokens.mint(FROM, ORIGINAL_ID, RETRY_ID) };
  }

  test('gives back the original id to the address it was made for', () => {
    const { tokens, token } = fresh();
    expect(tokens.open(token, FROM, RETRY_ID)).toEqual(ORIGINAL_ID);
  });

  test('is worth nothing to another address, another port or after another retry', () => {
    const { tokens, token } = fresh();
    expect(tokens.open(token, { ...FROM, host: '192.0.2.2' }, RETRY_ID)).toBeUndefined();
    expect(tokens.open(token, { ...FROM, port: 4434 }, RETRY_ID)).toBeUndefined();
    expect(tokens.open(token, FROM, randomBytes(20))).toBeUndefined();
  });

  test('is worth nothing to another process', () => {
    expect(new RetryTokens(new FakeClock(0)).open(fresh().token, FROM, RETRY_ID)).toBeUndefined();
  });

  test('expires', () => {
    const { clock, tokens, token } = fresh();
    clock.advance(29_000);
    expect(tokens.open(token, FROM, RETRY_ID)).toEqual(ORIGINAL_ID);
    clock.advance(2000);
    expect(tokens.open(token, FROM, RETRY_ID)).toBeUndefined();
  });

  test('outlives a change of the key, once', () => {
    const { clock, tokens } = fresh();
    clock.advance(3_595_000);
    const old = tokens.mint(FROM, ORIGINAL_ID, RETRY_ID);
    clock.advance(10_000);
    const young = tokens.mint(FROM, ORIGINAL_ID, RETRY_ID);
    expect(tokens.open(old, FROM, RETRY_ID)).toEqual(ORIGINAL_ID);
    expect(tokens.open(young, FROM, RETRY_ID)).toEqual(ORIGINAL_ID);
  });

  test('is worth nothing with any bit changed, or cut short', () => {
    const { tokens, token } = fresh();
    for (let bit = 0; bit < token.length * 8; bit += 1) {
      const changed = Buffer.from(token);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect(tokens.open(changed, FROM, RETRY_ID)).toBeUndefined();
    }
    for (let length = 0; length < token.length; length += 1) {
      expect(tokens.open(token.subarray(0, length), FROM, RETRY_ID)).toBeUndefined();
    }
  });
});
