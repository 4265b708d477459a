import { expect, test } from 'vitest';
import {
  judgeAnswer,
  parseRetryAfter,
} from '../../../../src/collector/writers/influx/write-outcome.ts';

const NOW = Date.UTC(2026, 0, 31, 12);

test.each([
  ['7', 7000],
  [' 120 ', 120_000],
  ['Sat, 31 Jan 2026 12:00:30 GMT', 30_000],
  ['Sat, 31 Jan 2026 11:00:00 GMT', 0],
  ['soon', 0],
  ['-5', 0],
  ['99999999', 300_000],
  [undefined, 0],
])('Retry-After %j asks for %i ms', (header, expected) => {
  expect(parseRetryAfter(header, NOW)).toBe(expected);
});

test.each([
  [200, 'written'],
  [201, 'written'],
  [204, 'written'],
  [302, 'failed'],
  [400, 'poison'],
  [401, 'failed'],
  [413, 'too_large'],
  [422, 'poison'],
  [429, 'failed'],
  [500, 'failed'],
])('an empty answer of status %i is %s', (status, kind) => {
  expect(judgeAnswer(status, '', undefined, NOW).kind).toBe(kind);
});

test('the message is the server’s own, on one line and short', () => {
  const said = (body: string) => judgeAnswer(500, body, undefined, NOW);
  expect(said('{"code":"x","message":"engine\\n closed"}')).toMatchObject({
    message: 'engine closed',
  });
  expect(said('<html>\n <b>Bad</b>\u0007')).toMatchObject({ message: '<html> <b>Bad</b>' });
  expect(said('')).toMatchObject({ message: 'HTTP status 500' });
  const long = judgeAnswer(500, 'x'.repeat(5000), undefined, NOW);
  expect(long.kind === 'failed' && long.message.length).toBe(300);
});

test('a message that is no text is not read as one', () => {
  const body = '{"message":{"toString":1},"error":"in words"}';
  expect(judgeAnswer(500, body, undefined, NOW)).toMatchObject({ message: 'in words' });
  const silent = '{"message":{"toString":1}}';
  expect(judgeAnswer(500, silent, undefined, NOW)).toMatchObject({ message: silent });
});
