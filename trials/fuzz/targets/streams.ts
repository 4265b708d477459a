/**
 * What somebody with a certificate may write on streams, at a real listener with a neighbour on it.
 */
import { encodeFrame } from '../../../src/codec/framing.ts';
import type { QuicCredentials } from '../../../src/transport/quic-endpoint.ts';
import { type FuzzTarget, must } from '../fuzz-target.ts';
import { ListenerUnderFire, type Peer } from '../listener-under-fire.ts';
import { validBatches, WIRE_TOKENS } from './wire-samples.ts';

/** One input in so many goes on the stream as it is, without a frame around it. */
const BARE_EVERY = 50;
const QUEUED_BYTES_MAX = 256 * 1024;

/** Frames of one connection; a new one is made when the listener has had enough. */
export async function streamTarget(): Promise<FuzzTarget> {
  const fire = await ListenerUnderFire.open();
  const attacker = new Attacker(fire, await fire.credentials('attacker'));
  let cases = 0;
  return {
    name: 'streams',
    what: 'streams of an authenticated peer at a real listener',
    seeds: validBatches(),
    tokens: [...WIRE_TOKENS, Buffer.alloc(4), Buffer.from('fffffffe', 'hex')],
    async run(input) {
      cases += 1;
      const isBare = input.length % BARE_EVERY === 0;
      await attacker.write(isBare ? input : encodeFrame(input));
      // Half a frame would swallow the cases after it.
      if (isBare) await attacker.leave();
    },
    async check() {
      await fire.assertWell();
      must(fire.framesReceived > cases / 2, `most cases arrive, of ${cases}`);
    },
    async close() {
      await attacker.leave();
      await fire.close();
    },
  };
}

class Attacker {
  readonly #fire: ListenerUnderFire;
  readonly #credentials: QuicCredentials;
  #peer: Peer | undefined;
  #streamId: number | undefined;

  constructor(fire: ListenerUnderFire, credentials: QuicCredentials) {
    this.#fire = fire;
    this.#credentials = credentials;
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#peer?.isOpen !== true) {
      await this.leave();
      this.#peer = await this.#fire.connect('attacker', this.#credentials);
      this.#streamId = this.#peer.connection.openStream('bidi');
    }
    const { connection } = this.#peer;
    if (this.#streamId !== undefined) connection.write(this.#streamId, bytes);
    while (this.#peer.isOpen && connection.queuedBytes > QUEUED_BYTES_MAX) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async leave(): Promise<void> {
    await this.#peer?.endpoint.close(7, 'next');
    this.#peer = undefined;
  }
}
