/**
 * Samples as they arrived somewhere, by identity and value: what the InfluxDB side has accepted, or
 * what lies in the dead letters.
 */
import { readLine } from './line-reader.ts';
import {
  gpuOf,
  metricName,
  nodeName,
  roundOfTime,
  SERIES,
  sampleTime,
  sampleValue,
  scatteredTime,
} from './samples.ts';

const SERIES_BY_NAME = new Map(
  Array.from({ length: SERIES }, (_, series) => [metricName(series), series] as const),
);
const NODE_BY_NAME = new Map(
  Array.from({ length: 16 }, (_, node) => [nodeName(node), node] as const),
);
const FLAWS_KEPT = 20;
const BAD_ROUND_EVERY = 101;

export class SinkStore {
  /** By `node/round`: a value for each series, NaN where there is none. */
  readonly points = new Map<string, Float64Array>();
  /** Things that nobody has sent: other values, other times, unknown names. */
  readonly flaws: string[] = [];
  flawCount = 0;
  samples = 0;
  readonly #baseMs: number;

  constructor(baseMs: number) {
    this.#baseMs = baseMs;
  }

  /** Keeps the samples of one line, which must be samples of the torture with their own values. */
  addLine(text: string): void {
    const line = readLine(text);
    if (line === undefined) {
      this.#flaw(`not a line: ${text.slice(0, 200)}`);
      return;
    }
    const node = NODE_BY_NAME.get(line.tags.get('node_id') ?? '');
    if (node === undefined || line.measurement !== 'gpu') {
      this.#flaw(`unknown node or measurement: ${text.slice(0, 200)}`);
      return;
    }
    const round = roundOfTime(this.#baseMs, line.timeMs);
    for (const [name, value] of line.fields) {
      const series = SERIES_BY_NAME.get(name);
      const id = { node, round, series: series ?? -1 };
      const isRight =
        series !== undefined &&
        value === sampleValue(id) &&
        (line.timeMs === sampleTime(this.#baseMs, id) ||
          line.timeMs === scatteredTime(this.#baseMs, id)) &&
        line.tags.get('gpu_uuid') === gpuOf(series);
      if (isRight) this.#keep(node, round, series, value);
      else this.#flaw(`${name}=${value} in ${text.slice(0, 200)}`);
    }
  }

  has(node: number, round: number, series: number): boolean {
    const value = this.points.get(`${node}/${round}`)?.[series];
    return value !== undefined && !Number.isNaN(value);
  }

  #keep(node: number, round: number, series: number, value: number): void {
    const key = `${node}/${round}`;
    let values = this.points.get(key);
    if (values === undefined) {
      values = new Float64Array(SERIES).fill(Number.NaN);
      this.points.set(key, values);
    }
    if (Number.isNaN(values[series]!)) this.samples += 1;
    values[series] = value;
  }

  #flaw(what: string): void {
    this.flawCount += 1;
    if (this.flaws.length < FLAWS_KEPT) this.flaws.push(what);
  }
}

/** Rounds whose lines a server that refuses lines will not have. */
export function isBadRound(round: number): boolean {
  return round % BAD_ROUND_EVERY === 3;
}

/** The round of a line's time, for faults that strike some lines and not others. */
export function roundOfLine(baseMs: number, text: string): number {
  return roundOfTime(baseMs, timeOfLine(text));
}

/** The time of a line, Unix ms. */
export function timeOfLine(text: string): number {
  return Number(text.slice(text.lastIndexOf(' ') + 1));
}
