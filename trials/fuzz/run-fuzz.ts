/**
 * Feeds a target its cases and keeps the books: what threw, what took long, what stayed in memory.
 * Case n of a seed is always the same input.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import v8 from 'node:v8';
import vm from 'node:vm';
import { SeededRandom } from '../../src/agent/sources/seeded-random.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { FuzzTarget } from './fuzz-target.ts';
import { mutate } from './mutate.ts';

/**
 * A case that takes more of the processor is a finding: one input must not hold up the others. Not
 * by the clock, so that a busy machine finds the same.
 */
const CASE_MS_MAX = 1000;
/** Memory that is still held at the end, over what was held after the warm-up. */
const GROWTH_BYTES_MAX = 48 * 1024 * 1024;
const WARM_UP_SHARE = 0.1;
const FINDINGS_MAX = 10;
const CASES_BETWEEN_CHECKS = 5000;

export interface FuzzOptions {
  readonly cases: number;
  readonly seed: number;
  /** Number of the first case. */
  readonly from?: number;
}

export interface Finding {
  /** Undefined where no single case is to blame. */
  readonly caseNumber: number | undefined;
  readonly input: Buffer;
  readonly error: unknown;
}

export interface FuzzReport {
  readonly target: string;
  readonly cases: number;
  readonly seconds: number;
  readonly slowestMs: number;
  readonly slowestCase: number;
  /** Bytes of JavaScript memory, buffers included, held at the end over those after the warm-up. */
  readonly grownBytes: number;
  readonly findings: readonly Finding[];
}

/** Runs the cases `from` to `from + cases`; ends early after ten findings. */
export async function runFuzz(target: FuzzTarget, options: FuzzOptions): Promise<FuzzReport> {
  const { cases, seed, from = 0 } = options;
  const findings: Finding[] = [];
  const startedMs = systemClock.monotonicMs();
  const slowest = { ms: 0, caseNumber: from };
  const warmUntil = from + Math.floor(cases * WARM_UP_SHARE);
  let heldBytes = heldMemory();
  let done = 0;
  for (; done < cases && findings.length < FINDINGS_MAX; done += 1) {
    const caseNumber = from + done;
    if (caseNumber === warmUntil) heldBytes = heldMemory();
    const input = inputOf(target, seed, caseNumber);
    const { error, ms } = await runCase(target, input);
    if (error !== undefined) findings.push({ caseNumber, input, error });
    if (ms > slowest.ms) Object.assign(slowest, { ms, caseNumber });
    if (done % CASES_BETWEEN_CHECKS === CASES_BETWEEN_CHECKS - 1)
      await checkTarget(target, findings);
    // Sockets and files close in turns of the loop, and a synchronous target never yields one.
    if (done % 200 === 0) await nextTurn();
  }
  await checkTarget(target, findings);
  const grownBytes = heldMemory() - heldBytes;
  if (grownBytes > GROWTH_BYTES_MAX) {
    const error = new Error(`${grownBytes} bytes of memory are still held after the last case`);
    findings.push({ caseNumber: undefined, input: Buffer.alloc(0), error });
  }
  const seconds = (systemClock.monotonicMs() - startedMs) / 1000;
  const figures = { cases: done, seconds, slowestMs: slowest.ms, slowestCase: slowest.caseNumber };
  return { target: target.name, ...figures, grownBytes, findings };
}

/** The input of one case. */
export function inputOf(target: FuzzTarget, seed: number, caseNumber: number): Buffer {
  return mutate(new SeededRandom(`${seed}/${target.name}/${caseNumber}`), target);
}

/** One input with the bounds of a case; `error` is undefined where there is nothing to find. */
export async function runCase(
  target: FuzzTarget,
  input: Buffer,
): Promise<{ readonly error: unknown; readonly ms: number }> {
  const { caseMsMax = CASE_MS_MAX } = target;
  const began = process.cpuUsage();
  const error = await tryCase(target, input);
  const { user, system } = process.cpuUsage(began);
  const ms = (user + system) / 1000;
  const isSlow = error === undefined && ms > caseMsMax;
  return { error: isSlow ? tooSlow(ms, caseMsMax) : error, ms };
}

async function tryCase(target: FuzzTarget, input: Buffer): Promise<unknown> {
  try {
    // The target may keep its input no longer than the case lasts, so it gets its own.
    const running = target.run(Buffer.from(input));
    if (running !== undefined) await running;
    return undefined;
  } catch (error) {
    return error ?? new Error('something was thrown that is nothing');
  }
}

async function checkTarget(target: FuzzTarget, findings: Finding[]): Promise<void> {
  try {
    await target.check?.();
  } catch (error) {
    findings.push({ caseNumber: undefined, input: Buffer.alloc(0), error });
  }
}

function tooSlow(ms: number, caseMsMax: number): Error {
  return new Error(`it took ${Math.round(ms)} ms of the processor, more than ${caseMsMax}`);
}

/** JavaScript memory in use after a collection. */
function heldMemory(): number {
  v8.setFlagsFromString('--expose-gc');
  const collect = vm.runInNewContext('gc') as () => void;
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
