/**
 * One daemon per journal and per collector's part of a warehouse: a second one is refused, also
 * from another network namespace and after locks were lost, and where it cannot be, nothing that
 * was acknowledged is lost or doubled.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { packageFile } from '../../src/lib/package-root.ts';
import { DaemonProcess } from '../../trials/harness/daemon-process.ts';
import { freePort } from '../../trials/harness/free-port.ts';
import { countedSamples } from '../helpers/counted-samples.ts';
import { eventually } from '../helpers/eventually.ts';
import { Scenario } from '../helpers/scenario.ts';

const SERIES = 20;
const ROUNDS = 30;
const OTHER_NETWORK = ['unshare', '--net', 'sh', '-c', 'ip link set lo up; exec "$0" "$@"'];

const LOCK_TAKER = packageFile('test/helpers/write-lock-taker.mjs');

let scenario: Scenario;
beforeEach(async () => {
  scenario = await Scenario.open({ parquet: { rotation_interval_secs: 2 } });
});
afterEach(() => scenario.close());

/** A daemon beside the first, ended with the test. */
function launchSecond(env: NodeJS.ProcessEnv, wrapper: readonly string[] = []): DaemonProcess {
  const second = DaemonProcess.launch(scenario.deployment, { env, wrapper });
  scenario.onClose(async () => void (await second.kill()));
  return second;
}

/** With a journal and ports of its own, but the same warehouse and collector id. */
async function launchWithOtherJournal(): Promise<DaemonProcess> {
  return launchSecond({
    TELEMETRY_COLLECTOR_JOURNAL__DIR: path.join(scenario.deployment.dir, 'second-journal'),
    TELEMETRY_COLLECTOR_SERVER__LISTEN_ADDR: `127.0.0.1:${await freePort()}`,
    TELEMETRY_COLLECTOR_OBSERVABILITY__METRICS_PORT: String(await freePort()),
  });
}

function journalDir(): string {
  return path.join(scenario.deployment.warehouseDir, 'journal');
}

/**
 * SIGSTOP, in a moment in which the daemon does not hold LMDB's write lock: nobody can take over a
 * journal whose writer stands still in the middle of a transaction.
 */
async function stopBetweenTransactions(daemon: DaemonProcess): Promise<void> {
  const stopped = () => {
    daemon.signal('SIGSTOP');
    const options = { timeout: 3000, killSignal: 'SIGKILL' } as const;
    const { status } = spawnSync(process.execPath, [LOCK_TAKER, journalDir()], options);
    if (status !== 0) daemon.signal('SIGCONT');
    return status === 0;
  };
  await eventually('a stop between two transactions', stopped, 30_000);
}

async function expectRefused(second: DaemonProcess, why: RegExp): Promise<void> {
  expect((await second.exited).code).not.toBe(0);
  expect(second.hasLogged('ready')).toBe(false);
  expect(JSON.stringify(second.log)).toMatch(why);
}

/** Where locks lie below a directory; the journal may be there too. */
function lockFiles(dir: string): string[] {
  return fs
    .readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isSocket())
    .map(({ parentPath, name }) => path.join(parentPath, name));
}

test('a daemon with another journal is refused at a warehouse that has an owner', async () => {
  const first = await scenario.startDaemon();
  await expectRefused(await launchWithOtherJournal(), /cannot open warehouse .*another process/);
  expect((await first.readiness()).checks['writer parquet']).toMatchObject({ ok: true });
});

test('a lock of the warehouse that was removed is taken again', async () => {
  const first = await scenario.startDaemon();
  const owners = path.join(scenario.deployment.warehouseDir, '.owners');
  fs.rmSync(owners, { recursive: true });
  await first.waitFor('the lock', () => first.hasLogged('took the lost warehouse lock again'));
  expect(lockFiles(owners)).toHaveLength(1);
  await expectRefused(await launchWithOtherJournal(), /cannot open warehouse .*another process/);
});

test('a daemon that stood still while another took its directories over doubles nothing', async () => {
  const can = spawnSync(OTHER_NETWORK[0]!, [...OTHER_NETWORK.slice(1), 'true']).status === 0;
  if (!can && process.env.CI !== undefined) throw new Error('unshare must work in CI');
  if (!can) {
    process.stderr.write('skipped: no right to make namespaces\n');
    return;
  }
  const first = await scenario.startDaemon();
  const client = await scenario.openClient('gpu-001');
  const samples = countedSamples(SERIES, systemClock.nowMs() - 600_000);
  for (let round = 0; round < ROUNDS; round += 1) {
    const { status } = await client.send(samples.table, samples.next());
    expect(status).toBe('accepted');
  }
  await stopBetweenTransactions(first);
  await expectRefused(launchSecond({}, OTHER_NETWORK), /another process has it open/);
  for (const lock of lockFiles(scenario.deployment.dir)) fs.rmSync(lock);
  const second = launchSecond({}, OTHER_NETWORK);
  await second.waitFor('the second to be ready', () => second.hasLogged('ready'));
  first.signal('SIGCONT');
  expect((await first.exited).code).not.toBe(0);
  expect(await second.stop()).toEqual({ code: 0, signal: null });
  const [row] = await scenario.warehouse.rows(
    'SELECT count(*)::INT AS rows, count(DISTINCT value)::INT AS samples FROM m',
  );
  expect(row).toEqual({ rows: ROUNDS * SERIES, samples: ROUNDS * SERIES });
});

test('a daemon ends, and names the journal, where another process keeps the write lock', async () => {
  scenario.deployment.configure({ observability: { max_stall_secs: 1 } });
  const keeper = spawn(process.execPath, [LOCK_TAKER, journalDir(), 'keep']);
  scenario.onClose(() => void keeper.kill('SIGKILL'));
  await once(keeper.stdout, 'data');
  const daemon = launchSecond({});
  expect(await daemon.exited).toEqual({ code: null, signal: 'SIGKILL' });
  const doing = `opening journal ${journalDir()}, whose write lock another process may hold`;
  expect(daemon.log.at(-1)).toMatchObject({ level: 'fatal', doing });
  keeper.kill('SIGKILL');
  await scenario.startDaemon();
});
