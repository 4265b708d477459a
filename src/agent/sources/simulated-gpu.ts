/**
 * One simulated GPU. Its numbers hang together: work draws power, power heats with inertia, heat
 * slows the clock, and energy is the integral of power.
 */
import { SeededRandom } from './seeded-random.ts';
import type { SimulatedJob } from './simulated-jobs.ts';

const FRAMEBUFFER_MIB = 81_007;
const RESERVED_MIB = 552;
export const POWER_LIMIT_WATTS = 700;
const MAX_SM_MHZ = 1980;
const IDLE_SM_MHZ = 345;
const MEMORY_MHZ = 2619;
const THERMAL_SECONDS = 45;
/** Here the GPU begins to slow itself down. */
const SLOWDOWN_CELSIUS = 86;
/** A job loads its data before it computes, and writes a checkpoint now and then. */
const LOADING_MS = 40_000;
const CHECKPOINT_EVERY_MS = 600_000;
const CHECKPOINT_MS = 15_000;
const DAY_MS = 86_400_000;

/** XID codes and how often each is drawn. 79: the GPU has fallen off the bus. */
const XID_WEIGHTS: readonly (readonly [code: number, weight: number])[] = [
  [31, 0.4],
  [13, 0.15],
  [43, 0.1],
  [63, 0.12],
  [94, 0.1],
  [48, 0.06],
  [74, 0.02],
  [79, 0.05],
];

/** What `SimulatedGpu` shows of itself; the metrics read from it. */
export class SimulatedGpu {
  utilPercent = 0;
  memoryUtilPercent = 0;
  decoderPercent = 0;
  smMhz = IDLE_SM_MHZ;
  readonly memoryMhz = MEMORY_MHZ;
  celsius: number;
  powerWatts: number;
  energyMillijoules: number;
  memoryUsedMib = 4;
  readonly memoryReservedMib = RESERVED_MIB;
  engineActive = 0;
  tensorActive = 0;
  dramActive = 0;
  pcieTxBytesPerSecond = 0;
  pcieRxBytesPerSecond = 0;
  nvlinkMegabytes = 0;
  nvlinkBytesPerSecond = 0;
  xid = 0;
  pcieReplays = 0;
  correctableRows = 0;
  uncorrectableRows = 0;
  rowRemapFailed = 0;
  correctedErrors = 0;
  uncorrectedErrors = 0;
  powerViolationNs = 0;
  thermalViolationNs = 0;
  /** Clock-event reasons: 0x1 idle, 0x4 power cap, 0x20 heat. */
  clockReasons = 1;

  readonly #noise: SeededRandom;
  readonly #faults: SeededRandom;
  readonly #ambientCelsius: number;
  readonly #celsiusPerWatt: number;
  readonly #idleWatts: number;
  readonly #faultEveryMs: number;
  #nextFaultMs: number;
  #lostUntilMs = Number.NEGATIVE_INFINITY;
  #lastMs: number;

  constructor(seed: string, faultsPerHour: number, startMs: number) {
    this.#noise = new SeededRandom(`${seed}/noise`);
    this.#faults = new SeededRandom(`${seed}/faults`);
    const build = new SeededRandom(`${seed}/build`);
    this.#ambientCelsius = build.between(22, 27);
    // One GPU in twenty-five is badly cooled and throttles under full load.
    this.#celsiusPerWatt = build.next() < 0.04 ? 0.1 : build.between(0.038, 0.055);
    this.#idleWatts = build.between(66, 78);
    this.#faultEveryMs = faultsPerHour > 0 ? 3_600_000 / faultsPerHour : Number.POSITIVE_INFINITY;
    this.#nextFaultMs = startMs + this.#faults.exponential(this.#faultEveryMs);
    this.powerWatts = this.#idleWatts;
    this.celsius = this.#ambientCelsius + this.#idleWatts * this.#celsiusPerWatt;
    this.energyMillijoules = Math.floor(build.between(0, 1e12));
    this.#lastMs = startMs;
  }

  /** Whether the driver cannot reach the GPU: it then reports nothing at all. */
  isLost(timeMs: number): boolean {
    return timeMs < this.#lostUntilMs;
  }

