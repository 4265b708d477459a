/**
 * What an agent reads: a broken collector, or an impostor.
 */
import {
  decodeCollectorMessage,
  encodeAck,
  encodeHello,
} from '../../../src/codec/collector-message.ts';
import { OperatingError } from '../../../src/lib/errors.ts';
import { type FuzzTarget, must } from '../fuzz-target.ts';
import { SAMPLE_HELLO, WIRE_TOKENS } from './wire-samples.ts';

/** Hello and BatchAck. */
export function collectorMessageTarget(): FuzzTarget {
  return {
    name: 'collector-messages',
    what: 'Hello and BatchAck, as agents read them',
    seeds: validMessages(),
    tokens: WIRE_TOKENS,
    run(input) {
      const message = decodeOrRefuse(input);
      if (message === undefined || 'hello' in message) return;
      const { ack } = message;
      must(Number.isSafeInteger(ack.epoch), 'the epoch is a number');
      must(Number.isSafeInteger(ack.sequence), 'the sequence is a number');
      must(typeof ack.status === 'string', 'the status is known');
      must(
        ack.rejections.every(({ reason }) => typeof reason === 'string'),
        'reasons are words',
      );
    },
  };
}

function validMessages(): Buffer[] {
  const hello = encodeHello(SAMPLE_HELLO);
  const ack = encodeAck(
    {
      epoch: 1_753_000_000_000,
      sequence: 7,
      status: 'partial',
      accepted: 3,
      rejected: 2,
      rejections: [{ reason: 'sentinel', count: 2, firstSeries: 'power{gpu="0"}' }],
      retryAfterMs: 250,
      message: 'é',
    },
    7,
  );
  return [Buffer.from(hello), Buffer.from(ack)];
}

function decodeOrRefuse(input: Buffer) {
  try {
    return decodeCollectorMessage(input);
  } catch (error) {
    must(error instanceof OperatingError, 'only an OperatingError is thrown');
    must(error.code === 'BAD_COLLECTOR_MESSAGE', 'its code is BAD_COLLECTOR_MESSAGE');
    return undefined;
  }
}
