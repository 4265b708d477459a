/**
 * The first bytes of a datagram: what a stranger can write without any key.
 */
import { systemClock } from '../../../src/lib/clock.ts';
import { judgeStranger } from '../../../src/transport/quiche/acceptor.ts';
import { buildRefusal } from '../../../src/transport/connection-refusal.ts';
import {
  CONNECTION_ID_BYTES,
  isLongHeader,
  parseLongHeader,
  shortHeaderKey,
} from '../../../src/transport/packet-header.ts';
import { RetryTokens } from '../../../src/transport/quiche/retry-token.ts';
import { type FuzzTarget, must } from '../fuzz-target.ts';

const FROM = { host: '192.0.2.1', port: 4433 };
const LOAD = {
  isAccepting: true,
  connections: 0,
  maxConnections: 10,
  handshakes: 0,
  maxHandshakes: 10,
  alwaysRetry: false,
};

/** Headers, and the verdict on the stranger who wrote them. */
export function packetHeaderTarget(): FuzzTarget {
  const tokens = new RetryTokens(systemClock);
  const id = Buffer.alloc(CONNECTION_ID_BYTES, 7);
  const token = tokens.mint(FROM, Buffer.alloc(8, 1), id);
  return {
    name: 'packet-headers',
    what: 'long and short headers, retry tokens, verdicts on strangers',
    seeds: [
      longHeader(0xc3, 1, id, Buffer.alloc(8, 2), token),
      longHeader(0xc0, 1, Buffer.alloc(8, 1), Buffer.alloc(20, 2), Buffer.alloc(0)),
      longHeader(0xd0, 1, id, id),
      longHeader(0xe0, 0x0a0a0a0a, Buffer.alloc(20, 1), Buffer.alloc(0)),
      Buffer.concat([Buffer.from([0x43]), id, Buffer.alloc(40, 9)]),
    ],
    tokens: [token, id, Buffer.from([0, 0, 0, 1]), Buffer.alloc(1200)],
    run(input) {
      if (input.length === 0) return;
      const key = shortHeaderKey(input);
      must(key === undefined || key.length === CONNECTION_ID_BYTES, 'a key is as long as an id');
      if (!isLongHeader(input)) return;
      const header = parseLongHeader(input);
      if (header === undefined) return;
      const { destinationId, sourceId } = header;
      must(destinationId.length <= 20 && sourceId.length <= 20, 'ids have at most 20 bytes');
      const verdict = judgeStranger(header, 1200, FROM, LOAD, tokens);
      const isForged = !Buffer.from(header.token).equals(token);
      must(verdict.kind !== 'accept_retried' || !isForged, 'only a token of ours is accepted');
      must(buildRefusal(destinationId, sourceId, 2, 'no').length < 200, 'a refusal is small');
    },
  };
}

function longHeader(first: number, version: number, to: Buffer, from: Buffer, token?: Buffer) {
  const fixed = Buffer.alloc(5);
  fixed[0] = first;
  fixed.writeUInt32BE(version, 1);
  const ids = [Buffer.from([to.length]), to, Buffer.from([from.length]), from];
  const tokenParts = token === undefined ? [] : [Buffer.from([token.length]), token];
  return Buffer.concat([fixed, ...ids, ...tokenParts, Buffer.alloc(30, 0x44)]);
}
