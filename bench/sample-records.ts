/**
 * Journal records for benchmarks of one writer: those that a simulated fleet or a replay of a real
 * DCGM export leaves in the journal, kept in memory.
 */

import type { Reading } from '../src/client/reading.ts';
import { openCsvSource } from '../src/agent/sources/csv-source.ts';
import { simulateColumns } from '../src/agent/sources/simulate-columns.ts';
import { encodeSeriesTable } from '../src/codec/series-table.ts';
import { systemClock } from '../src/lib/clock.ts';
import type { Series, SeriesTable } from '../src/domain/telemetry.ts';
import type { WriterRecord } from '../src/collector/writers/writer.ts';
import { loadNodeId } from './load-task.ts';

export interface RecordSet {
  readonly records: readonly WriterRecord[];
  readonly tables: ReadonlyMap<string, SeriesTable>;
  readonly samples: number;
}

const STEP_MS = 1000;
/** 2025-07-18T20:00:00Z: the start of an hour. */
const START_MS = 1_752_868_800_000;

/** `rounds` readings of `nodes` nodes with eight GPUs and sixty metrics each, a record per node. */
export function fleetRecords(nodes: number, rounds: number): RecordSet {
  const builder = new RecordSetBuilder();
  const fleet = Array.from({ length: nodes }, (_, index) => {
    const nodeId = loadNodeId(index);
    const options = { nodeId, gpus: 8, extraMetrics: 35, jobChurn: false, faultsPerGpuHour: 0 };
    const simulation = simulateColumns(options, START_MS);
    return { nodeId, simulation, table: encodeSeriesTable(simulation.series) };
  });
  for (let round = 0; round < rounds; round += 1) {
    const timeMs = START_MS + round * STEP_MS;
    for (const { nodeId, simulation, table } of fleet) {
      const values = new Float64Array(table.series.length);
      simulation.advance(timeMs);
      simulation.fill(values);
      builder.add(nodeId, table, new Float64Array(values.length).fill(timeMs), values);
    }
  }
  return builder.done();
}

/** A DCGM export, `passes` times one after the other, each later than the one before. */
export async function replayRecords(csvPath: string, passes: number): Promise<RecordSet> {
  const source = await openCsvSource({ path: csvPath }, systemClock);
  const readings: Reading[] = [];
  for (let isDone = false; !isDone; ) {
    const report = await source.collect();
    readings.push(...report.readings);
    isDone = report.done;
  }
  await source.close();
  const times = readings.map(({ timestampMs }) => timestampMs);
  const first = times.reduce((a, b) => Math.min(a, b));
  const spanMs = times.reduce((a, b) => Math.max(a, b)) - first + STEP_MS;
  const builder = new RecordSetBuilder();
  for (let pass = 0; pass < passes; pass += 1) {
    for (const group of groupByTimeAndHost(readings)) {
      const table = encodeSeriesTable(group.map(seriesOf));
      const node = group[0]?.labels.hostname ?? 'replay';
      const at = group.map(({ timestampMs }) => timestampMs + pass * spanMs);
      const values = group.map(({ value }) => value);
      builder.add(node, table, Float64Array.from(at), Float64Array.from(values));
    }
  }
  return builder.done();
}

class RecordSetBuilder {
  readonly #records: WriterRecord[] = [];
  readonly #tables = new Map<string, SeriesTable>();
  #samples = 0;

  add(nodeId: string, table: SeriesTable, timestampsMs: Float64Array, values: Float64Array): void {
    this.#tables.set(table.id, table);
    const seq = this.#records.length + 1;
    const series = Uint32Array.from(values, (_, index) => index);
    this.#samples += values.length;
    this.#records.push({
      seq,
      nodeId,
      epoch: 1,
      sequence: seq,
      receivedAtMs: (timestampsMs[0] ?? 0) + 3,
      tableId: table.id,
      samples: { series, timestampsMs, values },
      bytes: 100 + 20 * values.length,
    });
  }

  done(): RecordSet {
    return { records: this.#records, tables: this.#tables, samples: this.#samples };
  }
}

/** What one host says at one time makes one batch, as an agent would send it. */
function groupByTimeAndHost(readings: readonly Reading[]): Reading[][] {
  const groups = new Map<string, Reading[]>();
  for (const reading of readings) {
    const key = `${reading.timestampMs} ${reading.labels.hostname ?? ''}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [reading]);
    else group.push(reading);
  }
  return [...groups.values()];
}

function seriesOf({ name, labels, kind, unit }: Reading): Series {
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return { name, labels: sorted, kind, unit };
}
