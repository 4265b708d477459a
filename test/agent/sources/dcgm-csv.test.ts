import { describe, expect, test } from 'vitest';
import type { Reading } from '../../../src/client/reading.ts';
import { planDcgmCsv, readDcgmCsvRow } from '../../../src/agent/sources/dcgm-csv.ts';

const HEADER =
  'timestamp,metric_name,gpu_id,device,uuid,modelName,Hostname,container,pod,namespace,value,labels_raw';
const UUID = 'GPU-11111111-2222-3333-4444-555555555555';

/** What the rows under a header become, and what of them is skipped. */
function read(header: string, ...rows: (readonly string[])[]) {
  const layout = planDcgmCsv(header.split(','));
  if (typeof layout === 'string') return { error: layout, readings: [], skipped: [] };
  const readings: Reading[] = [];
  const skipped: string[] = [];
  for (const row of rows) {
    readDcgmCsvRow(layout, row, readings, (what, why) => skipped.push(`${what}: ${why}`));
  }
  return { error: '', readings, skipped };
}

function longRow(value: string, metric = 'DCGM_FI_DEV_GPU_UTIL', labelsRaw = ''): string[] {
  const time = '2025-07-18T20:42:34Z';
  return [time, metric, '0', 'nvidia0', UUID, 'H100', 'n1', '', '', '', value, labelsRaw];
}

describe('the long form', () => {
  test('is one reading a row, with canonical labels and no empty ones', () => {
    const list =
      'DCGM_FI_DRIVER_VERSION="535.1",Hostname="other",__name__="x",job="dgx",pod="late"';
    expect(read(HEADER, longRow('75', 'DCGM_FI_DEV_GPU_UTIL', list)).readings).toEqual([
      {
        name: 'DCGM_FI_DEV_GPU_UTIL',
        kind: 'gauge',
        unit: '%',
        timestampMs: Date.UTC(2025, 6, 18, 20, 42, 34),
        value: 75,
        labels: {
          gpu_index: '0',
          device: 'nvidia0',
          gpu_uuid: UUID,
          gpu_model: 'H100',
          // The column wins over the list; an empty column does not.
          hostname: 'n1',
          pod: 'late',
          DCGM_FI_DRIVER_VERSION: '535.1',
          job: 'dgx',
        },
      },
    ]);
  });

  test.each([
    [
      'Timestamp,METRIC_NAME,GPU_ID,Device,UUID,model_name,hostname,Container,POD,Namespace,Value,Labels',
    ],
    [
      ' timestamp , metric_name,gpu,device,gpu_uuid,modelname,HOSTNAME,container_name,pod_name,pod_namespace,value,labels',
    ],
  ])('understands the header %s', (header) => {
    const { readings, error } = read(header, longRow('5'));
    expect(error).toBe('');
    expect(readings[0]?.labels).toEqual({
      ...{ gpu_index: '0', device: 'nvidia0', gpu_uuid: UUID, gpu_model: 'H100' },
      hostname: 'n1',
    });
  });

  test.each([
    [' 75', 75],
    ['1e-7', 1e-7],
    ['"5"', 5],
    ['66.781', 66.781],
  ])('takes %j for %d', (text, value) => {
    expect(read(HEADER, longRow(text)).readings[0]?.value).toBe(value);
  });

  test.each([
    ['', 'no value'],
    ['[N/A]', 'no value'],
    ['NaN', 'not a number'],
    ['Inf', 'infinite'],
    ['9223372036854775794', 'sentinel'],
  ])('skips a value of %j, saying "%s"', (text, why) => {
    const { readings, skipped } = read(HEADER, longRow(text));
    expect(readings).toEqual([]);
    expect(skipped).toEqual([`DCGM_FI_DEV_GPU_UTIL: ${why}`]);
  });

  test('skips bad rows and keeps a row whose label list is broken', () => {
    const bad = longRow('1');
    bad[0] = 'yesterday';
    const { readings, skipped } = read(
      HEADER,
      bad,
      longRow('1').slice(1),
      longRow('1', ''),
      longRow('1', 'X', 'a=b'),
    );
    expect(readings.map(({ name }) => name)).toEqual(['X']);
    expect(skipped).toEqual([
      ': timestamp not understood',
      ': wrong number of columns',
      ': no metric name',
      'labels_raw: label list not understood',
    ]);
  });

  test('tells the MIG instances of one GPU apart', () => {
    const list = (id: number) => `GPU_I_PROFILE="1g.10gb",GPU_I_ID="${id}"`;
    const { readings } = read(HEADER, longRow('1', 'X', list(7)), longRow('2', 'X', list(8)));
    expect(readings.map(({ labels }) => labels.gpu_instance_id)).toEqual(['7', '8']);
  });

  test('gives no unit to an old name from a sender of the new vocabulary', () => {
    const row = longRow('5', 'DCGM_FI_DEV_FB_USED', 'DCGM_FI_SYSTEM_DRIVER_VERSION="595"');
    expect(read(HEADER, row).readings[0]?.unit).toBe('');
  });
});

describe('the wide form', () => {
  const WIDE =
    'timestamp,gpu_id,uuid,device,model_name,hostname,gpu_utilization,memory_used_mb,temperature_c,power_w';

  test('is one reading a column', () => {
    const row = [
      '2025-07-18 20:42:34',
      '1',
      UUID,
      'nvidia1',
      'H100',
      'n1',
      '7',
      '[N/A]',
      '40',
      '99.5',
    ];
    const { readings, skipped } = read(WIDE, row);
    expect(readings.map(({ name, value, unit, kind }) => [name, value, unit, kind])).toEqual([
      ['gpu_utilization', 7, '', 'gauge'],
      ['temperature_c', 40, 'C', 'gauge'],
      ['power_w', 99.5, 'W', 'gauge'],
    ]);
    expect(skipped).toEqual(['memory_used_mb: no value']);
    const labels = { gpu_index: '1', gpu_uuid: UUID, device: 'nvidia1', gpu_model: 'H100' };
    expect(readings[0]?.labels).toEqual({ ...labels, hostname: 'n1' });
    expect(readings[0]?.timestampMs).toBe(Date.UTC(2025, 6, 18, 20, 42, 34));
  });
});

test.each([
  ['timestamp,metric_name,value,Value', 'columns 3 and 4 are both called "Value"'],
  ['a,b', 'no column "timestamp" among a, b'],
  ['timestamp,metric_name,gpu', '"metric_name" and "value" go together'],
  ['timestamp,timestamp,value', 'columns 1 and 2 are both called "timestamp"'],
])('the header %s is refused', (header, why) => {
  expect(read(header).error).toContain(why);
});
