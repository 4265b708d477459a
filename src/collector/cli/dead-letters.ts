/**
 * `dead-letter list` and `dead-letter replay`: what a writer's destination refused, and another
 * try.
 */
import fs from 'node:fs';
import path from 'node:path';
import { loadConfig } from '../../config/load-config.ts';
import { deadLetterDir } from '../../config/paths.ts';
import { lockDirectory } from '../../lib/directory-lock.ts';
import { commandClock } from '../../lib/clock.ts';
import { errorCode, OperatingError } from '../../lib/errors.ts';
import { nodeFileSystem } from '../../lib/filesystem.ts';
import { listDeadLetterFiles, readDeadLetters } from '../writers/dead-letters.ts';
import { InfluxClient } from '../writers/influx/influx-client.ts';
import { replayableFiles, replayDeadLetters } from '../repair/replay-dead-letters.ts';
import { exitCode } from './exit-codes.ts';
import type { Host } from './host.ts';
import { printReport, type ReportFormat } from './print-report.ts';

/** Reasons counted separately; a server may give a new one for each line. */
const REASONS_MAX = 50;
const OTHER_REASONS = 'other reasons';

interface ReasonCount {
  readonly writer: string;
  readonly status: number;
  readonly reason: string;
  letters: number;
  samples: number;
}

/** Prints what the dead-letter files hold, by reason. Throws OperatingError. */
export function listDeadLettersCommand(
  configPath: string | undefined,
  options: ReportFormat,
  host: Pick<Host, 'out' | 'environment'>,
): void {
  const dir = deadLetterDir(loadConfig(configPath, host.environment));
  const counts = new Map<string, ReasonCount>();
  const files: { file: string; letters: number; bytes: number }[] = [];
  let torn = 0;
  for (const file of listDeadLetterFiles(nodeFileSystem, dir)) {
    const content = readDeadLetters(nodeFileSystem, file);
    const bytes = nodeFileSystem.fileBytes(file);
    files.push({ file: path.basename(file), letters: content.letters.length, bytes });
    torn += content.torn.length;
    for (const letter of content.letters) countReason(counts, letter);
  }
  const reasons = [...counts.values()].sort((a, b) => b.letters - a.letters);
  const letters = files.reduce((sum, file) => sum + file.letters, 0);
  const samples = reasons.reduce((sum, reason) => sum + reason.samples, 0);
  const report = { directory: dir, letters, samples, torn, reasons, files };
  printReport(report, options, host);
}

function countReason(
  counts: Map<string, ReasonCount>,
  letter: Pick<ReasonCount, 'writer' | 'status' | 'reason' | 'samples'>,
): void {
  const { writer, status, samples } = letter;
  let { reason } = letter;
  let key = JSON.stringify([writer, status, reason]);
  if (!counts.has(key) && counts.size >= REASONS_MAX) {
    reason = OTHER_REASONS;
    key = JSON.stringify([writer, reason]);
  }
  const count = counts.get(key) ?? { writer, status, reason, letters: 0, samples: 0 };
  counts.set(key, { ...count, letters: count.letters + 1, samples: count.samples + samples });
}

export interface ReplayOptions extends ReportFormat {
  readonly dryRun?: boolean;
}

/** Sends the letters of the InfluxDB writer again; the exit code. Throws OperatingError. */
export async function replayDeadLettersCommand(
  configPath: string | undefined,
  options: ReplayOptions,
  host: Pick<Host, 'out' | 'err' | 'environment'>,
): Promise<number> {
  const config = loadConfig(configPath, host.environment);
  const dir = deadLetterDir(config);
  const { influxdb } = config;
  if (influxdb === undefined) {
    throw new OperatingError(
      'NO_INFLUXDB',
      'cannot replay dead letters: the configuration has no influxdb section to send them to',
    );
  }
  if (options.dryRun === true) {
    dryRun(dir, influxdb.url, options, host);
    return exitCode('ok');
  }
  if (!fs.existsSync(dir)) {
    host.out(`there are no dead letters in ${dir}\n`);
    return exitCode('ok');
  }
  const lock = await lockReplay(dir);
  const log = (_level: string, message: string) => host.err(`${message}\n`);
  const client = new InfluxClient(influxdb, { clock: commandClock, log });
  try {
    const onFile = (file: string) => host.err(`replayed ${path.basename(file)}\n`);
    const deps = { fs: nodeFileSystem, clock: commandClock, client, onFile };
    const result = await replayDeadLetters(deps, dir, influxdb.max_batch_bytes);
    printReport(result, options, host);
    return exitCode(result.failure === '' && result.refused === 0 ? 'ok' : 'failed');
  } finally {
    client.close();
    await lock.release();
  }
}

function dryRun(dir: string, url: string, options: ReplayOptions, host: Pick<Host, 'out'>): void {
  const files = replayableFiles(nodeFileSystem, dir);
  const letters = files.flatMap((file) => readDeadLetters(nodeFileSystem, file).letters);
  const lines = letters.filter(({ line }) => line !== '').length;
  const report = { files: files.length, wouldSend: lines, unsendable: letters.length - lines, url };
  printReport(report, options, host);
}

async function lockReplay(dir: string) {
  try {
    return await lockDirectory(dir, 'replay');
  } catch (error) {
    if (errorCode(error) !== 'REPLAY_LOCKED') throw error;
    const message = `cannot replay ${dir}: another replay is running`;
    throw new OperatingError('REPLAY_RUNS', message, { cause: error });
  }
}
