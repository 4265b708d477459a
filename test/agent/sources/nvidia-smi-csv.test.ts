import fs from 'node:fs';
import { describe, expect, test } from 'vitest';
import { nvidiaSmiReadings, parseNvidiaSmiCsv } from '../../../src/agent/sources/nvidia-smi-csv.ts';
import { chooseFields, parseFieldHelp } from '../../../src/agent/sources/nvidia-smi-fields.ts';
import { migDeviceReadings } from '../../../src/agent/sources/nvidia-smi-mig.ts';
import { parsePrometheusText } from '../../../src/agent/sources/prometheus-text.ts';
import { SkipTally } from '../../../src/agent/sources/skip-tally.ts';
import { sharedData } from '../../helpers/shared-data.ts';

const HEAD = 'index, uuid, name';
const UUID = 'GPU-11111111-2222-3333-4444-555555555555';

function read(text: string) {
  const skipped = new SkipTally();
  const table = parseNvidiaSmiCsv(text, skipped);
  const readings = table === undefined ? undefined : nvidiaSmiReadings(table, 1000, skipped);
  return { readings, skipped: skipped.list() };
}

/** The value and unit, or the reason, that one cell gives. */
function readOne(header: string, cell: string) {
  const { readings, skipped } = read(`${HEAD}, ${header}\n0, ${UUID}, H200, ${cell}\n`);
  const [reading] = readings ?? [];
  return reading === undefined ? skipped[0]?.why : [reading.name, reading.value, reading.unit];
}

describe('a cell', () => {
  test.each([
    ['utilization.gpu [%]', '34 %', ['nvidia_smi_utilization_gpu', 34, '%']],
    ['utilization.gpu', '34 %', ['nvidia_smi_utilization_gpu', 34, '%']],
    ['power.draw [W]', '77.71 W', ['nvidia_smi_power_draw', 77.71, 'W']],
    ['memory.used [MiB]', '123', ['nvidia_smi_memory_used', 123, 'MiB']],
    ['temperature.gpu', '28', ['nvidia_smi_temperature_gpu', 28, 'C']],
    [
      'clocks_event_reasons.active',
      '0x0000000000000005',
      ['nvidia_smi_clocks_event_reasons_active', 5, 'bitmask'],
    ],
    [
      'clocks_throttle_reasons.active',
      '0x1',
      ['nvidia_smi_clocks_event_reasons_active', 1, 'bitmask'],
    ],
    [
      'clocks_throttle_reasons.sw_power_cap',
      'Active',
      ['nvidia_smi_clocks_event_reasons_sw_power_cap', 1, 'bool'],
    ],
    ['persistence_mode', 'Disabled', ['nvidia_smi_persistence_mode', 0, 'bool']],
    ['remapped_rows.pending', 'Yes', ['nvidia_smi_remapped_rows_pending', 1, 'bool']],
    ['pstate', 'P8', ['nvidia_smi_pstate', 8, 'code']],
    ['gpu_recovery_action', 'Drain P2P', ['nvidia_smi_gpu_recovery_action', 3, 'code']],
  ])('%s = %s is a value', (header, cell, expected) => {
    expect(readOne(header, cell)).toEqual(expected);
  });

  test.each([
    ['utilization.gpu [%]', '[N/A]', 'no value'],
    ['utilization.gpu [%]', '[Not Supported]', 'no value'],
    ['power.management', '[Requested functionality has been deprecated]', 'no value'],
    ['temperature.gpu', '[GPU requires reset]', 'no value'],
    ['temperature.gpu', '[Unknown Error]', 'no value'],
    ['temperature.gpu', 'ERR!', 'no value'],
    ['fabric.health.summary', 'N/A', 'no value'],
    ['fan.speed [%]', '', 'no value'],
    ['memory.used [MiB]', '1 GiB', 'unit differs from the header'],
    ['fabric.state', 'Completed', 'not a number'],
    ['clocks_event_reasons.active', '0xFFFFFFFFFFFFFFFF', 'too large for a double'],
    ['clocks_event_reasons.active', '12', 'not a number'],
  ])('%s = %s is none', (header, cell, why) => {
    expect(readOne(header, cell)).toBe(why);
  });

  test('that names or describes is no metric and not worth a word', () => {
    const { readings, skipped } = read(
      `${HEAD}, compute_cap, pci.device_id\n0, ${UUID}, T4, 9.0, 0x1\n`,
    );
    expect(readings).toEqual([]);
    expect(skipped).toEqual([]);
  });
});