  /** Moves on to `timeMs` under `job`. Times must not go back; those that do change nothing. */
  advance(timeMs: number, job: SimulatedJob | undefined): void {
    const seconds = Math.max(0, (timeMs - this.#lastMs) / 1000);
    this.#lastMs = Math.max(this.#lastMs, timeMs);
    this.#meetFaults(timeMs);
    const load = this.#load(timeMs, job);
    this.#work(load, job, seconds);
    this.#heat(load, job, seconds);
  }

  /** The share of the GPU that is at work, 0 to 1. */
  #load(timeMs: number, job: SimulatedJob | undefined): number {
    if (job === undefined || job.workload === 'zombie') return 0;
    const ageMs = timeMs - job.startMs;
    const noise = this.#noise.normal();
    if (ageMs < LOADING_MS) return clamp(0.04 + 0.02 * noise, 0, 0.1);
    if (job.workload === 'training') {
      const isCheckpoint = ageMs % CHECKPOINT_EVERY_MS < CHECKPOINT_MS;
      return isCheckpoint ? clamp(0.05 + 0.02 * noise, 0, 0.2) : clamp(0.97 + 0.02 * noise, 0.8, 1);
    }
    const daily = 0.45 + 0.3 * Math.sin((2 * Math.PI * timeMs) / DAY_MS);
    return clamp(daily + 0.1 * noise, 0.02, 0.98);
  }

  #work(load: number, job: SimulatedJob | undefined, seconds: number): void {
    const intensity = job?.intensity ?? 0;
    const noise = this.#noise.normal();
    this.utilPercent = Math.round(100 * load);
    this.engineActive = load;
    this.tensorActive = load * intensity * clamp(0.55 + 0.04 * noise, 0, 1);
    this.dramActive = load * clamp(0.4 + 0.05 * noise, 0, 1);
    this.memoryUtilPercent = Math.round(70 * this.dramActive);
    this.decoderPercent = job?.container === 'main' && intensity < 0.5 ? Math.round(30 * load) : 0;
    const fullMib = Math.round(FRAMEBUFFER_MIB * (job?.memoryShare ?? 0));
    const loadedShare = job === undefined ? 0 : (this.#lastMs - job.startMs) / LOADING_MS;
    this.memoryUsedMib = 4 + Math.round(clamp(loadedShare, 0.1, 1) * fullMib);
    this.pcieTxBytesPerSecond = Math.round(2e9 * load * clamp(0.3 + 0.2 * noise, 0.01, 1));
    this.pcieRxBytesPerSecond = Math.round(3e9 * load * clamp(0.4 + 0.2 * noise, 0.01, 1));
    const linked = (job?.gpus.length ?? 0) > 1 ? 2.5e11 * load * intensity : 0;
    this.nvlinkBytesPerSecond = Math.round(linked);
    this.nvlinkMegabytes += Math.round((linked / 1e6) * seconds);
  }

  #heat(load: number, job: SimulatedJob | undefined, seconds: number): void {
    const over = Math.max(0, this.celsius - SLOWDOWN_CELSIUS);
    const speed = clamp(1 - 0.06 * over, 0.4, 1);
    // A process that merely holds memory keeps the clocks up and some power with them.
    const held = job === undefined ? 0 : 42;
    const wanted =
      this.#idleWatts + held + (660 - held) * load * (0.35 + 0.65 * (job?.intensity ?? 0));
    const noise = 1 + 0.01 * this.#noise.normal();
    const power = Math.min(wanted * speed * noise, POWER_LIMIT_WATTS);
    const isCapped = wanted > POWER_LIMIT_WATTS;
    this.energyMillijoules += Math.round(((this.powerWatts + power) / 2) * seconds * 1000);
    this.powerWatts = Math.round(power * 1000) / 1000;
    const settled = this.#ambientCelsius + power * this.#celsiusPerWatt;
    this.celsius += (settled - this.celsius) * (1 - Math.exp(-seconds / THERMAL_SECONDS));
    const mhz = MAX_SM_MHZ * speed * (isCapped ? POWER_LIMIT_WATTS / wanted : 1);
    this.smMhz = job === undefined ? IDLE_SM_MHZ : 15 * Math.round(mhz / 15);
    this.clockReasons =
      (job === undefined ? 0x1 : 0) | (isCapped ? 0x4 : 0) | (over > 0 ? 0x20 : 0);
    if (isCapped) this.powerViolationNs += Math.round(seconds * 1e9);
    if (over > 0) this.thermalViolationNs += Math.round(seconds * 1e9);
  }

  #meetFaults(timeMs: number): void {
    if (this.#lostUntilMs > 0 && timeMs >= this.#lostUntilMs) this.#comeBack();
    // A long silence may hide many faults; the last few are enough.
    for (let faults = 0; this.#nextFaultMs <= timeMs && faults < 100; faults += 1) {
      this.#fail(this.#nextFaultMs);
      this.#nextFaultMs += this.#faults.exponential(this.#faultEveryMs);
    }
  }

  #fail(atMs: number): void {
    this.xid = this.#drawXid();
    if (this.xid === 63) this.correctableRows += 1;
    if (this.xid === 94 || this.xid === 48) {
      this.uncorrectableRows += 1;
      this.uncorrectedErrors += 1;
      this.rowRemapFailed = this.uncorrectableRows > 8 ? 1 : this.rowRemapFailed;
    }
    this.correctedErrors += Math.floor(this.#faults.exponential(20));
    if (this.xid === 74) this.pcieReplays += 3;
    if (this.xid === 79) this.#lostUntilMs = atMs + 1000 * this.#faults.between(600, 1800);
  }

  #drawXid(): number {
    let draw = this.#faults.next();
    for (const [code, weight] of XID_WEIGHTS) {
      if (draw < weight) return code;
      draw -= weight;
    }
    return 13;
  }

  /** The node was repaired: what counts since driver load starts again. */
  #comeBack(): void {
    this.#lostUntilMs = Number.NEGATIVE_INFINITY;
    this.xid = 0;
    this.energyMillijoules = 0;
    this.pcieReplays = 0;
    this.nvlinkMegabytes = 0;
    this.correctedErrors = 0;
    this.uncorrectedErrors = 0;
    this.powerViolationNs = 0;
    this.thermalViolationNs = 0;
  }

  get memoryFreeMib(): number {
    return FRAMEBUFFER_MIB - this.memoryUsedMib;
  }
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
