import fs from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { hasZstd } from '../../src/lib/zstd.ts';
import { type Bench, createBench, drive } from '../helpers/warehouse-bench.ts';
import {
  canonical,
  duckdb,
  duckdbRows,
  expectedRows,
  hyparquetRows,
  makeRecord,
  makeSeries,
  makeTable,
  type Sample,
  warehousePaths,
} from '../helpers/warehouse-rows.ts';

const HOUR = 3_600_000;
const START = Date.parse('2025-07-18T20:00:00Z');

const LIBRARIES = ['hyparquet', 'parquetjs'] as const;
const CODECS = ['snappy', 'gzip', 'uncompressed'] as const;
const VARIANTS = [
  ...LIBRARIES.flatMap((encoder) => CODECS.map((compression) => ({ encoder, compression }))),
  ...(hasZstd() ? [{ encoder: 'hyparquet', compression: 'zstd' } as const] : []),
];

let bench: Bench;

afterEach(() => fs.rmSync(bench.root, { recursive: true, force: true }));

/** Two GPUs, one of them in MIG slices, a node metric, labels in other scripts, a counter. */
function mixedSeries() {
  return [
    makeSeries('DCGM_FI_DEV_GPU_UTIL', { UUID: 'GPU-a', gpu: '0', modelName: 'H100' }),
    makeSeries('DCGM_FI_DEV_GPU_UTIL', {
      UUID: 'GPU-b',
      gpu: '1',
      GPU_I_ID: '7',
      GPU_I_PROFILE: '1g.10gb',
    }),
    makeSeries('DCGM_FI_DEV_GPU_UTIL', {
      UUID: 'GPU-b',
      gpu: '1',
      GPU_I_ID: '9',
      GPU_I_PROFILE: '1g.10gb',
      exported_pod: 'träining-0',
      namespace: 'ml',
      container: 'main',
      job: 'dcgm',
    }),
    makeSeries('node_load1', { note: 'zażółć 日本語 😀 "quoted" \\ \n tab\t' }),
    makeSeries('energy', { '😀': 'x', '！': 'y' }, { kind: 'counter', unit: 'mJ' }),
  ];
}

function samplesOf(seriesCount: number, rows: number): Sample[] {
  return Array.from({ length: rows }, (_, i) => ({
    series: i % seriesCount,
    timestampMs: START + Math.floor(i / seriesCount) * 1000 + (i % 7),
    value: i % 3 === 0 ? i * 1.25 : -i,
  }));
}

describe.each(VARIANTS)('files by $encoder, $compression', ({ encoder, compression }) => {
  test.each([1, 7, 8, 9, 12, 63, 64, 65, 1000])('%i rows read back as written', async (rows) => {
    bench = createBench();
    const table = bench.addTable(makeTable(mixedSeries()));
    const journal = [makeRecord(1, table, samplesOf(table.series.length, rows))];
    const writer = bench.open({ encoder, compression });
    expect(await drive(writer, journal, 10)).toBe(1);
    const expected = canonical(expectedRows(journal, bench.tables));
    expect(canonical(await duckdbRows(bench.root, encoder === 'parquetjs'))).toEqual(expected);
    const [file] = warehousePaths(bench.root);
    expect(canonical(await hyparquetRows(file!, encoder === 'parquetjs'))).toEqual(expected);
  });

  test('several row groups read back as written, sorted over the whole file', async () => {
    bench = createBench();
    const table = bench.addTable(makeTable(mixedSeries()));
    const samples = samplesOf(table.series.length, 5000).reverse();
    const journal = [0, 1, 2, 3, 4].map((i) =>
      makeRecord(i + 1, table, samples.slice(i * 1000, i * 1000 + 1000)),
    );
    await drive(bench.open({ encoder, compression, row_group_rows: 300 }), journal, 2);
    const expected = canonical(expectedRows(journal, bench.tables));
    expect(canonical(await duckdbRows(bench.root, encoder === 'parquetjs'))).toEqual(expected);
    const [file] = warehousePaths(bench.root);
    const groups = await duckdb(
      `SELECT row_group_id, any_value(row_group_num_rows) AS n FROM parquet_metadata('${file}')
       GROUP BY ALL ORDER BY 1`,
    );
    expect(groups.map(({ n }) => Number(n))).toEqual([...Array(16).fill(295), 280]);
    const keys = (await hyparquetRows(file!, true)).map(
      ({ metric, node_id, gpu_uuid, labels, ts }) =>
        [metric, node_id, gpu_uuid ?? '', labels, ts].join('\u0000'),
    );
    expect(keys).toEqual(keys.toSorted());
  });
});

