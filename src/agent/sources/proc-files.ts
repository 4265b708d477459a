/**
 * The kernel's own tables under /proc as numbers. Pure: text in, values out, in base units. Lines
 * that are not understood are left out; kernels add lines and columns.
 */

/** A value under a metric's name, with the labels that tell it from its siblings. */
export interface HostValue {
  readonly name: string;
  readonly kind: 'gauge' | 'counter';
  readonly unit: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Devices, disks or cores of one table; the rest is left out. */
const MAX_ROWS = 1024;
/** The kernel counts CPU time in 1/100 s for user space on every architecture in use (USER_HZ). */
const TICKS_PER_SECOND = 100;
/** /proc/diskstats counts in sectors of 512 bytes whatever the disk's own sector size. */
const SECTOR_BYTES = 512;

const CPU_MODES = ['user', 'nice', 'system', 'idle', 'iowait', 'irq', 'softirq', 'steal'] as const;

const STAT_LINES: Readonly<Record<string, readonly [string, 'gauge' | 'counter', string]>> = {
  ctxt: ['node_context_switches_total', 'counter', 'count'],
  btime: ['node_boot_time_seconds', 'gauge', 's'],
  processes: ['node_forks_total', 'counter', 'count'],
  procs_running: ['node_procs_running', 'gauge', 'count'],
  procs_blocked: ['node_procs_blocked', 'gauge', 'count'],
};

/**
 * /proc/stat: CPU seconds by mode, summed over the cores unless `perCore`, and the process counts.
 */
export function parseStat(text: string, perCore: boolean): HostValue[] {
  const values: HostValue[] = [];
  let cores = 0;
  for (const line of text.split('\n')) {
    const [key = '', ...cells] = line.trim().split(/\s+/);
    const core = /^cpu(\d*)$/.exec(key)?.[1];
    const known = Object.hasOwn(STAT_LINES, key) ? STAT_LINES[key] : undefined;
    if (core !== undefined) {
      if (core !== '') cores += 1;
      if ((core !== '') === perCore && cores <= MAX_ROWS) values.push(...cpuTimes(core, cells));
    } else if (known !== undefined) push(values, known[0], known[1], known[2], {}, cells[0]);
  }
  push(values, 'node_cpu_cores', 'gauge', 'count', {}, String(cores));
  return values;
}

/** Guest time is part of user time already, so it is left out rather than counted twice. */
function cpuTimes(core: string, cells: readonly string[]): HostValue[] {
  const values: HostValue[] = [];
  const labels = core === '' ? {} : { cpu: core };
  for (const [index, mode] of CPU_MODES.entries()) {
    const name = 'node_cpu_seconds_total';
    push(values, name, 'counter', 's', { ...labels, mode }, cells[index], 1 / TICKS_PER_SECOND);
  }
  return values;
}

const MEMORY_FIELDS: ReadonlySet<string> = new Set([
  ...['MemTotal', 'MemFree', 'MemAvailable', 'Buffers', 'Cached', 'SwapCached', 'SwapTotal'],
  ...['SwapFree', 'Dirty', 'Writeback', 'AnonPages', 'Mapped', 'Shmem', 'Slab', 'SReclaimable'],
  ...['SUnreclaim', 'CommitLimit', 'Committed_AS', 'Mlocked', 'Unevictable', 'PageTables'],
  ...['HugePages_Total', 'HugePages_Free', 'Hugepagesize', 'Hugetlb'],
]);

/** /proc/meminfo: its "kB" are 1024 bytes; lines without it are page counts. */
export function parseMeminfo(text: string): HostValue[] {
  const values: HostValue[] = [];
  for (const line of text.split('\n')) {
    const [, field = '', number, unit] = /^([\w()]+):\s+(\d+)(?: (kB))?\s*$/.exec(line) ?? [];
    if (!MEMORY_FIELDS.has(field)) continue;
    if (unit === 'kB') push(values, `node_memory_${field}_bytes`, 'gauge', 'B', {}, number, 1024);
    else push(values, `node_memory_${field}`, 'gauge', 'pages', {}, number);
  }
  return values;
}

/** /proc/loadavg. */
export function parseLoadavg(text: string): HostValue[] {
  const values: HostValue[] = [];
  const [one, five, fifteen] = text.trim().split(/\s+/);
  push(values, 'node_load1', 'gauge', '', {}, one);
  push(values, 'node_load5', 'gauge', '', {}, five);
  push(values, 'node_load15', 'gauge', '', {}, fifteen);
  return values;
}

/** /proc/uptime. */
export function parseUptime(text: string): HostValue[] {
  const values: HostValue[] = [];
  push(values, 'node_uptime_seconds', 'gauge', 's', {}, text.trim().split(/\s+/)[0]);
  return values;
}

/** Columns of /proc/net/dev, receive first. */
const NETWORK_COLUMNS: readonly (readonly [column: number, name: string, unit: string])[] = [
  [0, 'node_network_receive_bytes_total', 'B'],
  [1, 'node_network_receive_packets_total', 'count'],
  [2, 'node_network_receive_errs_total', 'count'],
  [3, 'node_network_receive_drop_total', 'count'],
  [8, 'node_network_transmit_bytes_total', 'B'],
  [9, 'node_network_transmit_packets_total', 'count'],
  [10, 'node_network_transmit_errs_total', 'count'],
  [11, 'node_network_transmit_drop_total', 'count'],
];

/**
 * Interfaces that come and go with pods, or never leave the machine: one series each would churn.
 */
const VIRTUAL_INTERFACE = new RegExp(
  `^(${[
    ...['lo', 'veth.*', 'cali.*', 'cilium.*', 'lxc.*', 'docker\\d*', 'br-.*', 'cni.*'],
    ...['flannel.*', 'tunl\\d*', 'ifb\\d*', 'dummy\\d*', 'virbr.*', 'vnet\\d*', 'kube-.*'],
    ...['nodelocaldns', 'sit\\d+'],
  ].join('|')})$`,
);

/** /proc/net/dev: physical interfaces, bonds and VLANs. */
export function parseNetDev(text: string): HostValue[] {
  const values: HostValue[] = [];
  let devices = 0;
  for (const line of text.split('\n')) {
    // Large counters touch the colon: "eth0:1234".
    const [, device = '', rest = ''] = /^\s*([^\s:|]+(?::\d+)?):\s*(\d.*)$/.exec(line) ?? [];
    if (device === '' || VIRTUAL_INTERFACE.test(device) || devices >= MAX_ROWS) continue;
    devices += 1;
    const cells = rest.trim().split(/\s+/);
    for (const [column, name, unit] of NETWORK_COLUMNS) {
      push(values, name, 'counter', unit, { device }, cells[column]);
    }
  }
  return values;
}

/** Columns of /proc/diskstats after the device's name, and what makes base units of them. */
const DISK_COLUMNS: readonly (readonly [number, string, string, number])[] = [
  [0, 'node_disk_reads_completed_total', 'count', 1],
  [2, 'node_disk_read_bytes_total', 'B', SECTOR_BYTES],
  [3, 'node_disk_read_time_seconds_total', 's', 0.001],
  [4, 'node_disk_writes_completed_total', 'count', 1],
  [6, 'node_disk_written_bytes_total', 'B', SECTOR_BYTES],
  [7, 'node_disk_write_time_seconds_total', 's', 0.001],
  [9, 'node_disk_io_time_seconds_total', 's', 0.001],
];

/** Partitions repeat their disk; RAM disks, loop devices and floppies are no disks. */
const NOT_A_DISK =
  /^(z?ram\d+|loop\d+|fd\d+|sr\d+|(?:h|s|v|xv)d[a-z]+\d+|(?:nvme\d+n|mmcblk)\d+p\d+)$/;

/** /proc/diskstats: whole disks, device mapper and RAID. */
export function parseDiskstats(text: string): HostValue[] {
  const values: HostValue[] = [];
  let disks = 0;
  for (const line of text.split('\n')) {
    const [, , device = '', ...cells] = line.trim().split(/\s+/);
    if (device === '' || NOT_A_DISK.test(device) || disks >= MAX_ROWS) continue;
    disks += 1;
    for (const [column, name, unit, scale] of DISK_COLUMNS) {
      push(values, name, 'counter', unit, { device }, cells[column], scale);
    }
  }
  return values;
}

/** /proc/pressure/<resource>: time in which some or all tasks waited, from microseconds. */
export function parsePressure(text: string, resource: 'cpu' | 'memory' | 'io'): HostValue[] {
  const values: HostValue[] = [];
  for (const line of text.split('\n')) {
    const [, who = '', total] = /^(some|full) .*\btotal=(\d+)\s*$/.exec(line) ?? [];
    // The whole machine cannot wait for a CPU; the kernel prints a line of zeros there.
    if (who === '' || (who === 'full' && resource === 'cpu')) continue;
    const effect = who === 'some' ? 'waiting' : 'stalled';
    const name = `node_pressure_${resource}_${effect}_seconds_total`;
    push(values, name, 'counter', 's', {}, total, 1e-6);
  }
  return values;
}

export interface Mount {
  readonly device: string;
  readonly mountpoint: string;
  readonly fstype: string;
}

/** Disk file systems. Network ones are left out: asking a dead server for its free space hangs. */
const DISK_FILE_SYSTEM = /^(ext[234]|xfs|btrfs|zfs|f2fs|bcachefs|vfat|exfat|jfs|overlay)$/;
/** Mounts that come and go with containers. */
const CONTAINER_MOUNT =
  /^\/(?:dev|proc|sys|run|var\/lib\/(?:docker|containerd|kubelet|containers))(?:\/|$)/;

/** /proc/self/mounts: local disks, each device at its first mount point only. */
export function parseMounts(text: string): Mount[] {
  const byDevice = new Map<string, Mount>();
  for (const line of text.split('\n')) {
    const [device = '', escaped = '', fstype = ''] = line.split(' ');
    const mountpoint = unescapeMount(escaped);
    if (!DISK_FILE_SYSTEM.test(fstype) || CONTAINER_MOUNT.test(mountpoint)) continue;
    // An overlay has no device of its own; only the root is worth having.
    if (fstype === 'overlay' && mountpoint !== '/') continue;
    if (byDevice.has(device) || byDevice.size >= 64) continue;
    byDevice.set(device, { device: unescapeMount(device), mountpoint, fstype });
  }
  return [...byDevice.values()];
}

/** Blanks and backslashes are written as octal numbers, `\040`. */
function unescapeMount(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(parseInt(octal, 8)),
  );
}

function push(
  values: HostValue[],
  name: string,
  kind: 'gauge' | 'counter',
  unit: string,
  labels: Readonly<Record<string, string>>,
  text: string | undefined,
  scale = 1,
): void {
  if (text === undefined || !/^\d+(\.\d+)?$/.test(text)) return;
  const value = scale < 1 ? Number(text) / Math.round(1 / scale) : Number(text) * scale;
  if (Number.isFinite(value)) values.push({ name, kind, unit, labels, value });
}
