/**
 * The fleet as it is now: nodes, GPUs and MIG slices with their last values, out of the samples
 * that the feed brings. Nothing here survives a restart; the feed brings it again.
 *
 * A GPU is known by its UUID, or by node and index where no UUID was sent. Its identity and owner
 * come from the series that go on: when a GPU gets another pod, its metrics continue as new series,
 * and the old ones stay behind.
 */
import type { IdentityKey } from '../../domain/gpu-identity.ts';
import { type GpuState, gpuState } from '../../domain/gpu-state.ts';
import { type Scope, sees } from '../access/roles.ts';
import { type FleetBatch, SeriesSlots, type Slot } from './series-slots.ts';

/** One value of a GPU now. */
export interface CurrentValue {
  /** In the quantity's base unit. */
  readonly value: number;
  readonly unit: string;
  /** Since the sample was taken. */
  readonly ageMs: number;
  /** The metric that it comes from. */
  readonly metric: string;
}

/** A GPU or MIG slice as it is now. */
export interface GpuView {
  /** The UUID, or `node:index`; with `/<instance>` behind it for a MIG slice. */
  readonly id: string;
  readonly node: string;
  /** Absent: not sent. */
  readonly identity: Readonly<Partial<Record<IdentityKey, string>>>;
  readonly state: GpuState;
  /** What the state was decided by. */
  readonly stateReason: string;
  /** Unix ms of the newest sample. */
  readonly lastSeenMs: number;
  /** By name of the quantity. */
  readonly values: ReadonlyMap<string, CurrentValue>;
}

interface Gpu {
  readonly id: string;
  readonly nodeId: string;
  readonly slots: Set<Slot>;
}

export interface FleetOptions {
  /** Each takes about 600 bytes. */
  readonly maxSeries: number;
}

export class Fleet {
  readonly #slots: SeriesSlots;
  readonly #gpus = new Map<string, Gpu>();

  constructor({ maxSeries }: FleetOptions) {
    this.#slots = new SeriesSlots(maxSeries, {
      added: (slot) => this.#add(slot),
      removed: (slot) => this.#remove(slot),
    });
  }

  get series(): SeriesSlots {
    return this.#slots;
  }

  get gpuCount(): number {
    return this.#gpus.size;
  }

  /** Takes the samples of one acknowledged batch. */
  take(batch: FleetBatch): void {
    this.#slots.take(batch);
  }

  /** Forgets every series of which nothing was received since `beforeMs`. */
  forget(beforeMs: number): void {
    this.#slots.forget(beforeMs);
  }

  /** Every GPU that `scope` sees now, in the order of node and index. */
  gpus(nowMs: number, scope: Scope = {}): GpuView[] {
    const views: GpuView[] = [];
    for (const gpu of this.#gpus.values()) {
      const view = viewGpu(gpu, nowMs, scope);
      if (view !== undefined) views.push(view);
    }
    return views.sort(byNodeAndIndex);
  }

  /** The GPU with this id, if `scope` sees it. */
  gpu(id: string, nowMs: number, scope: Scope = {}): GpuView | undefined {
    const gpu = this.#gpus.get(id);
    return gpu === undefined ? undefined : viewGpu(gpu, nowMs, scope);
  }

  #add(slot: Slot): void {
    if (!slot.identity.isGpu) return;
    const id = gpuIdOf(slot);
    let gpu = this.#gpus.get(id);
    if (gpu === undefined) {
      gpu = { id, nodeId: slot.nodeId, slots: new Set() };
      this.#gpus.set(id, gpu);
    }
    gpu.slots.add(slot);
  }

  #remove(slot: Slot): void {
    if (!slot.identity.isGpu) return;
    const id = gpuIdOf(slot);
    const gpu = this.#gpus.get(id);
    gpu?.slots.delete(slot);
    if (gpu?.slots.size === 0) this.#gpus.delete(id);
  }
}