describe('the schema', () => {
  async function writeOne(encoder: (typeof LIBRARIES)[number]): Promise<string> {
    bench = createBench();
    const table = bench.addTable(makeTable(mixedSeries()));
    await drive(
      bench.open({ encoder }),
      [makeRecord(1, table, samplesOf(table.series.length, 500))],
      1,
    );
    return warehousePaths(bench.root)[0]!;
  }

  test('hyparquet declares microsecond UTC timestamps, UTF-8 strings and nullable identities', async () => {
    const file = await writeOne('hyparquet');
    const schema = await duckdb(
      `SELECT name, type, repetition_type, converted_type, logical_type FROM parquet_schema('${file}')`,
    );
    expect(schema.slice(1).map((column) => Object.values(column).join(' '))).toMatchSnapshot();
    const types = await duckdb(`DESCRIBE SELECT * FROM '${file}'`);
    expect(types.map((c) => `${c.column_name} ${c.column_type}`)).toMatchSnapshot();
  });

  test('parquetjs declares the same columns, all required', async () => {
    const file = await writeOne('parquetjs');
    const schema = await duckdb(
      `SELECT name, type, repetition_type, converted_type, logical_type FROM parquet_schema('${file}')`,
    );
    expect(schema.slice(1).map((column) => Object.values(column).join(' '))).toMatchSnapshot();
    const types = await duckdb(`DESCRIBE SELECT * FROM '${file}'`);
    expect(types.map((c) => `${c.column_name} ${c.column_type}`)).toMatchSnapshot();
  });

  test.each(LIBRARIES)('%s writes true bounds for every column', async (encoder) => {
    const file = await writeOne(encoder);
    const chunks = await duckdb(
      `SELECT path_in_schema AS name, compression, encodings, stats_min_value AS lo,
       stats_max_value AS hi, stats_null_count AS nulls FROM parquet_metadata('${file}')`,
    );
    for (const { name, compression, lo, hi } of chunks) {
      expect(compression).toBe('SNAPPY');
      const [truth] = await duckdb(
        `SELECT min(${name})::VARCHAR AS lo, max(${name})::VARCHAR AS hi FROM '${file}'`,
      );
      // Long bounds may be cut off, and times are printed with or without an offset.
      const start = (bound: unknown) =>
        name === 'value' ? Number(bound) : String(bound).slice(0, 19);
      expect([start(lo), start(hi)]).toEqual([start(truth!.lo), start(truth!.hi)]);
    }
    expect(chunks).toHaveLength(15);
  });

  test('hyparquet writes string columns with dictionaries', async () => {
    const file = await writeOne('hyparquet');
    const chunks = await duckdb(
      `SELECT path_in_schema AS name FROM parquet_metadata('${file}')
       WHERE encodings NOT LIKE '%DICTIONARY%' AND type = 'BYTE_ARRAY'`,
    );
    expect(chunks).toEqual([]);
  });

  test.each(LIBRARIES)(
    '%s records range, collector, rows and version in the footer',
    async (encoder) => {
      const file = await writeOne(encoder);
      const metadata = await duckdb(
        `SELECT decode(key) AS key, decode(value) AS value FROM parquet_kv_metadata('${file}')`,
      );
      expect(Object.fromEntries(metadata.map(({ key, value }) => [key, value]))).toMatchObject({
        'telemetry.collector': 'c1',
        'telemetry.first_seq': '1',
        'telemetry.last_seq': '1',
        'telemetry.hour': '2025-07-18T20:00:00.000Z',
        'telemetry.rows': '500',
        'telemetry.schema_version': '1',
        'telemetry.journal': 'journal-1',
      });
    },
  );
});

