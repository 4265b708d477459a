/**
 * The InfluxDB side misbehaves for a while. Meanwhile the Parquet writer must not slow down.
 */
import { sleep } from '../../../src/lib/clock.ts';
import { SINK_MODES, type SinkMode } from '../sink-server.ts';
import type { Inject, TortureWorld } from '../torture-world.ts';

/** Rows may wait this long for their file while the other writer suffers; two seconds are usual. */
const PARQUET_LAG_MAX_S = 10;
/** A daemon that has just started has a backlog. */
const SETTLED_MS = 12_000;
const LOOK_INTERVAL_MS = 1000;

export const injectSinkFault: Inject = async (world, planned, fault, stop) => {
  const { sink, clock } = world;
  const mode = SINK_MODES.find((one) => planned.name === `sink: ${one}`);
  if (sink === undefined || mode === undefined) throw new Error(`BUG: ${planned.name}`);
  const endMs = clock.monotonicMs() + planned.lengthMs;
  let worstLag: number | undefined;
  await sink.setMode(mode satisfies SinkMode);
  try {
    while (!stop.aborted && clock.monotonicMs() < endMs) {
      await sleep(clock, Math.min(LOOK_INTERVAL_MS, endMs - clock.monotonicMs()), stop);
      const lag = await parquetLag(world);
      if (lag !== undefined) worstLag = Math.max(worstLag ?? 0, lag);
    }
  } finally {
    await sink.setMode('well');
  }
  fault.note = `for ${(planned.lengthMs / 1000).toFixed(1)} s`;
  if (worstLag === undefined) return;
  fault.note += `, Parquet at most ${worstLag.toFixed(1)} s behind`;
  if (worstLag <= PARQUET_LAG_MAX_S) return;
  world.complaints.push(`Parquet fell ${worstLag.toFixed(1)} s behind during "${planned.name}"`);
};

/** Seconds; undefined where something else may be the reason. */
async function parquetLag(world: TortureWorld): Promise<number | undefined> {
  const { supervisor } = world;
  const { daemon } = supervisor;
  if (daemon === undefined || supervisor.isTroubled) return undefined;
  if (supervisor.uptimeMs < SETTLED_MS || isClockTroubled(world)) return undefined;
  try {
    const page = await daemon.metrics();
    if (supervisor.daemon !== daemon || supervisor.isTroubled) return undefined;
    return page.sum('writers_lag_seconds', { writer: 'parquet' });
  } catch {
    return undefined;
  }
}

/** A batch that came while the daemon's clock was wrong is as old as the clock says. */
function isClockTroubled({ book, clock }: TortureWorld): boolean {
  const nowMs = clock.nowMs();
  return book.between(nowMs - SETTLED_MS, nowMs).some(({ name }) => name.startsWith('clock: '));
}
