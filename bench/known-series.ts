/**
 * What it takes to remember millions of series, so that a restart does not deal their slots anew:
 * to store them, and to start with them.
 */
import path from 'node:path';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { Journal } from '../src/journal/lmdb/journal.ts';
import { createJournalMetrics } from '../src/journal/lmdb/journal-metrics.ts';
import { systemClock } from '../src/lib/clock.ts';
import { atMost, type Measurement } from './figures.ts';
import { loadNodeId } from './load-task.ts';
import { pause } from './pause.ts';
import { Rig } from './rig.ts';
import { processCpu, writtenBytes } from './thread-cpu.ts';

/** Eight GPUs with the 25 metrics of dcgm-exporter. */
const SERIES_OF_A_NODE = 200;
/** Nodes that come at once; the journal commits between. */
const NODES_AT_ONCE = 20;

/** Also for short forms, with fewer. */
export async function measureKnownSeries(count: number): Promise<Measurement[]> {
  const rig = await Rig.open();
  try {
    const atFirst = { ms: performance.now(), cpu: processCpu(process.pid), bytes: writtenBytes() };
    await store(path.join(rig.warehouseDir, 'journal'), count);
    const storedSeconds = (performance.now() - atFirst.ms) / 1000;
    const startedMs = performance.now();
    const daemon = await rig.start();
    const listeningSeconds = (performance.now() - startedMs) / 1000;
    const known = (await daemon.metrics()).sum('admission_series');
    if (known !== count) throw new Error(`${known} series are known, not ${count}`);
    const series = `${count.toLocaleString('en-US')} series`;
    return [
      { figure: `storing ${series}`, value: storedSeconds, unit: 's' },
      {
        figure: `CPU of storing ${series}`,
        value: processCpu(process.pid) - atFirst.cpu,
        unit: 's',
      },
      {
        figure: `disk writes of storing ${series}`,
        value: (writtenBytes() - atFirst.bytes) / 1e6,
        unit: 'MB',
      },
      {
        figure: `process started → listening with ${series}`,
        value: listeningSeconds,
        unit: 's',
        bar: atMost(2),
      },
    ];
  } finally {
    await rig.close();
  }
}

async function store(dir: string, count: number): Promise<void> {
  const journal = await Journal.open({
    dir,
    maxBytes: 2 ** 40,
    minFreeBytes: 0,
    writers: [],
    clock: systemClock,
    logger: pino({ enabled: false }),
    metrics: createJournalMetrics(new Registry()),
  });
  const seenSecs = Math.ceil(systemClock.nowMs() / 1000);
  for (let node = 0; node * SERIES_OF_A_NODE < count; node += 1) {
    const hashes = Float64Array.from({ length: SERIES_OF_A_NODE }, randomHash);
    journal.persistSeries([{ kind: 'put', nodeId: loadNodeId(node), seenSecs, hashes }]);
    if (node % NODES_AT_ONCE === 0) await pause(1);
  }
  await journal.close();
}

function randomHash(): number {
  return 1 + Math.floor(Math.random() * (2 ** 53 - 1));
}
