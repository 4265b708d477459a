/**
 * Random journals, settings, slices, crashes and restarts; at the end a reader finds every row
 * once. Set WAREHOUSE_SEED to repeat a run.
 */
import fs from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import type { SeriesTable } from '../../../src/domain/telemetry.ts';
import { nodeFileSystem } from '../../../src/lib/filesystem.ts';
import { listWarehouse } from '../../../src/warehouse/warehouse.ts';
import type { WriterRecord } from '../../../src/collector/writers/writer.ts';
import { faultyFileSystem } from '../../helpers/faulty-filesystem.ts';
import { BENCH_START_MS, type Bench, createBench } from '../../helpers/warehouse-bench.ts';
import {
  canonical,
  duckdbRows,
  expectedRows,
  makeRecord,
  makeSeries,
  makeTable,
} from '../../helpers/warehouse-rows.ts';

const HOUR = 3_600_000;
const ROUNDS = 60;

let bench: Bench;

afterEach(() => fs.rmSync(bench.root, { recursive: true, force: true }));

/** Small, fast, good enough: the same numbers from the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Pick = (below: number) => number;

function randomTable(pick: Pick): SeriesTable {
  const labelSets = [
    {},
    { UUID: `GPU-${pick(3)}`, gpu: String(pick(8)) },
    { UUID: `GPU-${pick(3)}`, GPU_I_ID: String(pick(4)), pod: `p-${pick(5)}` },
    { ключ: 'значение', note: '😀'.repeat(1 + pick(3)) },
  ];
  const series = Array.from({ length: 1 + pick(5) }, () =>
    makeSeries(`metric_${pick(4)}`, labelSets[pick(labelSets.length)]!),
  );
  return bench.addTable(makeTable(series));
}

function randomJournal(pick: Pick): WriterRecord[] {
  const tables = Array.from({ length: 3 }, () => randomTable(pick));
  let seq = 0;
  return Array.from({ length: 5 + pick(30) }, () => {
    // Seqs may have holes.
    seq += pick(10) === 0 ? 2 : 1;
    const table = tables[pick(tables.length)]!;
    const samples = Array.from({ length: pick(40) }, () => ({
      series: pick(table.series.length),
      timestampMs: BENCH_START_MS + pick(4) * HOUR + pick(HOUR),
      value: pick(2) === 0 ? pick(100) : Math.fround(pick(1e9) / 7),
    }));
    return makeRecord(seq, table, samples, {
      nodeId: `node-${pick(3)}`,
      receivedAtMs: BENCH_START_MS + seq,
    });
  });
}

/**
 * One life of a process: ends by a crash, a close or with everything sealed. Returns the cursor.
 */
async function live(pick: Pick, journal: readonly WriterRecord[], cursor: number): Promise<number> {
  const kinds = ['crash_before', 'crash_after', 'torn_write', 'ENOSPC', 'EIO'] as const;
  const isLast = pick(4) === 0;
  const disk = faultyFileSystem(
    isLast ? undefined : { at: pick(60), kind: kinds[pick(kinds.length)]! },
  );
  const settings = {
    row_group_rows: 5 + pick(200),
    seal_after_journal_bytes: pick(3) === 0 ? 500 + pick(3000) : 0,
    encoder: pick(5) === 0 ? ('parquetjs' as const) : ('hyparquet' as const),
    compression: (['snappy', 'gzip', 'uncompressed'] as const)[pick(3)]!,
  };
  let committed = cursor;
  try {
    const writer = bench.open(settings, { fs: disk, startCursor: cursor });
    for (let step = 0; step < 40; step++) {
      const from = writer.readFrom!();
      const slice = journal.filter(({ seq }) => seq >= from).slice(0, 1 + pick(6));
      const progress = await (slice.length === 0 || pick(6) === 0
        ? writer.flush()
        : writer.write(slice)
      ).catch((error: unknown) => {
        if (disk.operations.length < 1000 && String(error).includes('crash')) throw error;
        return undefined;
      });
      // A crash may come between the seal and the commit of its cursor.
      if (progress !== undefined && pick(4) > 0) committed = progress.cursor;
      if (slice.length === 0 && progress !== undefined) break;
    }
  } catch {
    if (pick(2) === 0) disk.cutPower();
  }
  return committed;
}

/** Files with rows on both sides of the cursor: nobody could join warehouse and journal there. */
function filesAcross(cursor: number): string[] {
  return listWarehouse(nodeFileSystem, bench.root)
    .filter(({ firstSeq, lastSeq }) => firstSeq <= cursor && cursor < lastSeq)
    .map((file) => file.path);
}

test('any history of crashes ends with every row once', async () => {
  const seed = Number(process.env.WAREHOUSE_SEED ?? Math.floor(Math.random() * 2 ** 32));
  for (let round = 0; round < ROUNDS; round++) {
    const random = randomFrom(seed + round);
    const pick: Pick = (below) => Math.floor(random() * below);
    bench = createBench();
    const journal = randomJournal(pick);
    let cursor = 0;
    for (let lives = 0; lives < 12 && cursor < journal.at(-1)!.seq; lives++) {
      cursor = await live(pick, journal, cursor);
      expect(filesAcross(cursor), `seed ${seed}, round ${round}`).toEqual([]);
    }
    const last = bench.open({}, { startCursor: cursor });
    const from = last.readFrom!();
    await last.write(journal.filter(({ seq }) => seq >= from));
    await last.flush();
    expect(canonical(await duckdbRows(bench.root, true)), `seed ${seed}, round ${round}`).toEqual(
      canonical(expectedRows(journal, bench.tables)),
    );
    fs.rmSync(bench.root, { recursive: true });
  }
  process.stdout.write(`warehouse property test: ${ROUNDS} rounds from seed ${seed}\n`);
});
