import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Reading } from '../../../src/client/reading.ts';
import { openCsvSource } from '../../../src/agent/sources/csv-source.ts';
import { planDcgmCsv, readDcgmCsvRow } from '../../../src/agent/sources/dcgm-csv.ts';
import { parseLabelList } from '../../../src/agent/sources/label-list.ts';
import { nvidiaSmiReadings, parseNvidiaSmiCsv } from '../../../src/agent/sources/nvidia-smi-csv.ts';
import { chooseFields, parseFieldHelp } from '../../../src/agent/sources/nvidia-smi-fields.ts';
import { migDeviceReadings } from '../../../src/agent/sources/nvidia-smi-mig.ts';
import {
  parseDiskstats,
  parseLoadavg,
  parseMeminfo,
  parseMounts,
  parseNetDev,
  parsePressure,
  parseStat,
  parseUptime,
} from '../../../src/agent/sources/proc-files.ts';
import { prometheusReadings } from '../../../src/agent/sources/prometheus-readings.ts';
import { parsePrometheusText } from '../../../src/agent/sources/prometheus-text.ts';
import { SeededRandom } from '../../../src/agent/sources/seeded-random.ts';
import { SkipTally } from '../../../src/agent/sources/skip-tally.ts';
import { parseTimestamp } from '../../../src/agent/sources/timestamp-text.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

/** Pieces that mean something to one of the parsers, put where they do not belong. */
const PIECES = [
  ...['"', '""', '\\', '\n', '\r\n', '\r', ',', ', ', '{', '}', '=', '#', ' # ', ' ', '\t', '\0'],
  ...[
    '\ufeff',
    '\ud800',
    'ü',
    '🙂',
    '[N/A]',
    'NaN',
    '+Inf',
    '-',
    '.',
    'e',
    '1e999',
    '0x',
    '<<<NULL>>>',
  ],
  ...[
    '9223372036854775794',
    '140737488355328.000000',
    '999999999999999999999999',
    '# TYPE a counter\n',
  ],
  ...['__proto__', 'constructor', '# EOF', 'GPU ', 'MIG ', '[', ']', '%', 'a="b"', 'x'.repeat(500)],
] as [string, ...string[]];

function mutate(text: string, random: SeededRandom): string {
  let mutated = text;
  const edits = 1 + Math.floor(random.next() * 6);
  for (let edit = 0; edit < edits; edit += 1) {
    const at = Math.floor(random.next() * (mutated.length + 1));
    const length = Math.floor(random.exponential(4));
    const draw = random.next();
    const insert =
      draw < 0.5
        ? random.pick(PIECES)
        : draw < 0.7
          ? mutated.slice(at, at + 50 * length)
          : draw < 0.85
            ? String.fromCharCode(Math.floor(random.next() * 300))
            : '';
    mutated = mutated.slice(0, at) + insert + mutated.slice(at + (draw < 0.3 ? 0 : length));
  }
  return mutated;
}

function check(readings: readonly Reading[], bound: number): void {
  expect(readings.length).toBeLessThanOrEqual(bound);
  for (const { value, name, labels, timestampMs } of readings) {
    const sound =
      Number.isFinite(value) &&
      Number.isFinite(timestampMs) &&
      name !== '' &&
      Object.values(labels).every((label) => label !== '' && typeof label === 'string');
    if (!sound) expect({ value, name, labels, timestampMs }).toBe('a sound reading');
  }
}

/** Enough to notice a parser that has become fragile; `npm run fuzz` is the long search. */
const ROUNDS = 500;

/** Runs `parse` over thousands of damaged copies of `text`; none may throw. */
function fuzz(name: string, text: string, parse: (text: string) => readonly Reading[] | undefined) {
  test(`${name} survives ${ROUNDS} damaged inputs`, () => {
    let total = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      const damaged = mutate(text, new SeededRandom(`${name}/${round}`));
      // One reading needs at least a digit and a separator.
      const readings = parse(damaged) ?? [];
      check(readings, damaged.length);
      total += readings.length;
    }
    // Damage is local: most of each input must still be read.
    expect(total).toBeGreaterThan(ROUNDS / 2);
  });
}