test('a filter on a string beyond the basic plane finds its rows with both libraries', async () => {
  for (const encoder of LIBRARIES) {
    bench = createBench();
    const names = ['a', '\uff61', '😀'];
    const table = bench.addTable(makeTable(names.map((name) => makeSeries(name))));
    const samples = names.map((_, series) => ({ series, timestampMs: START, value: series }));
    await drive(bench.open({ encoder }), [makeRecord(1, table, samples)], 1);
    for (const name of names) {
      const rows = await duckdb(
        `SELECT value FROM '${warehousePaths(bench.root)[0]}' WHERE metric = '${name}'`,
      );
      expect(rows).toEqual([{ value: names.indexOf(name) }]);
    }
    fs.rmSync(bench.root, { recursive: true });
  }
});

describe('number columns of any shape', () => {
  const SHAPES: Readonly<Record<string, (i: number) => number>> = {
    'all distinct': (i) => Math.sin(i) * 1e9,
    'all equal': () => 2619,
    'zeros of both signs': (i) => (i % 3 === 0 ? -0 : 0),
    'extreme values': (i) => [5e-324, Number.MAX_VALUE, -Number.MAX_VALUE, 2 ** 53, -1][i % 5]!,
    'runs between noise': (i) => (Math.floor(i / 100) % 2 === 0 ? 7 : i % 61),
    'short runs': (i) => Math.floor(i / (1 + (i % 11))) % 300,
    'many repeated': (i) => (i * 7919) % 20_011,
    'one bit': (i) => (i * i) % 2,
  };

  test.each(Object.keys(SHAPES))('%s', async (shape) => {
    bench = createBench();
    const table = bench.addTable(makeTable([makeSeries('m')]));
    const rows = shape === 'many repeated' ? 300_000 : 20_003;
    const samples = Array.from({ length: rows }, (_, i) => ({
      series: 0,
      timestampMs: START + i * 7,
      value: SHAPES[shape]!(i),
    }));
    await drive(bench.open(), [makeRecord(1, table, samples)], 1);
    const [file] = warehousePaths(bench.root);
    const read = await hyparquetRows(file!);
    expect(read.every(({ value }, i) => Object.is(value, samples[i]!.value))).toBe(true);
    expect(read.every(({ ts }, i) => ts === samples[i]!.timestampMs * 1000)).toBe(true);
    const values = await duckdb(`SELECT value FROM '${file}' ORDER BY ts`);
    expect(values.every(({ value }, i) => value === samples[i]!.value)).toBe(true);
    const [bounds] = await duckdb(
      `SELECT stats_min_value::DOUBLE AS lo, stats_max_value::DOUBLE AS hi
       FROM parquet_metadata('${file}') WHERE path_in_schema = 'value'`,
    );
    const truth = samples.map(({ value }) => value).sort((a, b) => a - b);
    expect(bounds).toEqual({ lo: truth[0]! + 0 || -0, hi: truth.at(-1)! + 0 });
  });
});

test('files of both libraries in one warehouse are read together', async () => {
  bench = createBench();
  const table = bench.addTable(makeTable(mixedSeries()));
  const samples = samplesOf(table.series.length, 100);
  const later = samples.map((s) => ({ ...s, timestampMs: s.timestampMs + HOUR }));
  const journal = [makeRecord(1, table, samples), makeRecord(2, table, later)];
  await drive(bench.open({ encoder: 'hyparquet' }), journal.slice(0, 1), 1);
  await drive(bench.open({ encoder: 'parquetjs' }, { startCursor: 1 }), journal, 1);
  expect(warehousePaths(bench.root)).toHaveLength(2);
  expect(canonical(await duckdbRows(bench.root, true))).toEqual(
    canonical(expectedRows(journal, bench.tables)),
  );
});
