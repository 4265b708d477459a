/**
 * What the server behind the InfluxDB writer may answer.
 */
import { judgeAnswer } from '../../../src/collector/writers/influx/write-outcome.ts';
import { type FuzzTarget, must } from '../fuzz-target.ts';

const STATUSES = [200, 201, 204, 301, 400, 401, 404, 408, 413, 422, 429, 500, 503];
const MESSAGE_CHARACTERS_MAX = 300;
const RETRY_AFTER_MS_MAX = 300_000;

/** Body and Retry-After; the first line of the input is the header, the rest the body. */
export function influxAnswerTarget(): FuzzTarget {
  return {
    name: 'influx-answers',
    what: 'status, Retry-After and body of an InfluxDB server',
    seeds: [
      '30\n{"code":"invalid","message":"partial write: field type conflict"}',
      'Wed, 21 Oct 2026 07:28:00 GMT\n{"message":{"toString":1}}',
      '\n<html>bad gateway</html>',
    ].map((text) => Buffer.from(text)),
    tokens: ['{', '}', '[', ']', '"message":', 'null', '-1', '1e9', '\n'].map((text) =>
      Buffer.from(text),
    ),
    run(input) {
      const [header = '', ...body] = input.toString('utf8').split('\n');
      for (const status of STATUSES) {
        const outcome = judgeAnswer(status, body.join('\n'), header, 1_753_000_000_000);
        if (outcome.kind === 'written') continue;
        must(outcome.message.length <= MESSAGE_CHARACTERS_MAX, 'the message is short');
        must(outcome.message !== '', 'there is a message');
        if (outcome.kind !== 'failed') continue;
        const { retryAfterMs } = outcome;
        must(retryAfterMs >= 0 && retryAfterMs <= RETRY_AFTER_MS_MAX, 'the wait is bounded');
      }
    },
  };
}
