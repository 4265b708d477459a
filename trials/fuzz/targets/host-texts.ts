/**
 * Texts of the host that agents run on: nvidia-smi, exporters, /proc.
 */
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
import { SkipTally } from '../../../src/agent/sources/skip-tally.ts';
import { type FuzzTarget, must } from '../fuzz-target.ts';
import { checkReadings } from './readings.ts';

const SKIPS_MAX = 120;

const PROMETHEUS = `# HELP DCGM_FI_DEV_SM_CLOCK SM clock frequency (in MHz).
# TYPE DCGM_FI_DEV_SM_CLOCK gauge
DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-1",modelName="H100, \\"x\\"",pod=""} 1980 1700000000000
# TYPE h histogram
h_bucket{le="+Inf"} 2 # {t="1"} 0.5
h_sum 3.5e-1
{"quoted.name",a="b"} 1
`;
const SMI = `index, uuid, name, pci.bus_id, memory.used [MiB], power.draw [W], pstate
0, GPU-11111111-2222-3333-4444-555555555555, NVIDIA H200, 00000000:18:00.0, 5 MiB, 77.71 W, P0
1, GPU-21111111-2222-3333-4444-555555555555, NVIDIA H200, 00000000:29:00.0, [N/A], 77.71 W, P8
`;
const SMI_LISTS = `List of "x":\n\n"index"\nText "a" or "b".\n\n"uuid" or "gpu_uuid"
"clocks_throttle_reasons.active"
GPU 0: H100 (UUID: GPU-1)\n  MIG 1g.10gb     Device  0: (UUID: MIG-GPU-1/7/0)
`;
const PROC = `cpu  6369 0 3497 222061 608 0 86 24 0 0
cpu0 2666 0 1250 112375 13 0 18 7 0 0
MemTotal:       16384 kB
  eth0: 1 2 3 4 0 0 0 0 9 10 11 12 0 0 0 0
   8       0 sda 100 1 8 2500 200 2 16 500 0 1500 3000 0 0 0 0
some avg10=0.67 avg60=0.94 avg300=0.63 total=26432824
/dev/sda1 /a\\040b ext4 rw 0 0
0.12 0.11 0.20 1/95 8650
`;

const buffers = (...texts: readonly string[]) => texts.map((text) => Buffer.from(text));

/** Pages of exporters, in both of their formats. */
export function prometheusTarget(): FuzzTarget {
  return {
    name: 'prometheus-text',
    what: 'pages of exporters, text format and OpenMetrics',
    seeds: buffers(PROMETHEUS),
    tokens: buffers(
      '# TYPE ',
      '# HELP ',
      '# UNIT ',
      '# EOF\n',
      '{',
      '}',
      '="',
      '",',
      ' # {',
      '+Inf',
    ),
    run(input) {
      const text = input.toString('utf8');
      for (const format of ['text', 'openmetrics'] as const) {
        const page = parsePrometheusText(text, { format });
        checkReadings(prometheusReadings(page, 1), text.length);
        must(page.skipped.list().length < SKIPS_MAX, 'the report stays small');
      }
    },
  };
}

/** What nvidia-smi prints: tables, lists of fields, lists of devices. */
export function nvidiaSmiTarget(): FuzzTarget {
  return {
    name: 'nvidia-smi',
    what: 'nvidia-smi tables, field help and device lists',
    seeds: buffers(SMI, SMI, SMI_LISTS),
    tokens: buffers(', ', '[N/A]', '[Not Supported]', ' MiB', ' [', ']', 'MIG ', 'GPU ', '(UUID: '),
    run(input) {
      const text = input.toString('utf8');
      const skipped = new SkipTally();
      const table = parseNvidiaSmiCsv(text, skipped);
      if (table !== undefined) checkReadings(nvidiaSmiReadings(table, 1, skipped), text.length);
      must(skipped.list().length < SKIPS_MAX, 'the report stays small');
      chooseFields(parseFieldHelp(text), 'all');
      checkReadings(migDeviceReadings(text, 1), text.length);
    },
  };
}

/** Files of /proc. */
export function hostFileTarget(): FuzzTarget {
  return {
    name: 'host-files',
    what: 'files of /proc',
    seeds: buffers(PROC),
    tokens: buffers('cpu', ' kB', ': ', 'avg10=', '\\040', '\\777', 'total=', ' 0 0\n'),
    run(input) {
      const text = input.toString('utf8');
      parseMounts(text);
      const values = [
        ...[...parseStat(text, true), ...parseMeminfo(text), ...parseNetDev(text)],
        ...[...parseDiskstats(text), ...parsePressure(text, 'io'), ...parseLoadavg(text)],
        ...parseUptime(text),
      ];
      const readings = values.map((value) => ({ ...value, timestampMs: 1 }));
      // A line with nothing but its key stands for as many values as the file has columns.
      checkReadings(readings, 20 + 10 * text.length);
    },
  };
}
