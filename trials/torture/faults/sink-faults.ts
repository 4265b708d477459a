/**
 * The InfluxDB side misbehaves for a while. Meanwhile the Parquet writer must not slow down.
 */
import { sleep } from '../../../src/lib/clock.ts';
import { REFUSAL_MODES, SINK_MODES } from '../sink-server.ts';
import type { DaemonProcess } from '../../harness/daemon-process.ts';
import type { Inject, TortureWorld } from '../torture-world.ts';

/** Rows may wait this long for their file while the other writer suffers; two seconds are usual. */
const PARQUET_LAG_MAX_S = 10;
/** A daemon that has just started has a backlog. */
const SETTLED_MS = 12_000;
const LOOK_INTERVAL_MS = 1000;
/** The writer may stand still for this long while the server answers, though it refuses a part. */
const STANDSTILL_MAX_MS = 6000;

export const injectSinkFault: Inject = async (world, planned, fault, stop) => {
  const { sink, clock } = world;
  const refusal = REFUSAL_MODES.find((one) => planned.name === `refusals: ${one}`);
  const mode = refusal ?? SINK_MODES.find((one) => planned.name === `sink: ${one}`);
  if (sink === undefined || mode === undefined) throw new Error(`BUG: ${planned.name}`);
  const endMs = clock.monotonicMs() + planned.lengthMs;
  const progress = refusal === undefined ? undefined : new InfluxProgress(world);
  let worstLag: number | undefined;
  await sink.setMode(mode);
  try {
    while (!stop.aborted && clock.monotonicMs() < endMs) {
      await sleep(clock, Math.min(LOOK_INTERVAL_MS, endMs - clock.monotonicMs()), stop);
      const lag = await parquetLag(world);
      if (lag !== undefined) worstLag = Math.max(worstLag ?? 0, lag);
      await progress?.look();
    }
  } finally {
    await sink.setMode('well');
  }
  fault.note = `for ${(planned.lengthMs / 1000).toFixed(1)} s`;
  if (progress !== undefined && progress.worstStandstillMs > STANDSTILL_MAX_MS) {
    const seconds = (progress.worstStandstillMs / 1000).toFixed(1);
    world.complaints.push(`InfluxDB's cursor stood for ${seconds} s during "${planned.name}"`);
  }
  if (worstLag === undefined) return;
  fault.note += `, Parquet at most ${worstLag.toFixed(1)} s behind`;
  if (worstLag <= PARQUET_LAG_MAX_S) return;
  world.complaints.push(`Parquet fell ${worstLag.toFixed(1)} s behind during "${planned.name}"`);
};

/** How long the writer stands where it is while the server answers. */
class InfluxProgress {
  worstStandstillMs = 0;
  readonly #world: TortureWorld;
  #daemon: DaemonProcess | undefined;
  #cursor = 0;
  #movedMs = 0;

  constructor(world: TortureWorld) {
    this.#world = world;
  }

  async look(): Promise<void> {
    const { supervisor, clock } = this.#world;
    const { daemon } = supervisor;
    const cursor = daemon && (await influxCursor(daemon));
    const nowMs = clock.monotonicMs();
    const isSame = daemon === this.#daemon && cursor === this.#cursor;
    if (isSame && cursor !== undefined && !supervisor.isTroubled) {
      this.worstStandstillMs = Math.max(this.worstStandstillMs, nowMs - this.#movedMs);
      return;
    }
    this.#daemon = daemon;
    this.#cursor = cursor ?? 0;
    this.#movedMs = nowMs;
  }
}

/** Samples that the writer is done with; undefined where it has nothing to do, or is silent. */
async function influxCursor(daemon: DaemonProcess): Promise<number | undefined> {
  try {
    const page = await daemon.metrics();
    const of = (name: string) => page.sum(name, { writer: 'influxdb' });
    if (of('samples_pending') === 0) return undefined;
    return of('samples_written_total') + of('samples_dead_lettered_total');
  } catch {
    return undefined;
  }
}

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
