/**
 * The thread that watches the main thread: see hang-watch.ts.
 *
 * A hang is counted in looks, not in time: a process that was stopped, or whose machine slept,
 * finds a late clock but misses no look. The stack comes from the debugger protocol, which Node
 * lets a thread speak with the main thread while that runs JavaScript; it is switched on only then.
 * A main thread that hangs in native code cannot be interrupted; then the log shows what the
 * kernel shows of it, and the process is killed.
 */
import fs from 'node:fs';
import { type Debugger, Session } from 'node:inspector';
import { workerData } from 'node:worker_threads';
import { commandClock } from '../lib/clock.ts';
import { repeat } from '../lib/repeat.ts';
import { nameThread } from '../lib/thread-name.ts';
import type { HangWatchSetup } from './hang-watch.ts';
import { createLogger } from './logger.ts';

const LOOK_INTERVAL_MS = 250;
/** The main thread pauses at its next statement, if it comes to one. */
const PAUSE_DEADLINE_MS = 2000;
/** A log that is not read must not keep the process alive. */
const KILL_AFTER_MS = 1000;
const FRAMES_MAX = 50;

const setup = workerData as HangWatchSetup;

function watch(): void {
  nameThread('hang-watch');
  const count = new Int32Array(setup.beats);
  const looksMax = Math.max(2, Math.ceil((setup.maxStillSecs * 1000) / LOOK_INTERVAL_MS));
  let seen = Atomics.load(count, 0);
  let looks = 0;
  const stop = repeat(commandClock, LOOK_INTERVAL_MS, () => {
    const beats = Atomics.load(count, 0);
    looks = beats === seen ? looks + 1 : 0;
    seen = beats;
    if (looks < looksMax) return;
    stop();
    endProcess();
  });
}

function endProcess(): void {
  const session = new Session();
  const urls = new Map<string, string>();
  session.connectToMainThread();
  session.on('Debugger.scriptParsed', ({ params }) => urls.set(params.scriptId, params.url));
  session.on('Debugger.paused', ({ params: { callFrames } }) => {
    cancel();
    killSoon();
    const fields = { stack: stackOf(callFrames, urls), exitCode: setup.exitCode };
    say(fields, 'the main thread stands still: ending the process', () => {
      const callFrameId = callFrames[0]?.callFrameId ?? '';
      // In the main thread: here it would end this thread only.
      const expression = `process.reallyExit(${setup.exitCode})`;
      session.post('Debugger.evaluateOnCallFrame', { callFrameId, expression });
    });
  });
  const cancel = commandClock.after(PAUSE_DEADLINE_MS, () => {
    killSoon();
    say(kernelView(), 'the main thread stands still in native code: killing the process', kill);
  });
  session.post('Debugger.enable');
  session.post('Debugger.pause');
}

function stackOf(frames: readonly Debugger.CallFrame[], urls: ReadonlyMap<string, string>): string {
  return frames
    .slice(0, FRAMES_MAX)
    .map(({ functionName, location: { scriptId, lineNumber, columnNumber = 0 } }) => {
      const place = `${urls.get(scriptId) ?? 'unknown'}:${lineNumber + 1}:${columnNumber + 1}`;
      return `    at ${functionName === '' ? '(anonymous)' : functionName} (${place})`;
    })
    .join('\n');
}

/** State of the main thread: R for one that computes, S or D for one that waits, and for what. */
function kernelView(): Record<string, string> {
  const folder = `/proc/self/task/${process.pid}`;
  const state = /^State:\s*(.*)$/m.exec(readText(`${folder}/status`))?.[1] ?? 'unknown';
  return { state, waitsIn: readText(`${folder}/wchan`), systemCall: readText(`${folder}/syscall`) };
}

function readText(path: string): string {
  try {
    return fs.readFileSync(path, 'utf8').trim();
  } catch {
    // Not Linux, or not allowed: the line says less then.
    return '';
  }
}

/** Writes a line without waiting for it: a pipe that is full may be why everything stands still. */
function say(fields: object, message: string, then: () => void): void {
  const logger = createLogger(
    { level: 'fatal', format: setup.logFormat },
    { write: (line) => fs.write(1, line, then) },
  );
  const { doing, maxStillSecs } = setup;
  logger.fatal({ stage: 'watchdog', doing, maxStillSecs, ...fields }, message);
}

function killSoon(): void {
  commandClock.after(KILL_AFTER_MS, kill);
}

function kill(): void {
  process.kill(process.pid, 'SIGKILL');
}

watch();
