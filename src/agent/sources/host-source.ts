/**
 * The node itself, from /proc: CPU, memory, load, network, disks and file systems, under the names
 * that node_exporter gave them. A table that a kernel lacks is left out and counted.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { type Clock, sleep } from '../../lib/clock.ts';
import { errorCode, errorMessage, OperatingError } from '../../lib/errors.ts';
import type { Reading, Source, SourceReport } from '../../client/reading.ts';
import {
  type HostValue,
  type Mount,
  parseDiskstats,
  parseLoadavg,
  parseMeminfo,
  parseMounts,
  parseNetDev,
  parsePressure,
  parseStat,
  parseUptime,
} from './proc-files.ts';
import { SkipTally } from './skip-tally.ts';

export interface HostSourceOptions {
  /** Default: /proc. */
  readonly procRoot?: string;
  /** Put before mount points, for an agent in a container that sees the host's files elsewhere. */
  readonly fileSystemRoot?: string;
  /** CPU time per core instead of summed: 8 series a core. */
  readonly perCore?: boolean;
}

/** A file system that does not answer by then is skipped. */
const STATFS_TIMEOUT_MS = 2000;

const TABLES: readonly (readonly [file: string, parse: (text: string) => HostValue[]])[] = [
  ['meminfo', parseMeminfo],
  ['loadavg', parseLoadavg],
  ['uptime', parseUptime],
  ['net/dev', parseNetDev],
  ['diskstats', parseDiskstats],
];

/** A source over /proc. Its collect() rejects with HOST_NOT_LINUX where there is no /proc/stat. */
export function openHostSource(options: HostSourceOptions, clock: Clock): Source {
  const { procRoot = '/proc', fileSystemRoot = '/', perCore = false } = options;
  return {
    name: 'host',
    async collect(): Promise<SourceReport> {
      const timestampMs = clock.nowMs();
      const skipped = new SkipTally();
      const values = parseStat(await readStat(procRoot), perCore);
      for (const [file, parse] of TABLES) {
        values.push(...parse(await readTable(procRoot, file, skipped)));
      }
      values.push(...(await readPressure(procRoot)));
      values.push(...(await readFileSystems(procRoot, fileSystemRoot, clock, skipped)));
      const readings = values.map((value): Reading => ({ ...value, timestampMs }));
      return { readings, skipped: skipped.list(), done: false };
    },
    async close() {},
  };
}

async function readStat(procRoot: string): Promise<string> {
  const file = path.join(procRoot, 'stat');
  try {
    return await fs.readFile(file, 'utf8');
  } catch (error) {
    const why = errorCode(error) === 'ENOENT' ? 'only Linux has it' : errorMessage(error);
    throw new OperatingError('HOST_NOT_LINUX', `cannot read ${file}: ${why}`, { cause: error });
  }
}

async function readTable(procRoot: string, file: string, skipped: SkipTally): Promise<string> {
  try {
    return await fs.readFile(path.join(procRoot, file), 'utf8');
  } catch (error) {
    skipped.add(file, errorCode(error) || 'not readable');
    return '';
  }
}

/** Kernels are built without it often enough that its absence is not worth a word. */
async function readPressure(procRoot: string): Promise<HostValue[]> {
  const values: HostValue[] = [];
  for (const resource of ['cpu', 'memory', 'io'] as const) {
    const file = path.join(procRoot, 'pressure', resource);
    const text = await fs.readFile(file, 'utf8').catch(() => '');
    values.push(...parsePressure(text, resource));
  }
  return values;
}

async function readFileSystems(
  procRoot: string,
  fileSystemRoot: string,
  clock: Clock,
  skipped: SkipTally,
): Promise<HostValue[]> {
  const values: HostValue[] = [];
  const mounts = parseMounts(await readTable(procRoot, 'self/mounts', skipped));
  for (const mount of mounts) {
    const target = path.join(fileSystemRoot, mount.mountpoint);
    const answered = new AbortController();
    const stats = await Promise.race([
      fs.statfs(target).catch((error: unknown) => errorCode(error) || 'not readable'),
      sleep(clock, STATFS_TIMEOUT_MS, answered.signal).then(() => 'no answer'),
    ]);
    answered.abort();
    if (typeof stats === 'string') skipped.add(mount.mountpoint, stats);
    else values.push(...fileSystemValues(mount, stats));
  }
  return values;
}

interface FileSystemStats {
  readonly bsize: number;
  readonly blocks: number;
  readonly bfree: number;
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
}

function fileSystemValues(mount: Mount, stats: FileSystemStats): HostValue[] {
  const labels = { ...mount };
  const gauge = (name: string, unit: string, value: number): HostValue => ({
    name: `node_filesystem_${name}`,
    kind: 'gauge',
    unit,
    labels,
    value,
  });
  return [
    gauge('size_bytes', 'B', stats.blocks * stats.bsize),
    gauge('free_bytes', 'B', stats.bfree * stats.bsize),
    gauge('avail_bytes', 'B', stats.bavail * stats.bsize),
    gauge('files', 'count', stats.files),
    gauge('files_free', 'count', stats.ffree),
  ];
}
