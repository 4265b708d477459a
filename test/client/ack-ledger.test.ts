import { expect, test } from 'vitest';
import { AckLedger, type PendingBatch } from '../../src/client/ack-ledger.ts';

const BYTES = 100;

function ledgerWith(count: number, options: { maxBatches?: number; maxBytes?: number } = {}) {
  const ledger = new AckLedger({
    maxInFlightBatches: options.maxBatches ?? 4,
    maxInFlightBytes: options.maxBytes ?? 1_000_000,
    firstPosition: 1,
  });
  for (let position = 1; position <= count; position += 1) ledger.add(batch(position));
  return ledger;
}

function batch(position: number): PendingBatch {
  return { position, sampleCount: 10, bytes: BYTES, state: 'ready', firstSentMs: undefined };
}

/** Sends all that may be sent and returns the numbers. */
function send(ledger: AckLedger): number[] {
  const sent: number[] = [];
  for (let next = ledger.next(); next !== undefined; next = ledger.next()) {
    ledger.markSent(next, 0);
    sent.push(next.position);
  }
  return sent;
}

test('batches go out in order, as many as may be in flight', () => {
  const ledger = ledgerWith(10);
  expect(send(ledger)).toEqual([1, 2, 3, 4]);
  ledger.settle(1);
  expect(send(ledger)).toEqual([5]);
});

test('a collector with a smaller window limits the span, also of what is sent again', () => {
  const ledger = ledgerWith(10, { maxBatches: 8 });
  expect(send(ledger)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  ledger.connectionLost();
  ledger.limitTo(3);
  expect(send(ledger)).toEqual([1, 2, 3]);
  for (const position of [2, 3]) ledger.settle(position);
  expect(send(ledger)).toEqual([]);
  ledger.settle(1);
  expect(send(ledger)).toEqual([4, 5, 6]);
  ledger.limitTo(0);
  for (const position of [4, 5, 6]) ledger.settle(position);
  expect(send(ledger)).toEqual([7, 8, 9, 10]);
});

test('a missing answer holds the numbers behind it within the in-flight span', () => {
  const ledger = ledgerWith(10);
  send(ledger);
  for (const position of [2, 3, 4]) ledger.settle(position);
  expect(send(ledger)).toEqual([]);
  ledger.settle(1);
  expect(send(ledger)).toEqual([5, 6, 7, 8]);
});

test('what was in flight when the connection was lost goes out again first, in order', () => {
  const ledger = ledgerWith(6);
  send(ledger);
  ledger.settle(2);
  ledger.connectionLost();
  expect(send(ledger)).toEqual([1, 3, 4]);
  expect(ledger.inFlight).toBe(3);
});

test('a throttled batch is sent again before newer ones, and alone', () => {
  const ledger = ledgerWith(6);
  send(ledger);
  for (const position of [3, 1, 2, 4]) ledger.throttle(position);
  expect(send(ledger)).toEqual([1]);
  ledger.settle(1);
  expect(send(ledger)).toEqual([2, 3]);
  ledger.settle(2);
  ledger.settle(3);
  expect(send(ledger)).toEqual([4, 5, 6]);
});

test('an answer to a batch that is not in flight is not taken', () => {
  const ledger = ledgerWith(2);
  expect(ledger.settle(1)).toBeUndefined();
  send(ledger);
  expect(ledger.settle(7)).toBeUndefined();
  expect(ledger.settle(1)?.position).toBe(1);
  expect(ledger.settle(1)).toBeUndefined();
  expect(ledger.throttle(1)).toBeUndefined();
});

test('gaps in the numbers are passed over', () => {
  const ledger = ledgerWith(0, { maxBatches: 64 });
  for (const position of [5, 6, 40, 41]) ledger.add(batch(position));
  expect(send(ledger)).toEqual([5, 6, 40, 41]);
  ledger.connectionLost();
  expect(send(ledger)).toEqual([5, 6, 40, 41]);
});

test('bytes in flight are bounded, and one batch always may go', () => {
  const ledger = ledgerWith(5, { maxBytes: 2 * BYTES });
  expect(send(ledger)).toEqual([1, 2]);
  const tiny = ledgerWith(2, { maxBytes: 1 });
  expect(send(tiny)).toEqual([1]);
});

test('the counts of what waits come down to nothing', () => {
  const ledger = ledgerWith(3);
  expect([ledger.size, ledger.samples]).toEqual([3, 30]);
  send(ledger);
  ledger.settle(1);
  expect(ledger.clear().map((left) => left.position)).toEqual([2, 3]);
  expect([ledger.size, ledger.samples, ledger.inFlight]).toEqual([0, 0, 0]);
});