/** The id of the GPU or MIG slice that a series is about. */
export function gpuIdOf({ nodeId, identity }: Slot): string {
  const { gpu_uuid, gpu_index, gpu_instance_id } = identity.identities;
  const gpu = gpu_uuid ?? `${nodeId}:${gpu_index ?? ''}`;
  return gpu_instance_id === undefined ? gpu : `${gpu}/${gpu_instance_id}`;
}

function viewGpu({ id, slots }: Gpu, nowMs: number, scope: Scope): GpuView | undefined {
  const current = currentSlots(slots);
  const newest = newestOf(current);
  if (newest === undefined) return undefined;
  const owner = newestOf(current.filter(hasOwner)) ?? newest;
  const identity = { ...newest.identity.identities, ...owner.identity.identities };
  if (!sees(scope, newest.nodeId, identity.namespace ?? '')) return undefined;
  const values = currentValues(current, nowMs);
  const value = (name: string) => values.get(name)?.value;
  const { state, why } = gpuState({
    ageMs: nowMs - newest.timestampMs,
    utilization: value('utilization'),
    engineActive: value('engine_active'),
    memoryUsed: value('memory_used'),
    clockEventReasons: value('clock_event_reasons'),
    recoveryAction: value('recovery_action'),
    rowRemapFailed: value('row_remap_failed'),
  });
  const lastSeenMs = newest.timestampMs;
  return { id, node: newest.nodeId, identity, state, stateReason: why, lastSeenMs, values };
}

/**
 * The series that go on: of each metric the newest one. When a GPU gets another pod, its metrics go
 * on as other series, and those of the pod before stay behind with their last values.
 */
function currentSlots(slots: Iterable<Slot>): Slot[] {
  const newest = new Map<string, Slot>();
  for (const slot of slots) {
    if (slot.samples === 0) continue;
    const other = newest.get(slot.series.name);
    if (other === undefined || slot.timestampMs > other.timestampMs) {
      newest.set(slot.series.name, slot);
    }
  }
  return [...newest.values()];
}

function newestOf(slots: readonly Slot[]): Slot | undefined {
  return slots.reduce<Slot | undefined>(
    (best, slot) => (best === undefined || slot.timestampMs > best.timestampMs ? slot : best),
    undefined,
  );
}

/** A node may run a second exporter that knows nothing of pods; it does not end the ownership. */
function hasOwner({ identity: { identities } }: Slot): boolean {
  return (identities.namespace ?? identities.pod ?? identities.job) !== undefined;
}

/** One value for each quantity: the newest, and at the same time the best name. */
function currentValues(slots: readonly Slot[], nowMs: number): Map<string, CurrentValue> {
  const best = new Map<string, Slot>();
  for (const slot of slots) {
    if (slot.measure?.factor === undefined) continue;
    const { name } = slot.measure.quantity;
    const other = best.get(name);
    if (other === undefined || isBetter(slot, other)) best.set(name, slot);
  }
  const values = new Map<string, CurrentValue>();
  for (const [name, { series, measure, value, timestampMs }] of best) {
    values.set(name, {
      value: value * (measure?.factor ?? 1),
      unit: measure?.quantity.unit ?? '',
      ageMs: Math.max(0, nowMs - timestampMs),
      metric: series.name,
    });
  }
  return values;
}

function isBetter(slot: Slot, other: Slot): boolean {
  if (slot.timestampMs !== other.timestampMs) return slot.timestampMs > other.timestampMs;
  return (slot.measure?.rank ?? 0) < (other.measure?.rank ?? 0);
}

function byNodeAndIndex(a: GpuView, b: GpuView): number {
  if (a.node !== b.node) return a.node < b.node ? -1 : 1;
  const indexA = Number(a.identity.gpu_index ?? -1);
  const indexB = Number(b.identity.gpu_index ?? -1);
  if (indexA !== indexB) return indexA - indexB;
  return a.id < b.id ? -1 : 1;
}
