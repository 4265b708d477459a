import fs from 'node:fs';
import path from 'node:path';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { createServiceNotifier } from '../../src/observability/service-notifier.ts';
import { eventually } from '../helpers/eventually.ts';
import { tempDir } from '../helpers/temp-dir.ts';

const silent = pino({ enabled: false });

/** A stand-in for systemd-notify that writes down what it was told, and where. */
function notifyProgram(): { program: string; told: () => string[] } {
  const dir = tempDir();
  const program = path.join(dir, 'notify');
  const file = path.join(dir, 'told');
  fs.writeFileSync(program, `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >> '${file}'\n`, { mode: 0o755 });
  // Whole lines: the shell makes the file before it writes to it.
  const told = () =>
    (fs.existsSync(file) ? fs.readFileSync(file, 'utf8').match(/.+\n/g) : null) ?? [];
  return { program, told };
}

test('systemd is told when the service is ready, alive and stopping', async () => {
  const { program, told } = notifyProgram();
  const environment = { notifySocket: '/run/notify', watchdogUsec: 30_000_000 };
  const notifier = createServiceNotifier(environment, silent, program);
  expect(notifier.watchdogIntervalMs).toBe(15_000);
  notifier.ready();
  await eventually('ready is told', () => told().length === 1);
  notifier.alive();
  await eventually('alive is told', () => told().length === 2);
  notifier.stopping();
  await eventually('stopping is told', () => told().length === 3);
  expect(told()).toEqual([
    `/run/notify --ready MAINPID=${process.pid}\n`,
    '/run/notify WATCHDOG=1\n',
    '/run/notify STOPPING=1\n',
  ]);
});

test('outside systemd nobody is told anything and there is no watchdog', () => {
  const { program, told } = notifyProgram();
  const environment = { notifySocket: undefined, watchdogUsec: 30_000_000 };
  const notifier = createServiceNotifier(environment, silent, program);
  notifier.ready();
  expect(notifier.watchdogIntervalMs).toBe(0);
  expect(told()).toEqual([]);
});

test('a notification that fails is logged and hurts nobody', async () => {
  const lines: string[] = [];
  const logger = pino({}, { write: (line) => void lines.push(line) });
  const environment = { notifySocket: '/run/notify', watchdogUsec: 0 };
  createServiceNotifier(environment, logger, '/no/such/program').ready();
  await eventually('it is logged', () => lines.some((line) => line.includes('cannot notify')));
});
