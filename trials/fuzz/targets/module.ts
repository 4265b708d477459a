/**
 * The boundary of quinn.wasm, both ways: bytes of the network as the module takes them, and calls
 * of a host that has gone mad. Whatever comes, a call returns, or the instance traps and the next
 * one works; input from the network must not even trap.
 */
import { AddressBook } from '../../../src/transport/quinn/module-records.ts';
import type { QuinnModule } from '../../../src/transport/quinn/quinn-module.ts';
import { buildInitial, captureClientHello } from '../../flood/attacks/initial-packets.ts';
import { type FuzzTarget, must } from '../fuzz-target.ts';
import { checkedRecords, datagramsOf, PairMaker, turn } from '../module-pair.ts';

/** Instances grow and never shrink; one that has grown to this is a finding. */
const MEMORY_MAX = 128 << 20;
const HOST_PORT = 3333;
const LENGTHS = 4096;
const CALL_BYTES = 14;
const CALLS_MAX = 64;
/** Cases that a connection which the calls have ended may still serve; a new one takes 12 ms. */
const CASES_AFTER_END = 20;
/** Lengths below this flag are wrong ones, most of them: each costs an instance. */
const HOSTILE_FLAGS = 8;

/** Turns of the module over damaged input, framing included. */
export async function moduleInputTarget(): Promise<FuzzTarget> {
  const maker = await PairMaker.create();
  const pair = maker.connected();
  const hello = buildInitial(captureClientHello(), Buffer.alloc(8, 1), Buffer.alloc(0));
  pair.client.calls.connection_ping(0);
  const live = datagramsOf(turn(pair.client, [], HOST_PORT));
  return {
    name: 'module-input',
    what: 'datagrams as quinn.wasm takes them',
    seeds: [[hello], [...live, hello], [hello, Buffer.alloc(40, 0x41), hello], live].map(framed),
    tokens: [Buffer.alloc(16), Buffer.from([0xff, 0xff]), Buffer.from([0, 0, 0, 1]), hello],
    run(input) {
      const { server } = pair;
      const length = server.put(input.subarray(0, server.inputBytes));
      checkedRecords(server.run(length));
      must(server.memoryBytes <= MEMORY_MAX, 'memory is bounded');
    },
    async check() {
      const { server } = pair;
      must(server.calls.connections() >= 0 && server.panic === '', 'the instance lives');
      must(maker.connected().server.panic === '', 'another one can be made');
    },
  };
}

/** Calls of the host with numbers, streams, codes and lengths of every kind. */
export async function moduleCallsTarget(): Promise<FuzzTarget> {
  const maker = await PairMaker.create();
  let pair = maker.connected();
  let casesAfterEnd = 0;
  return {
    name: 'module-calls',
    what: 'calls of the host, with wrong lengths and handles',
    seeds: SEED_CALLS.map((calls) => Buffer.concat(calls)),
    tokens: [
      Buffer.from('ffffffff', 'hex'),
      Buffer.from('000000000000f87f', 'hex'),
      Buffer.alloc(4),
    ],
    run(input) {
      try {
        play(pair.server, input);
        pair.exchange();
        casesAfterEnd += pair.server.calls.connections() === 1 ? 0 : 1;
      } catch (error) {
        if (!isTrap(error)) throw error;
        must(hasHostileLength(input, pair.server.inputBytes), 'only a wrong length traps');
        casesAfterEnd = CASES_AFTER_END;
      }
      must(pair.server.memoryBytes <= MEMORY_MAX, 'memory is bounded');
      if (casesAfterEnd < CASES_AFTER_END) return;
      casesAfterEnd = 0;
      pair = maker.connected();
    },
  };
}

function framed(datagrams: readonly Buffer[]): Buffer {
  const octets = new AddressBook(false).octetsOf('127.0.0.1');
  return Buffer.concat(
    datagrams.map((datagram) => {
      const header = Buffer.alloc(20);
      header.writeUInt16LE(datagram.length, 0);
      header.writeUInt16LE(HOST_PORT, 2);
      octets.copy(header, 4);
      const padding = Buffer.alloc((4 - (datagram.length % 4)) % 4);
      return Buffer.concat([header, datagram, padding]);
    }),
  );
}

