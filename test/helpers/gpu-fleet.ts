/**
 * Records as a GPU fleet sends them: every metric of every GPU, and a few of the node itself.
 */
import { gauge, type RecordBook, type Sample } from './writer-records.ts';

export interface FleetShape {
  readonly nodes: number;
  readonly gpus: number;
  readonly metrics: number;
  readonly rounds: number;
}

const START_MS = 1_700_000_000_000;

/** Adds `rounds` records per node, a second apart, with values that depend on all of it. */
export function addFleet(book: RecordBook, { nodes, gpus, metrics, rounds }: FleetShape): void {
  for (let round = 0; round < rounds; round++) {
    for (let node = 0; node < nodes; node++) {
      const series = [gauge('node_load1'), gauge('node_memory_free')];
      for (let metric = 0; metric < metrics; metric++) {
        for (let gpu = 0; gpu < gpus; gpu++) {
          const uuid = `GPU-00000000-0000-0000-${node}-${gpu}`;
          const labels = { gpu: String(gpu), UUID: uuid, modelName: 'NVIDIA H100 80GB HBM3' };
          series.push(gauge(`DCGM_FI_DEV_M${metric}`, { ...labels, pod: `train-${gpu}` }));
        }
      }
      const time = START_MS + round * 1000 + node;
      const samples = series.map((_, s): Sample => [s, time, valueAt(round, node, s)]);
      book.add(`node-${node}`, series, samples);
    }
  }
}

function valueAt(round: number, node: number, series: number): number {
  const whole = (round * 7919 + node * 104_729 + series * 31) % 100_003;
  return series % 4 === 0 ? whole / 1000 : whole;
}
