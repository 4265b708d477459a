import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  type NvidiaSmiSourceOptions,
  openNvidiaSmiSource,
} from '../../../src/agent/sources/nvidia-smi-source.ts';
import type { Reading } from '../../../src/client/reading.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import {
  type FakeAnswers,
  type FakeNvidiaSmi,
  fakeNvidiaSmi,
} from '../../helpers/fake-nvidia-smi.ts';
import { sharedData } from '../../helpers/shared-data.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

const HELP = ['index', 'uuid', 'name', 'pci.bus_id', 'driver_version', 'memory.used', 'fan.speed']
  .concat('mig.mode.current')
  .map((field) => `"${field}"\nWhat it is.\n`)
  .join('\n');
const UUID = 'GPU-11111111-2222-3333-4444-555555555555';
const HEAD = 'index, uuid, name, pci.bus_id, driver_version, memory.used [MiB], fan.speed [%]';
const ROW = `0, ${UUID}, NVIDIA H100, 00000000:18:00.0, 595.80, 5 MiB, [N/A]`;
const QUERY = `${HEAD}, mig.mode.current\n${ROW}, Disabled\n`;

function open(answers: FakeAnswers, options: NvidiaSmiSourceOptions = {}) {
  const smi = fakeNvidiaSmi(tempDir(), { help: HELP, query: QUERY, ...answers });
  const source = openNvidiaSmiSource({ command: smi.command, ...options }, systemClock);
  onTestFinished(() => source.close());
  return { smi, source };
}

