/**
 * One writer without a daemon around it: the same code that runs in a writer's thread, fed from
 * memory, for what a destination costs by itself.
 */
import { systemClock } from '../src/lib/clock.ts';
import { OperatingError } from '../src/lib/errors.ts';
import { nodeFileSystem } from '../src/lib/filesystem.ts';
import type { Writer, WriterDeps } from '../src/collector/writers/writer.ts';
import type { RecordSet } from './sample-records.ts';

/** As many as the writer loop takes in one slice. */
const SLICE_RECORDS = 400;

/** What a writer needs; nothing may be refused here, so a dead letter is a failure. */
export function writerDeps({ tables, records }: RecordSet): WriterDeps {
  return {
    clock: systemClock,
    log: () => {},
    fs: nodeFileSystem,
    random: Math.random,
    isOwner: () => true,
    headSeq: () => 0,
    startCursor: 0,
    table(id) {
      const table = tables.get(id);
      if (table === undefined) throw new OperatingError('TABLE_MISSING', `no table ${id}`);
      return table;
    },
    record(seq) {
      const record = records.find((one) => one.seq === seq);
      if (record === undefined) throw new OperatingError('RECORD_MISSING', `no record ${seq}`);
      return record;
    },
    deadLetter() {
      throw new Error('a benchmark met a dead letter');
    },
  };
}

export interface WriterCost {
  readonly cpuSeconds: number;
  readonly seconds: number;
}

/** Writes all records and flushes; CPU is that of the whole process. */
export async function writeAll(writer: Writer, { records }: RecordSet): Promise<WriterCost> {
  const cpu = process.cpuUsage();
  const startedMs = performance.now();
  for (let from = 0; from < records.length; from += SLICE_RECORDS) {
    await writer.write(records.slice(from, from + SLICE_RECORDS));
  }
  await writer.flush();
  const { user, system } = process.cpuUsage(cpu);
  return {
    cpuSeconds: (user + system) / 1e6,
    seconds: (performance.now() - startedMs) / 1000,
  };
}
