/**
 * DCGM exports as files, through the source that replays them.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { openCsvSource } from '../../../src/agent/sources/csv-source.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { OperatingError } from '../../../src/lib/errors.ts';
import { type FuzzTarget, must } from '../fuzz-target.ts';
import { checkReadings } from './readings.ts';

const LONG = `timestamp,metric_name,gpu_id,uuid,Hostname,pod,value,labels_raw
"2025-07-18T20:42:34Z","DCGM_FI_DEV_GPU_UTIL","0","GPU-1","n1","","0","UUID=""GPU-1"",job=""x, y"""
"2025-07-18T20:42:35Z","DCGM_FI_DEV_GPU_TEMP","1","GPU-2","n1","p"," 75",""
2025-07-18 20:42:36,DCGM_FI_DEV_POWER_USAGE,2,GPU-3,n2,,66.781,
`;
const WIDE = `time,gpu_uuid,hostname,gpu_temp_c,power_watts
1753000000,GPU-1,n1,55,70.5
1753000015,GPU-2,n1,,9223372036854775794
`;
const COLLECTIONS_MAX = 1000;
const ERRORS = ['CSV_UNREADABLE', 'CSV_HEADER'];

/** Writes each input to a file and replays it to its end. */
export function dcgmCsvTarget(): FuzzTarget {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fuzz-csv-'));
  const file = path.join(folder, 'export.csv');
  return {
    name: 'dcgm-csv',
    what: 'DCGM exports, long and wide, as files',
    seeds: [LONG, LONG + LONG.slice(LONG.indexOf('\n') + 1).repeat(8), WIDE].map((text) =>
      Buffer.from(text),
    ),
    tokens: [',', '"', '""', '\r\n', '\r', '\n"', '",\n', '={', 'timestamp', 'value', '-'].map(
      (text) => Buffer.from(text),
    ),
    // Read in many turns, and by the agent whose file it is: a restart for each broken line may
    // cost.
    caseMsMax: 4000,
    async run(input) {
      fs.writeFileSync(file, input);
      try {
        await replay(file, input.length);
      } catch (error) {
        must(error instanceof OperatingError, `only an OperatingError is thrown, not ${error}`);
        must(ERRORS.includes(error.code), `its code is one of ${ERRORS.join(', ')}`);
      }
    },
    close: () => fs.rmSync(folder, { recursive: true, force: true }),
  };
}

async function replay(file: string, bytes: number): Promise<void> {
  const source = await openCsvSource({ path: file }, systemClock);
  try {
    for (let collections = 0; ; collections += 1) {
      must(collections < COLLECTIONS_MAX, 'a replay ends');
      const report = await source.collect();
      checkReadings(report.readings, bytes);
      must(report.skipped.length < 120, 'the report stays small');
      if (report.done) return;
    }
  } finally {
    await source.close();
  }
}