describe('the table', () => {
  test('carries identities as labels and takes CRLF', () => {
    const text = `index, uuid, name, pci.bus_id, driver_version, memory.used [MiB]\r\n1, ${UUID}, NVIDIA L40S, 00000000:83:00.0, 595.80, 5 MiB\r\n\r\n`;
    expect(read(text).readings).toEqual([
      {
        name: 'nvidia_smi_memory_used',
        kind: 'gauge',
        unit: 'MiB',
        value: 5,
        timestampMs: 1000,
        labels: {
          gpu_index: '1',
          gpu_uuid: UUID,
          gpu_model: 'NVIDIA L40S',
          pci_bus_id: '00000000:83:00.0',
          driver_version: '595.80',
        },
      },
    ]);
  });

  test('refuses rows with another number of cells, and keeps the others', () => {
    const { readings, skipped } = read(
      `WARNING: infoROM is corrupted at gpu 0000:83:00.0, see the manual\n${HEAD}, memory.used [MiB]\n` +
        `0, ${UUID}, a name, with a comma, 5 MiB\n1, ${UUID}, ok, 6 MiB\n` +
        'Unable to determine the device handle for GPU 0000:84:00.0: Unknown Error\n',
    );
    expect(readings?.map(({ value }) => value)).toEqual([6]);
    expect(skipped).toEqual([
      { what: 'line 3', why: '5 cells for 4 columns', count: 1 },
      { what: 'line 5', why: '1 cells for 4 columns', count: 1 },
    ]);
  });

  test('keeps an empty last cell', () => {
    for (const end of [', ', ',']) {
      const { readings, skipped } = read(`${HEAD}, memory.used, serial\n0, ${UUID}, x, 5${end}\n`);
      expect(readings?.length).toBe(1);
      expect(skipped).toEqual([]);
    }
  });

  test.each(['', 'NVIDIA-SMI has failed because …\n', '0, GPU-1, x, 5 MiB\n'])(
    'is absent in %j',
    (text) => {
      expect(read(text).readings).toBeUndefined();
    },
  );
});

describe('the choice of fields', () => {
  const help = `List of valid properties to query for the switch "--query-gpu":

"index"
Zero based index. May be "Enabled" or "Disabled".

"uuid" or "gpu_uuid"
"name" or "gpu_name"
"pci.bus_id" or "gpu_bus_id"
"driver_version"
"clocks_throttle_reasons.active"
"clocks.current.sm" or "clocks.sm"
`;

  test('follows the driver’s own list, with old and short names', () => {
    const wanted = ['clocks_event_reasons.active', 'clocks.sm', 'clocks.current.sm', 'power.draw'];
    expect(chooseFields(parseFieldHelp(help), wanted)).toEqual({
      fields: [
        ...['index', 'uuid', 'name', 'pci.bus_id', 'driver_version'],
        ...['clocks_throttle_reasons.active', 'clocks.current.sm'],
      ],
      unknown: ['power.draw'],
    });
  });

  test('"all" asks for each field once', () => {
    expect(chooseFields(parseFieldHelp(help), 'all').fields.length).toBe(7);
  });
});

describe('MIG devices', () => {
  test('are listed under their GPU, in the new and the old form', () => {
    const listing = `GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa1111-2222-3333-4444-555555555555)
  MIG 1g.10gb     Device  0: (UUID: MIG-bbbb1111-2222-3333-4444-555555555555)
  MIG 3g.40gb     Device  1: (UUID: MIG-cccc1111-2222-3333-4444-555555555555)
GPU 1: A100-SXM4-40GB (UUID: GPU-dddd1111-2222-3333-4444-555555555555)
  MIG 1g.5gb Device 0: (UUID: MIG-GPU-dddd1111-2222-3333-4444-555555555555/7/0)
`;
    const devices = migDeviceReadings(listing, 5).map(({ labels }) => labels);
    expect(
      devices.map((labels) => [labels.gpu_index, labels.gpu_instance_profile, labels.mig_device]),
    ).toEqual([
      ['0', '1g.10gb', '0'],
      ['0', '3g.40gb', '1'],
      ['1', '1g.5gb', '0'],
    ]);
    expect(devices[0]).not.toHaveProperty('gpu_instance_id');
    expect(devices[2]).toMatchObject({
      gpu_uuid: 'GPU-dddd1111-2222-3333-4444-555555555555',
      gpu_instance_id: '7',
      compute_instance_id: '0',
    });
  });
});

