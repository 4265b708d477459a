import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { describe, expect, test } from 'vitest';
import { prometheusReadings } from '../../../src/agent/sources/prometheus-readings.ts';
import { parsePrometheusText } from '../../../src/agent/sources/prometheus-text.ts';
import { sharedData } from '../../helpers/shared-data.ts';

const NOW = 1_700_000_000_000;

function read(text: string) {
  const page = parsePrometheusText(text);
  const readings = prometheusReadings(page, NOW);
  return { readings, skipped: page.skipped.list() };
}

describe('a page of dcgm-exporter', () => {
  test('becomes readings with the identities renamed', () => {
    const { readings, skipped } = read(
      `# HELP DCGM_FI_DEV_SM_CLOCK SM clock frequency (in MHz).
# TYPE DCGM_FI_DEV_SM_CLOCK gauge
DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-1",pci_bus_id="0:1",device="nvidia0",modelName="H100",GPU_I_PROFILE="1g.10gb",GPU_I_ID="7",Hostname="n1",DCGM_FI_DRIVER_VERSION="550",container="",namespace="",pod=""} 1980
# HELP DCGM_FI_DEV_MEMORY_TEMP Memory temperature (in C).
# TYPE DCGM_FI_DEV_MEMORY_TEMP gauge
DCGM_FI_DEV_MEMORY_TEMP{gpu="0",UUID="GPU-1"} 9223372036854775794
`,
    );
    expect(readings).toEqual([
      {
        name: 'DCGM_FI_DEV_SM_CLOCK',
        kind: 'gauge',
        unit: 'MHz',
        timestampMs: NOW,
        value: 1980,
        labels: {
          ...{ gpu_index: '0', gpu_uuid: 'GPU-1', pci_bus_id: '0:1', device: 'nvidia0' },
          ...{ gpu_model: 'H100', gpu_instance_profile: '1g.10gb', gpu_instance_id: '7' },
          ...{ hostname: 'n1', DCGM_FI_DRIVER_VERSION: '550' },
        },
      },
    ]);
    expect(skipped).toEqual([{ what: 'DCGM_FI_DEV_MEMORY_TEMP', why: 'sentinel', count: 1 }]);
  });

  test('that says its unit is believed before the name', () => {
    const { readings } = read(
      '# HELP DCGM_FI_DEV_GPU_UTIL_RATIO GPU utilization (in %).\nDCGM_FI_DEV_GPU_UTIL_RATIO 5\n' +
        '# UNIT DCGM_FI_DEV_FB_USED bytes\nDCGM_FI_DEV_FB_USED 5\nDCGM_FI_DEV_FB_USED_RATIO 1\n',
    );
    expect(readings.map(({ unit }) => unit)).toEqual(['%', 'bytes', '']);
  });
});

