/**
 * `check-config`: finds every fault that can be found before the daemon starts. It creates nothing,
 * changes nothing and keeps nothing open.
 */
import { readConfigFile } from '../../config/load-config.ts';
import type { ReadResult } from '../../config/read-config.ts';
import { configRemarks } from '../../config/validate.ts';
import { systemClock } from '../../lib/clock.ts';
import { errorMessage } from '../../lib/errors.ts';
import { CHECK_KINDS, type Check, CheckList } from './checks/check.ts';
import { checkCertificates } from './checks/check-certificates.ts';
import { checkDirectories } from './checks/check-directories.ts';
import { checkPorts } from './checks/check-ports.ts';
import { checkQuicStack } from './checks/check-quic-stack.ts';
import { checkRevocations } from './checks/check-revocations.ts';
import { checkSinks } from './checks/check-sinks.ts';
import { exitCode } from './exit-codes.ts';
import type { Host } from './host.ts';

export interface CheckConfigOptions {
  readonly offline?: boolean;
  readonly json?: boolean;
}

/** Checks, prints, and returns the exit code: the worst kind of error, or 0. */
export async function checkConfig(
  configPath: string | undefined,
  options: CheckConfigOptions,
  host: Pick<Host, 'out' | 'environment'>,
): Promise<number> {
  const checks = await runChecks(configPath, options.offline === true, host);
  const failed = CHECK_KINDS.find((kind) =>
    checks.some((one) => one.check === kind && one.status === 'error'),
  );
  const result = { ok: failed === undefined, checks };
  host.out(options.json === true ? `${JSON.stringify(result, null, 2)}\n` : render(checks));
  return exitCode(failed ?? 'ok');
}

async function runChecks(
  configPath: string | undefined,
  offline: boolean,
  host: Pick<Host, 'environment'>,
): Promise<Check[]> {
  const list = new CheckList('config');
  const name = configPath ?? 'the defaults';
  let result: ReadResult;
  try {
    result = readConfigFile(configPath, host.environment);
  } catch (error) {
    list.fail('', errorMessage(error), 'give the path of a YAML file');
    return list.entries;
  }
  if (!result.ok) {
    for (const { where, key, message } of result.problems) {
      list.fail(key, `${where}: ${message}`, '');
    }
    return list.entries;
  }
  const { config } = result;
  list.ok('', `${name}: valid`);
  for (const { keys, message } of configRemarks(config)) {
    list.warn(keys[0] ?? '', message, `change ${keys.join(' or ')}`);
  }
  return [
    ...list.entries,
    ...(await checkQuicStack(config)),
    ...checkCertificates(config.security, systemClock.nowMs()),
    ...(await checkRevocations(config.security, systemClock.nowMs())),
    ...checkDirectories(config),
    ...(offline ? [] : await checkSinks(config.influxdb)),
    ...(await checkPorts(config)),
  ];
}

const MARKS = { ok: '✓', warning: '!', error: '✗' } as const;

function render(checks: readonly Check[]): string {
  const width = Math.max(...CHECK_KINDS.map((kind) => kind.length));
  const lines = checks.map(({ check, status, key, message, hint }) => {
    const subject = key === '' || message.includes(key) ? '' : `${key}: `;
    const head = `${MARKS[status]} ${check.padEnd(width)}  ${subject}${message}`;
    const advice = hint === '' ? '' : `\n${' '.repeat(width + 4)}→ ${hint}`;
    return head + advice;
  });
  return `${[...lines, '', summary(checks)].join('\n')}\n`;
}

function summary(checks: readonly Check[]): string {
  const count = (status: Check['status'], noun: string) => {
    const amount = checks.filter((one) => one.status === status).length;
    return `${amount} ${noun}${amount === 1 ? '' : 's'}`;
  };
  const errors = count('error', 'error');
  const verdict = errors.startsWith('0 ') ? 'The collector can start' : 'Not ready to start';
  return `${verdict}: ${errors}, ${count('warning', 'warning')}.`;
}
