/**
 * `warehouse verify` and `warehouse backfill`: whether the files are sound, and what is in them
 * sent to InfluxDB once more.
 */
import path from 'node:path';
import { loadConfig } from '../../config/load-config.ts';
import { commandClock } from '../../lib/clock.ts';
import { OperatingError } from '../../lib/errors.ts';
import { nodeFileSystem } from '../../lib/filesystem.ts';
import { backfillInflux } from '../repair/backfill.ts';
import { InfluxClient } from '../writers/influx/influx-client.ts';
import { verifyWarehouse } from '../../warehouse/verify-warehouse.ts';
import { exitCode } from './exit-codes.ts';
import type { Host } from './host.ts';
import { printReport, printVerdict, type ReportFormat } from './print-report.ts';

/** Files between two words of progress. */
const PROGRESS_EVERY = 100;

/** Reads every visible file to its last row; the exit code. Throws OperatingError. */
export async function verifyWarehouseCommand(
  configPath: string | undefined,
  options: ReportFormat,
  host: Pick<Host, 'out' | 'err' | 'environment'>,
): Promise<number> {
  const { parquet } = loadConfig(configPath, host.environment);
  const root = path.resolve(parquet.output_dir);
  const onFile = (done: number, all: number) => {
    if (done % PROGRESS_EVERY === 0) host.err(`${done} of ${all} files\n`);
  };
  const report = await verifyWarehouse({ fs: nodeFileSystem, onFile }, root);
  const { faults, ...looked } = report;
  const shown = faults.map(({ path: file, what }) => ({ where: path.relative(root, file), what }));
  const found = { looked, faults: faults.length, shown };
  return printVerdict({ subject: 'warehouse', place: root, ...found }, report, options, host);
}

export interface BackfillCommandOptions extends ReportFormat {
  readonly to: string;
  readonly start: string;
  readonly end: string;
}

/** Writes rows of the warehouse to InfluxDB; the exit code. Throws OperatingError. */
export async function backfillCommand(
  configPath: string | undefined,
  options: BackfillCommandOptions,
  host: Pick<Host, 'out' | 'err' | 'environment'>,
): Promise<number> {
  const startMs = parseTime('--start', options.start);
  const endMs = parseTime('--end', options.end);
  if (startMs >= endMs) {
    throw new OperatingError('BAD_TIME', 'cannot backfill: --end must be later than --start');
  }
  const { influxdb: settings, parquet } = loadConfig(configPath, host.environment);
  if (settings === undefined) {
    throw new OperatingError(
      'NO_INFLUXDB',
      'cannot backfill: the configuration has no influxdb section to write to',
    );
  }
  const log = (_level: string, message: string) => host.err(`${message}\n`);
  const client = new InfluxClient(settings, { clock: commandClock, log });
  const root = path.resolve(parquet.output_dir);
  try {
    const result = await backfillInflux(
      {
        ...{ fs: nodeFileSystem, clock: commandClock, client },
        onFile({ filesDone, files, hourMs, lines }) {
          host.err(`${filesDone} of ${files} files, up to ${hourOf(hourMs)}: ${lines} lines\n`);
        },
      },
      { root, settings, startMs, endMs },
    );
    const { resumeMs, ...report } = result;
    printReport(report, options, host);
    if (result.failure !== '') {
      host.err(`given up; go on with --start ${hourOf(Math.max(resumeMs, startMs))}\n`);
    }
    return exitCode(result.failure === '' && result.refusedLines === 0 ? 'ok' : 'failed');
  } finally {
    client.close();
  }
}

function hourOf(ms: number): string {
  return new Date(ms).toISOString();
}

function parseTime(option: string, text: string): number {
  const ms = Date.parse(text);
  if (!Number.isNaN(ms)) return ms;
  throw new OperatingError(
    'BAD_TIME',
    `cannot use ${option} ${text}: give a time, such as 2025-07-18T20:00:00Z`,
  );
}
