/**
 * Rows of the warehouse → InfluxDB: the points that the InfluxDB writer would have written, by its
 * own encoder, so that writing them again changes nothing. A point follows from its sample alone
 * (writers/influx/point.ts), so rows need not be gathered into the batches they came in. Memory
 * holds the rows of one row group.
 */
import path from 'node:path';
import type { InfluxConfig } from '../../config/schema.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorCode, errorMessage } from '../../lib/errors.ts';
import type { FileSystem } from '../../lib/filesystem.ts';
import type { Series } from '../../domain/telemetry.ts';
import type { InfluxClient } from '../writers/influx/influx-client.ts';
import { LineChunk } from '../writers/influx/line-chunk.ts';
import { pointRules } from '../writers/influx/point.ts';
import { RecordEncoder } from '../writers/influx/record-encoder.ts';
import { sendLines } from '../writers/influx/send-lines.ts';
import { buildTablePlan } from '../writers/influx/table-plan.ts';
import { SERIES_COLUMNS } from '../../warehouse/columns.ts';
import { seriesFromRow } from '../../warehouse/series-from-row.ts';
import { HOUR_MS, listWarehouse, type WarehouseFile } from '../../warehouse/warehouse.ts';
import { type RowRange, WarehouseFileReader } from '../../warehouse/warehouse-reader.ts';

const ROWS_MAX = 1_000_000;
const REFUSALS_SHOWN_MAX = 10;

export interface BackfillDeps {
  readonly fs: FileSystem;
  readonly clock: Clock;
  readonly client: InfluxClient;
  /** Called after each file. */
  readonly onFile: (progress: BackfillProgress) => void;
}

export interface BackfillOptions {
  /** Root of the warehouse. */
  readonly root: string;
  readonly settings: InfluxConfig;
  /** Unix ms, included. */
  readonly startMs: number;
  /** Unix ms, not included. */
  readonly endMs: number;
}

export interface BackfillProgress {
  readonly file: string;
  readonly hourMs: number;
  readonly filesDone: number;
  readonly files: number;
  readonly lines: number;
  readonly values: number;
}

export interface BackfillResult {
  readonly files: number;
  /** Sent and answered, the refused ones among them. */
  readonly lines: number;
  readonly values: number;
  readonly refusedLines: number;
  /** What the server said about some of them. */
  readonly refusals: readonly { readonly line: string; readonly reason: string }[];
  /** Why it was given up; '' where it was not. */
  readonly failure: string;
  /** The hour to start again with after a failure, Unix ms. */
  readonly resumeMs: number;
}

/** Writes the rows from start to end. Files that vanish meanwhile are left out. */
export async function backfillInflux(
  deps: BackfillDeps,
  options: BackfillOptions,
): Promise<BackfillResult> {
  const { startMs, endMs, root } = options;
  const files = listWarehouse(deps.fs, root).filter(
    ({ hourMs }) => hourMs + HOUR_MS > startMs && hourMs < endMs,
  );
  // The newer of two values for one point must be written last.
  files.sort((a, b) => a.hourMs - b.hourMs || a.firstSeq - b.firstSeq || a.lastSeq - b.lastSeq);
  const run = new Backfill(deps, options);
  for (const [index, file] of files.entries()) {
    await run.file(file);
    if (run.failure !== '') break;
    const { lines, values } = run;
    const place = { file: file.path, hourMs: file.hourMs };
    deps.onFile({ ...place, filesDone: index + 1, files: files.length, lines, values });
  }
  const { lines, values, refusedLines, refusals, failure, resumeMs } = run;
  return { files: files.length, lines, values, refusedLines, refusals, failure, resumeMs };
}

interface Rows {
  readonly timestampsMs: Float64Array;
  readonly values: Float64Array;
  readonly receivedAtMs: Float64Array;
  /** By row: its series, numbered through the row group. */
  readonly seriesOf: Uint32Array;
  readonly nodeOf: readonly (string | null)[];
  readonly series: readonly Series[];
}