/** The output of one command in a capture file, whose sections stand between rulers of #. */
function section(capture: string, title: string): string {
  const parts = capture.split(/^#{80}\n/m);
  const index = parts.findIndex((part) => part.startsWith(`# ${title}`));
  return (parts[index + 1] ?? '').trimEnd();
}

describe('real captures', () => {
  test.each([
    ['linux-x86_64__nvidia-h200__590.48.01.txt', 'NVIDIA H200', 212],
    ['linux-x86_64__nvidia-l40s__595.80.txt', 'NVIDIA L40S', 202],
  ])('%s is read column by column', (name, model, columns) => {
    const file = sharedData(`nvidia-smi/${name}`);
    if (file === undefined) return;
    const capture = fs.readFileSync(file, 'utf8');
    for (const phase of ['idle', 'load']) {
      const text = section(capture, `${phase} :: query-gpu`);
      const [head = '', row = ''] = text.split('\n');
      expect(head.split(', ').length).toBeGreaterThanOrEqual(columns);
      const { readings = [], skipped } = read(`${text}\n`);
      const byName = new Map(readings.map((reading) => [reading.name, reading]));
      expect(byName.size).toBe(readings.length);
      expect(readings.every(({ labels }) => labels.gpu_model === model)).toBe(true);
      // Every cell of the form "<number>" or "<number> <its column's unit>" must be there, equal.
      const cells = row.split(', ');
      let plain = 0;
      for (const [index, header] of head.split(', ').entries()) {
        const [field = '', unit] = header.replace(']', '').split(' [');
        const cell = cells[index] ?? '';
        const reading = byName.get(`nvidia_smi_${field.replaceAll('.', '_')}`);
        if (unit === undefined || /\[/.test(cell)) continue;
        plain += 1;
        expect(reading, field).toMatchObject({ value: Number(cell.split(' ')[0]), unit });
      }
      expect(plain).toBeGreaterThan(30);
      const absent = cells.filter((cell) => /^(\[.*\]|N\/A|)$/.test(cell)).length;
      const counted = skipped.filter(({ why }) => why === 'no value').length;
      // Cells of fields that are never measured are not counted.
      expect(counted).toBeLessThanOrEqual(absent);
      expect(counted).toBeGreaterThan(absent - 15);
      // Free text besides: fabric.state, fabric.status and the like, each named.
      expect(skipped.filter(({ why }) => why !== 'no value').length).toBeLessThan(8);
    }
  });

  test('agree with what another exporter made of the same run', () => {
    const page = sharedData('prometheus-text/linux-x86_64__nvidia-h200__590.48.01__load.metrics');
    const file = sharedData('nvidia-smi/linux-x86_64__nvidia-h200__590.48.01.txt');
    if (page === undefined || file === undefined) return;
    const text = section(fs.readFileSync(file, 'utf8'), 'load :: query-gpu');
    const mine = new Map((read(`${text}\n`).readings ?? []).map((r) => [r.name, r]));
    const scales: Record<string, number> = { MHz: 1e6, MiB: 2 ** 20, '%': 0.01, us: 1e-6 };
    let compared = 0;
    for (const { name, value } of parsePrometheusText(fs.readFileSync(page, 'utf8')).samples) {
      const plain = name.replace(/(_clock_hz|_bytes|_watts|_ratio|_seconds)$/, '');
      const reading = mine.get(name) ?? mine.get(plain);
      // There, states count from 0 by the digit; here, too. Fields that are words there differ.
      if (reading === undefined || reading.unit === 'code') continue;
      const scaled = reading.value * (name === reading.name ? 1 : (scales[reading.unit] ?? 1));
      expect(scaled, name).toBeCloseTo(value, 5);
      compared += 1;
    }
    expect(compared).toBeGreaterThan(80);
  });

  test('name the fields that the driver knows', () => {
    const file = sharedData('nvidia-smi/linux-x86_64__nvidia-h200__590.48.01.txt');
    if (file === undefined) return;
    const capture = fs.readFileSync(file, 'utf8');
    const known = parseFieldHelp(section(capture, 'capabilities :: help-query-gpu'));
    const derived = section(capture, 'capabilities :: query-gpu field list').split('\n');
    expect(new Set(known.values())).toEqual(new Set(derived.filter((line) => line !== '')));
  });
});