const PROMETHEUS = `# HELP DCGM_FI_DEV_SM_CLOCK SM clock frequency (in MHz).
# TYPE DCGM_FI_DEV_SM_CLOCK gauge
DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-1",modelName="H100, \\"x\\"",Hostname="n1",pod=""} 1980 1700000000000
# TYPE h histogram
h_bucket{le="+Inf"} 2 # {t="1"} 0.5
h_sum 3.5e-1
{"quoted.name",a="b"} 1
`;
const SMI = `index, uuid, name, pci.bus_id, memory.used [MiB], power.draw [W], clocks_event_reasons.active, pstate
0, GPU-11111111-2222-3333-4444-555555555555, NVIDIA H200, 00000000:18:00.0, 5 MiB, 77.71 W, 0x0000000000000001, P0
1, GPU-21111111-2222-3333-4444-555555555555, NVIDIA H200, 00000000:29:00.0, [N/A], 77.71 W, [Not Supported], P8
`;
const CSV = `timestamp,metric_name,gpu_id,uuid,Hostname,pod,value,labels_raw
"2025-07-18T20:42:34Z","DCGM_FI_DEV_GPU_UTIL","0","GPU-1","n1","","0","UUID=""GPU-1"",job=""x, y"""
"2025-07-18T20:42:35Z","DCGM_FI_DEV_GPU_TEMP","1","GPU-2","n1","p"," 75",""
2025-07-18 20:42:36,DCGM_FI_DEV_POWER_USAGE,2,GPU-3,n2,,66.781,
`;
const HELP = `List of "x":\n\n"index"\nText "a" or "b".\n\n"uuid" or "gpu_uuid"\n"clocks_throttle_reasons.active"\n`;
const LISTING = `GPU 0: H100 (UUID: GPU-1)\n  MIG 1g.10gb     Device  0: (UUID: MIG-GPU-1/7/0)\n`;
const PROC = `cpu  6369 0 3497 222061 608 0 86 24 0 0
cpu0 2666 0 1250 112375 13 0 18 7 0 0
MemTotal:       16384 kB
  eth0: 1 2 3 4 0 0 0 0 9 10 11 12 0 0 0 0
   8       0 sda 100 1 8 2500 200 2 16 500 0 1500 3000 0 0 0 0
some avg10=0.67 avg60=0.94 avg300=0.63 total=26432824
/dev/sda1 /a\\040b ext4 rw 0 0
0.12 0.11 0.20 1/95 8650
`;

describe('parsers', () => {
  fuzz('prometheus-text', PROMETHEUS, (text) => {
    const page = parsePrometheusText(text, { format: text.length % 2 ? 'text' : 'openmetrics' });
    expect(page.skipped.list().length).toBeLessThan(120);
    return prometheusReadings(page, 1);
  });

  fuzz('nvidia-smi-csv', SMI, (text) => {
    const skipped = new SkipTally();
    const smi = parseNvidiaSmiCsv(text, skipped);
    return smi === undefined ? [] : nvidiaSmiReadings(smi, 1, skipped);
  });

  fuzz('nvidia-smi lists', HELP + LISTING, (text) => {
    chooseFields(parseFieldHelp(text), 'all');
    return migDeviceReadings(text, 1);
  });

  fuzz('proc-files', PROC, (text) => {
    parseMounts(text);
    return [
      ...[...parseStat(text, true), ...parseMeminfo(text), ...parseNetDev(text)],
      ...[...parseDiskstats(text), ...parsePressure(text, 'io'), ...parseLoadavg(text)],
      ...parseUptime(text),
    ].map((value) => ({ ...value, timestampMs: 1 }));
  });

  fuzz('dcgm-csv rows', CSV, (text) => {
    const lines = text.split('\n').map((line) => line.split(','));
    const layout = planDcgmCsv(lines[0] ?? []);
    const readings: Reading[] = [];
    parseLabelList(text);
    parseTimestamp(text.slice(70, 95));
    if (typeof layout === 'string') return readings;
    for (const cells of lines.slice(1)) readDcgmCsvRow(layout, cells, readings, () => {});
    return readings;
  });
});

test('the CSV source gives what it can of 60 damaged files, and ends', async () => {
  const file = path.join(tempDir(), 'x.csv');
  let refused = 0;
  for (let round = 0; round < 60; round += 1) {
    const random = new SeededRandom(`csv/${round}`);
    // Most damage goes to the rows; a broken header is a refusal.
    const body = mutate(CSV.slice(CSV.indexOf('\n') + 1).repeat(50), random);
    fs.writeFileSync(file, CSV.slice(0, CSV.indexOf('\n') + 1) + body);
    const source = await openCsvSource({ path: file }, new FakeClock(0)).catch(() => undefined);
    if (source === undefined) {
      refused += 1;
      continue;
    }
    let readings = 0;
    for (let calls = 0; ; calls += 1) {
      const report = await source.collect();
      check(report.readings, 10_000);
      readings += report.readings.length;
      if (report.done) break;
      expect(calls).toBeLessThan(100);
    }
    // An edit can cut at most a few hundred characters' worth of rows; the rest must be there.
    expect(readings, `round ${round}`).toBeGreaterThan(100);
    await source.close();
  }
  expect(refused).toBe(0);
});
