import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { openHostSource } from '../../../src/agent/sources/host-source.ts';
import {
  type HostValue,
  parseDiskstats,
  parseMeminfo,
  parseMounts,
  parseNetDev,
  parsePressure,
  parseStat,
} from '../../../src/agent/sources/proc-files.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

const STAT = `cpu  6369 10 3497 222061 608 5 86 24 7 0
cpu0 2666 4 1250 112375 13 2 18 7 7 0
cpu1 3703 6 2247 109686 595 3 68 17 0 0
intr 418851 0 0
ctxt 1129249
btime 1795228329
processes 8650
procs_running 2
procs_blocked 0
`;

/** Values as `name{label values}` → value. */
function table(values: readonly HostValue[]): Record<string, number> {
  return Object.fromEntries(
    values.map(({ name, labels, value }) => [`${name}{${Object.values(labels)}}`, value]),
  );
}

describe('/proc', () => {
  test('stat is CPU seconds by mode, of all cores or of each', () => {
    expect(table(parseStat(STAT, false))).toEqual({
      'node_cpu_seconds_total{user}': 63.69,
      'node_cpu_seconds_total{nice}': 0.1,
      'node_cpu_seconds_total{system}': 34.97,
      'node_cpu_seconds_total{idle}': 2220.61,
      'node_cpu_seconds_total{iowait}': 6.08,
      'node_cpu_seconds_total{irq}': 0.05,
      'node_cpu_seconds_total{softirq}': 0.86,
      'node_cpu_seconds_total{steal}': 0.24,
      'node_context_switches_total{}': 1_129_249,
      'node_boot_time_seconds{}': 1_795_228_329,
      'node_forks_total{}': 8650,
      'node_procs_running{}': 2,
      'node_procs_blocked{}': 0,
      'node_cpu_cores{}': 2,
    });
    const perCore = table(parseStat(STAT, true));
    expect(perCore['node_cpu_seconds_total{1,user}']).toBe(37.03);
    expect(perCore['node_cpu_seconds_total{user}']).toBeUndefined();
  });

  test('meminfo is bytes, and page counts where it says no unit', () => {
    const text =
      'MemTotal:       16384 kB\nMemAvailable:    1 kB\nHugePages_Total:       3\nOdd:  1 kB\nMemFree: x kB\n';
    expect(table(parseMeminfo(text))).toEqual({
      'node_memory_MemTotal_bytes{}': 16_777_216,
      'node_memory_MemAvailable_bytes{}': 1024,
      'node_memory_HugePages_Total{}': 3,
    });
  });

  test('net/dev is physical interfaces, also where a counter touches the colon', () => {
    const text = `Inter-|   Receive                            |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0
  eth0:18446744073 2 3 4 0 0 0 0 9 10 11 12 0 0 0 0
bond0.7: 1 2 3 4 0 0 0 0 9 10 11 12 0 0 0 0
veth12ab: 1 2 3 4 0 0 0 0 9 10 11 12 0 0 0 0
`;
    const values = table(parseNetDev(text));
    expect(Object.keys(values).length).toBe(16);
    expect(values).toMatchObject({
      'node_network_receive_bytes_total{eth0}': 18_446_744_073,
      'node_network_receive_drop_total{eth0}': 4,
      'node_network_transmit_bytes_total{eth0}': 9,
      'node_network_transmit_drop_total{bond0.7}': 12,
    });
  });

  test('diskstats is whole disks in bytes and seconds', () => {
    const numbers = '100 1 8 2500 200 2 16 500 0 1500 3000 0 0 0 0';
    const text = ['loop0', 'sda', 'sda1', 'nvme0n1', 'nvme0n1p2', 'dm-0', 'md127', 'ram0']
      .map((name, minor) => `   8       ${minor} ${name} ${numbers}\n`)
      .join('');
    const values = table(parseDiskstats(text));
    expect(Object.keys(values).length).toBe(4 * 7);
    expect(values).toMatchObject({
      'node_disk_reads_completed_total{sda}': 100,
      'node_disk_read_bytes_total{nvme0n1}': 4096,
      'node_disk_read_time_seconds_total{dm-0}': 2.5,
      'node_disk_written_bytes_total{md127}': 8192,
      'node_disk_io_time_seconds_total{sda}': 1.5,
    });
  });

  test('pressure is seconds, without the line of zeros for the CPU', () => {
    const text =
      'some avg10=0.67 avg60=0.94 avg300=0.63 total=26432824\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n';
    expect(table(parsePressure(text, 'cpu'))).toEqual({
      'node_pressure_cpu_waiting_seconds_total{}': 26.432824,
    });
    expect(table(parsePressure(text, 'io'))).toEqual({
      'node_pressure_io_waiting_seconds_total{}': 26.432824,
      'node_pressure_io_stalled_seconds_total{}': 1,
    });
  });

  test('mounts are local disks, each once, with their blanks', () => {
    const text = `proc /proc proc rw 0 0
/dev/sda1 / ext4 rw 0 0
/dev/sda1 /var/lib/kubelet/pods/1/vol ext4 rw 0 0
/dev/sda1 /bind ext4 rw 0 0
/dev/sdb1 /mnt/my\\040data xfs rw 0 0
server:/x /nfs nfs4 rw 0 0
overlay /var/lib/docker/overlay2/1/merged overlay rw 0 0
`;
    expect(parseMounts(text).map(({ mountpoint }) => mountpoint)).toEqual(['/', '/mnt/my data']);
  });
});

describe('the source', () => {
  test('reads this machine', async () => {
    const source = openHostSource({}, systemClock);
    const { readings, skipped, done } = await source.collect();
    await source.close();
    const names = new Set(readings.map(({ name }) => name));
    expect([...names]).toEqual(
      expect.arrayContaining([
        'node_cpu_seconds_total',
        'node_memory_MemAvailable_bytes',
        'node_load1',
        'node_uptime_seconds',
      ]),
    );
    expect(readings.every(({ value }) => Number.isFinite(value) && value >= 0)).toBe(true);
    const keys = readings.map(({ name, labels }) => name + JSON.stringify(labels));
    expect(new Set(keys).size).toBe(readings.length);
    expect(skipped).toEqual([]);
    expect(done).toBe(false);
  });

  test('reads another root, and counts the tables that are not there', async () => {
    const root = tempDir();
    fs.writeFileSync(path.join(root, 'stat'), STAT);
    fs.mkdirSync(path.join(root, 'self'));
    fs.writeFileSync(
      path.join(root, 'self/mounts'),
      `/dev/x ${root} ext4 rw 0 0\n/dev/y /gone ext4 rw 0 0\n`,
    );
    const source = openHostSource({ procRoot: root }, new FakeClock(5));
    const { readings, skipped } = await source.collect();
    expect(readings.filter(({ name }) => name === 'node_filesystem_size_bytes')).toMatchObject([
      { timestampMs: 5, unit: 'B', labels: { device: '/dev/x', mountpoint: root, fstype: 'ext4' } },
    ]);
    expect(skipped).toEqual([
      ...['meminfo', 'loadavg', 'uptime', 'net/dev', 'diskstats'].map((what) => ({
        ...{ what, why: 'ENOENT', count: 1 },
      })),
      { what: '/gone', why: 'ENOENT', count: 1 },
    ]);
  });

  test('says that it needs Linux where there is no /proc', async () => {
    const source = openHostSource({ procRoot: path.join(tempDir(), 'proc') }, new FakeClock(0));
    await expect(source.collect()).rejects.toMatchObject({
      code: 'HOST_NOT_LINUX',
      message: expect.stringContaining('only Linux has it'),
    });
  });
});