class Backfill {
  lines = 0;
  values = 0;
  refusedLines = 0;
  failure = '';
  resumeMs = 0;
  readonly refusals: { line: string; reason: string }[] = [];
  readonly #deps: BackfillDeps;
  readonly #options: BackfillOptions;
  readonly #encoder = new RecordEncoder();
  readonly #chunk = new LineChunk<undefined>();

  constructor(deps: BackfillDeps, options: BackfillOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  async file(file: WarehouseFile): Promise<void> {
    this.resumeMs = file.hourMs;
    try {
      const reader = WarehouseFileReader.open(this.#deps.fs, file.path);
      for (const range of reader.rowRanges(ROWS_MAX)) {
        await this.#rows(await readRows(reader, range));
        if (this.failure !== '') return;
      }
      await this.#send();
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return;
      this.failure = `cannot read ${path.basename(file.path)}: ${errorMessage(error)}`;
    }
  }

  async #rows(rows: Rows): Promise<void> {
    const { settings } = this.#options;
    const plan = buildTablePlan(rows, pointRules(settings));
    for (const [nodeId, places] of this.#rowsByNode(rows)) {
      const samples = {
        series: Uint32Array.from(places, (row) => rows.seriesOf[row]!),
        timestampsMs: Float64Array.from(places, (row) => rows.timestampsMs[row]!),
        values: Float64Array.from(places, (row) => rows.values[row]!),
      };
      this.#encoder.start({ nodeId, samples }, plan);
      while (!this.#encoder.encodeInto(this.#chunk, settings.max_batch_bytes, undefined)) {
        await this.#send();
        if (this.failure !== '') return;
      }
    }
  }

  /** The rows that were asked for; of two for one point, the one received later comes later. */
  #rowsByNode({ timestampsMs, receivedAtMs, nodeOf }: Rows): Map<string, number[]> {
    const { startMs, endMs } = this.#options;
    const nodes = new Map<string, number[]>();
    for (let row = 0; row < timestampsMs.length; row++) {
      if (timestampsMs[row]! < startMs || timestampsMs[row]! >= endMs) continue;
      const nodeId = nodeOf[row] ?? '';
      const places = nodes.get(nodeId);
      if (places !== undefined) places.push(row);
      else nodes.set(nodeId, [row]);
    }
    for (const places of nodes.values()) {
      places.sort((a, b) => receivedAtMs[a]! - receivedAtMs[b]! || a - b);
    }
    return nodes;
  }

  async #send(): Promise<void> {
    const chunk = this.#chunk;
    const { refused, failure } = await sendLines(this.#deps.client, chunk, this.#deps.clock);
    this.failure = failure;
    if (failure === '') {
      this.lines += chunk.lines;
      this.values += chunk.samples;
    }
    this.refusedLines += refused.length;
    const shown = refused.slice(0, REFUSALS_SHOWN_MAX - this.refusals.length);
    this.refusals.push(...shown.map(({ line, reason }) => ({ line, reason })));
    chunk.reset();
  }
}

async function readRows(reader: WarehouseFileReader, range: RowRange): Promise<Rows> {
  const timestampsMs = await reader.numbers('ts', range);
  const values = await reader.numbers('value', range);
  const receivedAtMs = await reader.numbers('received_at', range);
  const cells: (string | null)[][] = [];
  for (const { name } of SERIES_COLUMNS) cells.push(await reader.texts(name, range));
  const seriesOfRow = new Uint32Array(timestampsMs.length);
  const ids = new Map<string, number>();
  const series: Series[] = [];
  for (let row = 0; row < timestampsMs.length; row++) {
    // Rows are sorted by series, so most rows have the cells of the row before.
    if (row > 0 && cells.every((column) => column[row] === column[row - 1])) {
      seriesOfRow[row] = seriesOfRow[row - 1]!;
      continue;
    }
    const own = cells.map((column) => column[row] ?? null);
    const key = JSON.stringify(own);
    const id = ids.get(key) ?? series.push(seriesFromRow(own)) - 1;
    ids.set(key, id);
    seriesOfRow[row] = id;
  }
  const nodeOf = cells[SERIES_COLUMNS.findIndex(({ name }) => name === 'node_id')]!;
  return { timestampsMs, values, receivedAtMs, seriesOf: seriesOfRow, nodeOf, series };
}