describe('nvidia-smi that works', () => {
  test('is asked for its fields once and for values each time', async () => {
    const { smi, source } = open({});
    const before = systemClock.nowMs();
    const report = await source.collect();
    const again = await source.collect();
    expect(report.done).toBe(false);
    expect(report.readings.map(({ name, value }) => [name, value])).toEqual([
      ['nvidia_smi_memory_used', 5],
      ['nvidia_smi_mig_mode_current', 0],
    ]);
    const [reading] = report.readings;
    expect(reading?.labels.gpu_uuid).toBe(UUID);
    expect(reading?.timestampMs).toBeGreaterThanOrEqual(before);
    expect(reading?.timestampMs).toBeLessThanOrEqual(systemClock.nowMs());
    expect(report.skipped).toContainEqual({ what: 'fan.speed', why: 'no value', count: 1 });
    // What the driver lacks is told once.
    const unknown = (skips: typeof report.skipped) =>
      skips.filter(({ why }) => why === 'unknown to this driver').length;
    expect(unknown(report.skipped)).toBeGreaterThan(10);
    expect(unknown(again.skipped)).toBe(0);
    const query =
      '--query-gpu=index,uuid,name,pci.bus_id,driver_version,memory.used,fan.speed,mig.mode.current --format=csv';
    expect(smi.calls()[0]).toBe('--help-query-gpu');
    expect(smi.calls().slice(1).map(sortedFields)).toEqual([query, query].map(sortedFields));
  });

  test('lists MIG devices where a GPU is divided', async () => {
    const list = `GPU 0: H100 (UUID: ${UUID})\n  MIG 1g.10gb  Device  0: (UUID: MIG-1)\n`;
    const { source } = open({ query: QUERY.replace('Disabled', 'Enabled'), list });
    const { readings } = await source.collect();
    const device = readings.find(({ name }) => name === 'nvidia_smi_mig_device_info');
    expect(device).toMatchObject({ value: 1, labels: { gpu_uuid: UUID, mig_uuid: 'MIG-1' } });
  });

  test('keeps the other GPUs where one is lost', async () => {
    const { smi, source } = open({ query: `${QUERY}Unable to determine the device handle\n` });
    smi.answer({
      help: HELP,
      before: `case "$1" in --query-gpu=*) cat '${smi.command.replace(/[^/]*$/, 'query')}'; exit 15 ;; esac`,
      query: `${QUERY}Unable to determine the device handle for GPU 0000:84:00.0: Unknown Error\n`,
    });
    const { readings, skipped } = await source.collect();
    expect(readings.length).toBe(2);
    expect(skipped.map(({ why }) => why)).toContainEqual(expect.stringContaining('exit code 15'));
    expect(skipped.map(({ why }) => why)).toContain('1 cells for 8 columns');
  });

  test('is read from a real capture', async () => {
    const file = sharedData('nvidia-smi/linux-x86_64__nvidia-l40s__595.80.txt');
    if (file === undefined) return;
    const parts = fs.readFileSync(file, 'utf8').split(/^#{80}\n/m);
    const text = (title: string) =>
      parts[parts.findIndex((part) => part.startsWith(`# ${title}`)) + 1] ?? '';
    const help = text('capabilities :: help-query-gpu');
    const { source } = open({ help, query: text('load :: query-gpu') }, { fields: 'all' });
    const { readings } = await source.collect();
    expect(readings.length).toBeGreaterThan(80);
    expect(new Set(readings.map(({ labels }) => labels.gpu_model))).toEqual(
      new Set(['NVIDIA L40S']),
    );
  });
});

describe('nvidia-smi that does not work', () => {
  const mismatch = 'Failed to initialize NVML: Driver/library version mismatch';
  test.each<[string, FakeAnswers, string, string]>([
    [
      'fails',
      { before: 'echo "something odd"; exit 3' },
      'NVIDIA_SMI_FAILED',
      'exit code 3: "something odd"',
    ],
    [
      'has another driver',
      { before: `echo "${mismatch}"; exit 18` },
      'NVIDIA_SMI_DRIVER',
      mismatch,
    ],
    ['is ended', { before: 'kill -SEGV $$' }, 'NVIDIA_SMI_FAILED', 'ended by SIGSEGV'],
    ['hangs', { before: 'exec sleep 20' }, 'NVIDIA_SMI_TIMEOUT', 'no answer within 400 ms'],
    ['hangs in a child of its own', { before: 'sleep 3' }, 'NVIDIA_SMI_TIMEOUT', 'no answer'],
    ['talks without end', { before: 'exec yes' }, 'NVIDIA_SMI_OUTPUT', 'more than'],
    ['knows no fields', { help: 'nothing' }, 'NVIDIA_SMI_OUTPUT', 'neither uuid nor index'],
    ['prints no table', { query: 'hello\n' }, 'NVIDIA_SMI_OUTPUT', 'no table but "hello"'],
    ['prints no GPU', { query: `${HEAD}\n` }, 'NVIDIA_SMI_OUTPUT', 'no table'],
  ])('and %s', async (_, answers, code, message) => {
    const { source } = open(answers, { timeoutMs: code === 'NVIDIA_SMI_TIMEOUT' ? 400 : 20_000 });
    const error = await source.collect().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
  });

  test('and is not there', async () => {
    const command = path.join(tempDir(), 'nvidia-smi');
    const source = openNvidiaSmiSource({ command }, systemClock);
    const error = await source.collect().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'NVIDIA_SMI_NOT_FOUND' });
    await source.close();
  });

  test('is asked again, and for its fields too, once it works', async () => {
    const { smi, source } = open({ before: 'exit 9' });
    await expect(source.collect()).rejects.toThrow('exit code 9');
    smi.answer({ help: HELP, query: QUERY });
    expect((await source.collect()).readings.length).toBe(2);
    smi.answer({
      help: HELP,
      before: 'case "$1" in --query*) echo "not a valid field"; exit 2;; esac',
    });
    await expect(source.collect()).rejects.toThrow('not a valid field');
    smi.answer({ help: HELP, query: QUERY });
    expect((await source.collect()).readings.length).toBe(2);
    expect(smi.calls().filter((call) => call === '--help-query-gpu').length).toBe(3);
  });

  test('and hangs lets go when the source is closed', async () => {
    const { source } = open({ before: 'exec sleep 20' });
    const collecting = source.collect().catch((thrown: unknown) => thrown);
    await source.close();
    expect(await collecting).toMatchObject({ message: expect.stringContaining('closed') });
  });
});