describe('the text format', () => {
  test('is read with its blanks, comments, escapes and times', () => {
    const text =
      '# NOTE anything\n#\n\n a 1\nb{} 2 1700000000123\r\nc { x = "1" , } 3\n' +
      'd{x="a\\"b\\\\c\\nd,}"} +4e-1\ne{x="#"} 5 # {t="1"} 0.5 12\n\t\n{"f.g",x="1"} 6\n';
    const { readings, skipped } = read(text);
    expect(readings.map(({ name, value }) => [name, value])).toEqual([
      ['a', 1],
      ['b', 2],
      ['c', 3],
      ['d', 0.4],
      ['e', 5],
      ['f.g', 6],
    ]);
    expect(readings.map(({ timestampMs }) => timestampMs - NOW)).toEqual([0, 123, 0, 0, 0, 0]);
    expect(readings[3]?.labels).toEqual({ x: 'a"b\\c\nd,}' });
    expect(skipped).toEqual([]);
  });

  test('loses a bad line and no other', () => {
    const bad = [
      'a',
      'a{',
      'a{x="1} 1',
      'a{x="1"',
      '{x="1"} 1',
      'a one',
      'a 1 2 3',
      'a 1 later',
      '1a 1',
    ];
    const { readings, skipped } = read(bad.map((line) => `${line}\nok 1\n`).join(''));
    expect(readings.length).toBe(bad.length);
    expect(skipped.length).toBe(bad.length);
    expect(skipped[0]).toMatchObject({ what: 'line 1', count: 1 });
  });

  test('may say NaN and infinity, which are no readings', () => {
    const text = 'a NaN\na +Inf\na -Inf\na 1e999\n';
    const { samples } = parsePrometheusText(text);
    const values = samples.map(({ value }) => value);
    expect(values).toEqual([NaN, Infinity, -Infinity, Infinity]);
    expect(read(text).readings).toEqual([]);
    expect(read(text).skipped).toEqual([
      { what: 'a', why: 'not a number', count: 1 },
      { what: 'a', why: 'infinite', count: 3 },
    ]);
  });

  test('keeps large honest values of other exporters', () => {
    const { readings } = read('process_max_fds 2147483647\nx_bytes 1.8446744073709552e+19\n');
    expect(readings.length).toBe(2);
  });

  test('keeps histograms and summaries as counters', () => {
    const { readings } = read(
      '# TYPE h histogram\nh_bucket{le="0.1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n' +
        '# TYPE s_seconds summary\ns_seconds{quantile="0.5"} 1\ns_seconds_sum 3\ns_seconds_count 2\n' +
        '# TYPE u untyped\nu 1\nu_total 1\n',
    );
    expect(readings.map(({ name, kind, labels }) => [name, kind, labels.le ?? ''])).toEqual([
      ['h_bucket', 'counter', '0.1'],
      ['h_bucket', 'counter', '+Inf'],
      ['h_sum', 'counter', ''],
      ['h_count', 'counter', ''],
      ['s_seconds', 'gauge', ''],
      ['s_seconds_sum', 'counter', ''],
      ['s_seconds_count', 'counter', ''],
      ['u', 'unspecified', ''],
      ['u_total', 'counter', ''],
    ]);
  });

  test('is bounded in samples and in the length of a line', () => {
    const page = parsePrometheusText('a 1\n'.repeat(10), { maxSamples: 3 });
    expect(page.samples.length).toBe(3);
    expect(page.skipped.list()).toEqual([{ what: 'samples', why: 'too many samples', count: 7 }]);
    const long = parsePrometheusText(`a{x="${'y'.repeat(70_000)}"} 1\nb 1\n`);
    expect(long.samples.map(({ name }) => name)).toEqual(['b']);
  });
});

describe('OpenMetrics', () => {
  test('has seconds for times, counters by family, units, and an end', () => {
    const text =
      '# TYPE e_joules counter\n# UNIT e_joules joules\ne_joules_total 17.0 1700000000.25\n' +
      'e_joules_created 1600000000\n# EOF\ngarbage\n';
    const page = parsePrometheusText(text, { format: 'openmetrics' });
    expect(prometheusReadings(page, NOW)).toMatchObject([
      { name: 'e_joules_total', kind: 'counter', unit: 'joules', timestampMs: NOW + 250 },
      { name: 'e_joules_created', kind: 'gauge' },
    ]);
    expect(page.skipped.list()).toEqual([]);
  });
});

test('a real page is read to its last sample', () => {
  const file = sharedData('prometheus-text/linux-x86_64__nvidia-h200__590.48.01__load.metrics');
  if (file === undefined) return;
  const lines = Number(execFileSync('grep', ['-vc', '^#', file], { encoding: 'utf8' }));
  const { readings, skipped } = read(fs.readFileSync(file, 'utf8'));
  const nan = Number(execFileSync('sh', ['-c', `grep -v '^#' '${file}' | grep -c 'NaN$' || true`]));
  expect(readings.length).toBe(lines - nan);
  expect(skipped.every(({ why }) => why === 'not a number')).toBe(true);
  const byName = new Map(readings.map((reading) => [reading.name, reading]));
  expect(byName.get('nvidia_smi_clocks_current_sm_clock_hz')).toMatchObject({
    value: 1.98e9,
    kind: 'gauge',
    unit: 'Hz',
    // The exporter strips the prefix; here it is back.
    labels: { gpu_uuid: 'GPU-00000000-0000-0000-0000-000000000000' },
  });
  const values = fs
    .readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => Number(line.slice(line.lastIndexOf(' ') + 1)))
    .filter((value) => !Number.isNaN(value));
  expect(readings.map(({ value }) => value)).toEqual(values);
});
