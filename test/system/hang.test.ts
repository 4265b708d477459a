/** A main thread that stands still is ended within seconds, and the log says where it stood. */
import { afterEach, expect, test } from 'vitest';
import { sleep, systemClock } from '../../src/lib/clock.ts';
import { packageFile } from '../../src/lib/package-root.ts';
import { Scenario } from '../helpers/scenario.ts';

let scenario: Scenario;
afterEach(() => scenario.close());

const PRELOAD = `--require ${packageFile('test/helpers/hang-on-signal.cjs')}`;

async function hang(kind: 'javascript' | 'native') {
  scenario = await Scenario.open({ observability: { max_stall_secs: 1 } });
  const daemon = await scenario.startDaemon({ NODE_OPTIONS: PRELOAD, TEST_HANG_IN: kind });
  daemon.signal('SIGUSR2');
  const exit = await daemon.exited;
  return { exit, lastWords: daemon.log.find(({ level }) => level === 'fatal') };
}

test('a loop without end ends the process with a code and a stack', async () => {
  const { exit, lastWords } = await hang('javascript');
  expect(exit).toEqual({ code: 71, signal: null });
  expect(lastWords?.msg).toBe('the main thread stands still: ending the process');
  expect(lastWords?.stack).toMatch(/at standStillInJavaScript \(.*hang-on-signal\.cjs:\d+:\d+\)/);
  const again = await scenario.startDaemon();
  await again.waitFor('readiness', async () => (await again.readiness()).ready);
});

test('a main thread that never comes back from the system is killed, and the log says so', async () => {
  const { exit, lastWords } = await hang('native');
  expect(exit).toEqual({ code: null, signal: 'SIGKILL' });
  expect(lastWords?.msg).toBe('the main thread stands still in native code: killing the process');
  expect(lastWords?.state).toMatch(/^[SD] /);
});

test('a process that was stopped for longer than that goes on', async () => {
  scenario = await Scenario.open({ observability: { max_stall_secs: 1 } });
  const daemon = await scenario.startDaemon();
  daemon.signal('SIGSTOP');
  // No condition to wait for: that nothing happens in this time is what is shown.
  await sleep(systemClock, 3000);
  daemon.signal('SIGCONT');
  await daemon.waitFor('readiness', async () => (await daemon.readiness()).ready);
  expect(daemon.log.filter(({ level }) => level === 'fatal')).toEqual([]);
});
