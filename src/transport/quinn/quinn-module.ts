/**
 * One instance of `quinn.wasm`: its exports with types, its memory, and what it imports
 * (randomness, clocks, public-key work). Built from `native/quinn` by `npm run build:quinn`.
 *
 * A call may throw a `WebAssembly.RuntimeError`: the module panicked, and the instance must not be
 * used again. `QuinnEndpoint` then starts another one.
 */
import { randomFillSync } from 'node:crypto';
import fs from 'node:fs';
import type { Clock } from '../../lib/clock.ts';
import { packageFile } from '../../lib/package-root.ts';
import { HostCrypto } from './host-crypto.ts';

/** What a failed call returns. */
export const FAILED = -1;
const WASI_SUCCESS = 0;
const WASI_BAD_FILE = 8;
const REALTIME = 0;
const NANOSECONDS_PER_MS = 1e6;
/** rustls and quinn subtract from the present time; the clock must not begin at zero. */
const MONOTONIC_OFFSET_MS = 1e6;

/** The C functions of `native/quinn/src/lib.rs`, where each is described. */
export interface QuinnExports {
  readonly memory: WebAssembly.Memory;
  input(): number;
  input_bytes(): number;
  error(): number;
  error_bytes(): number;
  credentials_reset(): void;
  credentials_add(part: number, length: number): void;
  credentials_host_key(key: number): void;
  set_bounds(
    idleMs: number,
    streamWindow: number,
    connectionWindow: number,
    streamsBidi: number,
    streamsUni: number,
    datagramBytes: number,
  ): void;
  open(isServer: number): number;
  use_for_server(): number;
  use_for_client(): number;
  set_limits(
    isAccepting: number,
    alwaysRetry: number,
    connections: number,
    handshakes: number,
    memoryBytes: number,
  ): void;
  connect(nameBytes: number, port: number): number;
  stream_open(connection: number, isUni: number): number;
  stream_write(connection: number, stream: number, length: number, isLast: number): number;
  connection_close(connection: number, code: number, reasonBytes: number): void;
  connection_give_up(connection: number): void;
  connection_pause(connection: number, isPaused: number): void;
  connection_ping(connection: number): void;
  run(length: number): number;
  output(): number;
  output_taken(): void;
  next_due_ms(): number;
  connections(): number;
  handshakes(): number;
  retries(): number;
  allocated_bytes(): number;
}

/** Reads and compiles `quinn.wasm`, for `QuinnModule`; takes some 15 ms. */
export function compileQuinn(): WebAssembly.Module {
  return new WebAssembly.Module(fs.readFileSync(packageFile('src/transport/quinn/quinn.wasm')));
}

export class QuinnModule {
  readonly crypto = new HostCrypto();
  readonly calls: QuinnExports;
  readonly inputBytes: number;
  readonly #input: number;
  /** What the module said last, before it panicked. */
  #panic = '';
  #memory = Buffer.alloc(0);

  constructor(compiled: WebAssembly.Module, clock: Clock) {
    const instance = new WebAssembly.Instance(compiled, {
      host: this.#host(),
      wasi_snapshot_preview1: this.#system(clock),
    });
    // The names are those of lib.rs; a test calls every one of them.
    this.calls = instance.exports as unknown as QuinnExports;
    this.#input = this.calls.input();
    this.inputBytes = this.calls.input_bytes();
  }

  /** Why the instance ended; '' while it lives. */
  get panic(): string {
    return this.#panic;
  }

  /** Linear memory; it never shrinks. */
  get memoryBytes(): number {
    return this.calls.memory.buffer.byteLength;
  }

  /** Copies `bytes` to the start of the input, or behind `offset`; returns how many. */
  put(bytes: Uint8Array, offset = 0): number {
    this.memory().set(bytes, this.#input + offset);
    return bytes.length;
  }

  /** Writes a datagram's header and the datagram at `offset`; returns where the next one goes. */
  putDatagram(datagram: Uint8Array, octets: Uint8Array, port: number, offset: number): number {
    const memory = this.memory();
    const at = this.#input + offset;
    memory.writeUInt16LE(datagram.length, at);
    memory.writeUInt16LE(port, at + 2);
    memory.set(octets, at + 4);
    memory.set(datagram, at + 20);
    return offset + 20 + Math.ceil(datagram.length / 4) * 4;
  }

  /** A copy of a part of the input. */
  inputPart(offset: number, length: number): Buffer {
    const start = this.#input + offset;
    return Buffer.from(this.memory().subarray(start, start + length));
  }

  /** Runs a turn over `length` bytes of input and returns a copy of the output. */
  run(length: number): Buffer {
    const outputBytes = this.calls.run(length);
    const start = this.calls.output();
    const output = Buffer.from(this.memory().subarray(start, start + outputBytes));
    this.calls.output_taken();
    return output;
  }

  /** The words of the last failed call. */
  error(): string {
    const start = this.calls.error();
    return this.memory().toString('utf8', start, start + this.calls.error_bytes());
  }

  /** The memory as it is now; growth replaces the buffer. */
  memory(): Buffer {
    const { buffer } = this.calls.memory;
    if (this.#memory.buffer !== buffer) this.#memory = Buffer.from(buffer);
    return this.#memory;
  }

  #host(): WebAssembly.ModuleImports {
    const part = (start: number, length: number) => this.memory().subarray(start, start + length);
    return {
      log: (start: number, length: number) => {
        this.#panic = part(start, length).toString('utf8');
      },
      sign_p256: (key: number, message: number, length: number, out: number) => {
        const signature = this.crypto.signP256(key, part(message, length));
        if (signature === undefined) return 0;
        this.memory().set(signature, out);
        return signature.length;
      },
      verify_p256: (
        point: number,
        pointBytes: number,
        message: number,
        messageBytes: number,
        signature: number,
        signatureBytes: number,
      ) => {
        const isGood = this.crypto.verifyP256(
          part(point, pointBytes),
          part(message, messageBytes),
          part(signature, signatureBytes),
        );
        return isGood ? 1 : 0;
      },
      agree_x25519: (theirs: number, ours: number, secret: number) => {
        const agreement = this.crypto.agreeX25519(part(theirs, 32));
        if (agreement === undefined) return 0;
        this.memory().set(agreement.ours, ours);
        this.memory().set(agreement.secret, secret);
        return 1;
      },
    };
  }

  /** The few calls of WASI that Rust's standard library makes here; there are no files. */
  #system(clock: Clock): WebAssembly.ModuleImports {
    return {
      random_get: (start: number, length: number) => {
        randomFillSync(this.memory(), start, length);
        return WASI_SUCCESS;
      },
      clock_time_get: (id: number, _precision: bigint, out: number) => {
        const ms = id === REALTIME ? clock.nowMs() : clock.monotonicMs() + MONOTONIC_OFFSET_MS;
        this.memory().writeBigUInt64LE(BigInt(Math.round(ms * NANOSECONDS_PER_MS)), out);
        return WASI_SUCCESS;
      },
      environ_get: () => WASI_SUCCESS,
      environ_sizes_get: (count: number, bytes: number) => {
        this.memory().writeUInt32LE(0, count);
        this.memory().writeUInt32LE(0, bytes);
        return WASI_SUCCESS;
      },
      fd_write: () => WASI_BAD_FILE,
      proc_exit: (code: number) => {
        throw new WebAssembly.RuntimeError(`the module exited with ${code}`);
      },
    };
  }
}