describe('nvidia-smi that stays', () => {
  const other = UUID.replace('11111111', '99999999');
  const row = (uuid: string, used: string) =>
    `0, ${uuid}, NVIDIA H100, 00000000:18:00.0, 595.80, ${used} MiB, [N/A], Disabled`;
  const both = (used: string) => `echo "${row(UUID, used)}"; echo "${row(other, used)}"`;
  const head = `echo '${HEAD}, mig.mode.current'`;
  const used = (report: { readings: readonly Reading[] }) =>
    report.readings
      .filter(({ name }) => name === 'nvidia_smi_memory_used')
      .map(({ value }) => value);
  const stays = (smi: FakeNvidiaSmi) => smi.calls().filter((call) => call.includes('-lms=')).length;

  test('is started once, and gives each table once, with its own time', async () => {
    const stay = `${head}; n=0; while :; do n=$((n+1)); ${both('$n')}; sleep 0.2; done`;
    const { smi, source } = open({ stay }, { residentPeriodMs: 5000 });
    const seen: number[] = [];
    const times: number[] = [];
    for (let count = 0; count < 4; count += 1) {
      const report = await source.collect();
      const [first, second] = used(report);
      expect(second).toBe(first);
      seen.push(first!);
      times.push(report.readings[0]!.timestampMs);
    }
    expect(new Set(seen).size).toBe(4);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(new Set(times).size).toBe(4);
    expect(smi.calls()).toHaveLength(2);
  });

  test('is not asked for more than it answers: what is old is not sent again', async () => {
    const stay = `${head}; ${both('1')}; sleep 60`;
    const { source } = open({ stay }, { residentPeriodMs: 100, timeoutMs: 1500 });
    expect(used(await source.collect())).toEqual([1, 1]);
    await expect(source.collect()).rejects.toMatchObject({ code: 'NVIDIA_SMI_TIMEOUT' });
  });

  test('and ends is asked by single calls meanwhile, and started again', async () => {
    const { smi, source } = open(
      { stay: `${head}; ${both('1')}; exit 0` },
      { residentPeriodMs: 100 },
    );
    expect(used(await source.collect())).toEqual([1, 1]);
    await source.collect();
    await source.collect();
    expect(stays(smi)).toBeGreaterThan(1);
  });

  test('but says nothing is given up for single calls', async () => {
    const { smi, source } = open({ stay: 'exit 1' }, { residentPeriodMs: 100 });
    for (let count = 0; count < 3; count += 1) expect(used(await source.collect())).toEqual([5]);
    expect(stays(smi)).toBe(1);
  });

  test('and takes longer than the interval is not left waiting between two answers', async () => {
    const stay = `${head}; while :; do ${both('1')}; sleep 0.5; done`;
    const { smi, source } = open({ stay }, { residentPeriodMs: 300 });
    await source.collect();
    for (let count = 0; count < 3; count += 1) await source.collect();
    // It asks for no shorter pause than it was given, and starts anew once only.
    expect(stays(smi)).toBe(2);
  });

  test('and loses a GPU gives the others, and what the driver says', async () => {
    const lost = 'Unable to determine the device handle for GPU 0000:84:00.0: Unknown Error';
    const rest = `sleep 0.2; echo '${row(UUID, '2')}'; echo '${lost}'`;
    const stay = `${head}; ${both('1')}; while :; do ${rest}; done`;
    const { source } = open({ stay }, { residentPeriodMs: 5000 });
    expect(used(await source.collect())).toEqual([1, 1]);
    const reports = [await source.collect(), await source.collect(), await source.collect()];
    expect(reports.map(used)).toEqual([[2], [2], [2]]);
    const skipped = reports.flatMap((report) => report.skipped.map(({ why }) => why));
    expect(skipped).toContain('1 cells for 8 columns');
  });

  test('and loses two GPUs, of which it says the same, still gives whole tables', async () => {
    const lost = Array.from({ length: 8 }, () => '[GPU is lost]').join(', ');
    const rest = `sleep 0.2; echo '${row(UUID, '2')}'; echo '${lost}'; echo '${lost}'; echo '${row(other, '2')}'`;
    const stay = `${head}; ${both('1')}; while :; do ${rest}; done`;
    const { source } = open({ stay }, { residentPeriodMs: 5000 });
    expect(used(await source.collect())).toHaveLength(2);
    const reports = [await source.collect(), await source.collect(), await source.collect()];
    expect(reports.map(used)).toEqual([
      [2, 2],
      [2, 2],
      [2, 2],
    ]);
  });

  test('lets go when the source is closed', async () => {
    const { source } = open({ stay: `${head}; exec sleep 60` }, { residentPeriodMs: 100 });
    const collecting = source.collect().catch((thrown: unknown) => thrown);
    await source.close();
    await collecting;
  });
});

function sortedFields(call: string): string {
  const [, fields = ''] = /--query-gpu=(\S+)/.exec(call) ?? [];
  return fields.split(',').sort().join(',');
}