/** A panic, or what the engine says of code that went wrong. */
function isTrap(error: unknown): boolean {
  return error instanceof Error && error.name === 'RuntimeError';
}

/** A call of 14 bytes: which one, a flag, a number, and eight bytes as a double or a length. */
interface Call {
  readonly which: number;
  readonly flag: number;
  readonly handle: number;
  readonly value: number;
  readonly length: number;
}

function* callsOf(input: Buffer): Generator<Call> {
  const end = Math.min(input.length - CALL_BYTES, CALLS_MAX * CALL_BYTES);
  for (let at = 0; at <= end; at += CALL_BYTES) {
    const flag = input[at + 1]!;
    const length = input.readUInt32LE(at + 6);
    yield {
      which: input[at]! % PLAYS.length,
      flag,
      handle: input.readUInt32LE(at + 2),
      value: input.readDoubleLE(at + 6),
      length: flag < HOSTILE_FLAGS ? length : length % LENGTHS,
    };
  }
}

type Play = (module: QuinnModule, call: Call) => void;

/** Those before `FIRST_WITHOUT_LENGTH` hand a length on. */
const PLAYS: readonly Play[] = [
  ({ calls }, { handle, value, flag, length }) =>
    void calls.stream_write(handle, value, length, flag & 1),
  ({ calls }, { handle, flag, length }) => calls.connection_close(handle, flag, length),
  ({ calls }, { flag, length }) => calls.credentials_add(flag, length),
  ({ calls }, { length }) => void calls.run(length),
  ({ calls }, { handle, value, flag }) => void calls.stream_write(handle, value, flag, flag & 1),
  ({ calls }, { handle, flag }) => void calls.stream_open(handle, flag & 1),
  ({ calls }, { handle }) => calls.connection_give_up(handle),
  ({ calls }, { handle, flag }) => calls.connection_pause(handle, flag & 1),
  ({ calls }, { handle }) => calls.connection_ping(handle),
  ({ calls }, { handle, length, flag }) =>
    calls.set_bounds(handle, length, handle, flag, flag, length),
  ({ calls }, { handle, length, flag }) =>
    calls.set_limits(flag & 1, flag & 2, handle, length, length),
  ({ calls }) => void calls.use_for_server(),
  ({ calls }, { flag, handle }) => void calls.connect(flag, handle),
  ({ calls }) => calls.output_taken(),
  ({ calls }) => void [calls.next_due_ms(), calls.retries(), calls.allocated_bytes()],
  ({ calls }, { handle }) => calls.credentials_host_key(handle),
];
const FIRST_WITHOUT_LENGTH = 4;

function play(module: QuinnModule, input: Buffer): void {
  for (const call of callsOf(input)) PLAYS[call.which]?.(module, call);
}

function hasHostileLength(input: Buffer, inputBytes: number): boolean {
  return [...callsOf(input)].some(
    ({ which, length }) => which < FIRST_WITHOUT_LENGTH && length > inputBytes,
  );
}

function call(which: number, flag: number, handle: number, value: number): Buffer {
  const bytes = Buffer.alloc(CALL_BYTES);
  bytes[0] = which;
  bytes[1] = flag;
  bytes.writeUInt32LE(handle, 2);
  if (which < FIRST_WITHOUT_LENGTH && which > 0) bytes.writeUInt32LE(value, 6);
  else bytes.writeDoubleLE(value, 6);
  return bytes;
}

const SEED_CALLS: readonly Buffer[][] = [
  [call(5, 1, 0, 0), call(4, 100, 0, 3), call(14, 0, 0, 0)],
  [call(7, 1, 0, 0), call(8, 0, 0, 0), call(7, 0, 0, 0), call(4, 11, 0, 1)],
  [call(5, 0, 0, 0), call(5, 0, 7, 0), call(4, 200, 0, 2 ** 40), call(6, 0, 0, 0)],
  [call(11, 0, 0, 0), call(10, 3, 100, 100), call(15, 0, 0, 0), call(12, 9, 443, 0)],
  [call(4, 5, 0, 2), call(4, 5, 0, 6), call(4, 5, 0, 3)],
  [call(1, 7, 0, 20), call(3, 0, 0, 0), call(13, 0, 0, 0)],
];
