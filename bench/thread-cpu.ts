/**
 * CPU seconds of a process from /proc, by thread: what a rate on a shared machine cannot say.
 */
import fs from 'node:fs';

/** Of the kernel's clock ticks; 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** CPU seconds by role: `main`, the name of a writer, or `other` (libuv, V8, LMDB). */
export type ThreadCpu = ReadonlyMap<string, number>;

/**
 * CPU seconds since the process began, by thread; threads that have ended are missing. A thread's
 * role is its name, which writers set; the first thread is `main`.
 */
export function threadCpu(pid: number): ThreadCpu {
  const roles = new Map<string, number>();
  for (const tid of tasksOf(pid)) {
    const stat = readIfThere(`/proc/${pid}/task/${tid}/stat`);
    if (stat === undefined) continue;
    const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
    const role = Number(tid) === pid ? 'main' : (WRITER_THREADS.get(name) ?? 'other');
    roles.set(role, (roles.get(role) ?? 0) + secondsOf(stat));
  }
  return roles;
}

/** CPU seconds of a whole process, threads that have ended included; 0 once it is gone. */
export function processCpu(pid: number): number {
  const stat = readIfThere(`/proc/${pid}/stat`);
  return stat === undefined ? 0 : secondsOf(stat);
}

/** Anonymous memory of a process: what the kernel could not drop and read again. In bytes. */
export function anonymousBytes(pid: number): number {
  const status = readIfThere(`/proc/${pid}/status`) ?? '';
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
}

/** Bytes that this process has had written to disks. */
export function writtenBytes(): number {
  return Number(/^write_bytes: (\d+)$/m.exec(readIfThere('/proc/self/io') ?? '')?.[1] ?? 0);
}

/** Differences by role. */
export function cpuSince(before: ThreadCpu, after: ThreadCpu): Map<string, number> {
  return new Map(
    [...after].map(([role, seconds]) => [role, seconds - (before.get(role) ?? 0)] as const),
  );
}

export function totalCpu(cpu: ThreadCpu): number {
  return [...cpu.values()].reduce((sum, seconds) => sum + seconds, 0);
}

const WRITER_THREADS: ReadonlyMap<string, string> = new Map([
  ['writer-influxdb', 'influxdb'],
  ['writer-parquet', 'parquet'],
]);

function tasksOf(pid: number): string[] {
  try {
    return fs.readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

/** User and system time: fields 14 and 15, counted behind the name, which may hold spaces. */
function secondsOf(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

function readIfThere(path: string): string | undefined {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
