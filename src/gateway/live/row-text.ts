/**
 * Samples as JSON rows. What a series says about itself is written once for each table, so a row
 * costs one joining of texts.
 */
import { identifyLabels } from '../../domain/gpu-identity.ts';
import type { Series, SeriesTable } from '../../domain/telemetry.ts';
import type { TailRecord } from '../tail/tail.ts';

/** Rows of JSON, with what was written before. */
export class RowTexts {
  /** By table, then node: the beginning of a row of each series. */
  readonly #beginnings = new WeakMap<SeriesTable, Map<string, (string | undefined)[]>>();

  /** The rows of a record's samples that `taken` has a 1 for, joined by commas; '' for none. */
  rows({ nodeId, table, samples }: TailRecord, taken: Uint8Array): string {
    const beginnings = this.#beginningsOf(nodeId, table);
    const { series, timestampsMs, values } = samples;
    let text = '';
    for (let i = 0; i < series.length; i += 1) {
      const index = series[i]!;
      if (taken[index] !== 1) continue;
      if (text !== '') text += ',';
      text += this.#row(beginnings, nodeId, table, index, timestampsMs[i]!, values[i]!);
    }
    return text;
  }

  /** One row. */
  row({ nodeId, table }: TailRecord, index: number, timestampMs: number, value: number): string {
    return this.#row(this.#beginningsOf(nodeId, table), nodeId, table, index, timestampMs, value);
  }

  #row(
    beginnings: (string | undefined)[],
    nodeId: string,
    { series }: SeriesTable,
    index: number,
    timestampMs: number,
    value: number,
  ): string {
    beginnings[index] ??= beginningOf(nodeId, series[index]!);
    return `${beginnings[index]},"ts":${timestampMs},"value":${value}}`;
  }

  #beginningsOf(nodeId: string, table: SeriesTable): (string | undefined)[] {
    let ofTable = this.#beginnings.get(table);
    if (ofTable === undefined) {
      ofTable = new Map();
      this.#beginnings.set(table, ofTable);
    }
    let beginnings = ofTable.get(nodeId);
    if (beginnings === undefined) {
      beginnings = new Array<string | undefined>(table.series.length).fill(undefined);
      ofTable.set(nodeId, beginnings);
    }
    return beginnings;
  }
}

/** `{"node":"gpu-001","metric":"…",…` without the closing brace. */
function beginningOf(nodeId: string, { name, unit, labels }: Series): string {
  const { identities, rest } = identifyLabels(labels);
  const row = {
    node: nodeId,
    metric: name,
    unit,
    ...identities,
    ...(rest.length > 0 ? { labels: Object.fromEntries(rest) } : {}),
  };
  return JSON.stringify(row).slice(0, -1);
}
