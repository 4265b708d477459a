/**
 * What a live client wants to see, and what it may see. Deciding it costs something for each series
 * of a table once; after that, a sample costs one look into an array.
 */
import { identifyLabels } from '../../domain/gpu-identity.ts';
import { metricsMeant } from '../../domain/quantities.ts';
import type { SeriesTable } from '../../domain/telemetry.ts';
import type { TailRecord } from '../tail/tail.ts';
import { type Scope, scopeKey, sees } from '../access/roles.ts';
import type { RowTexts } from './row-text.ts';

/** Lists that are empty filter nothing. */
export interface LiveFilter {
  readonly nodes: readonly string[];
  /** UUIDs, `node:index`, or an index. */
  readonly gpus: readonly string[];
  /** Metric names, or names of quantities; a name stands for all that mean the same. */
  readonly metrics: readonly string[];
  readonly namespaces: readonly string[];
}

export const EVERYTHING: LiveFilter = { nodes: [], gpus: [], metrics: [], namespaces: [] };

/** Tables of which a selection remembers what it takes; more are decided again. */
const TABLES_MAX = 10_000;

/** Which series a filter and a scope take; shared by all clients with the same two. */
export class Selection {
  /** Equal for equal filters and scopes. */
  readonly key: string;
  readonly #filter: LiveFilter;
  readonly #scope: Scope;
  readonly #metrics: ReadonlySet<string>;
  /** By node and table; null where nothing of the table is taken. */
  readonly #taken = new Map<string, Uint8Array | null>();

  /** Texts that other clients with this selection will ask for; they live as long as the record. */
  readonly #rows = new WeakMap<TailRecord, string>();
  /** How many clients share it. */
  users = 0;

  constructor(filter: LiveFilter, scope: Scope) {
    this.key = selectionKey(filter, scope);
    this.#filter = filter;
    this.#scope = scope;
    this.#metrics = new Set(filter.metrics.flatMap(metricsMeant));
  }

  /** The rows of a record that are taken, joined by commas; '' for none. */
  rowsOf(record: TailRecord, rows: RowTexts): string {
    const known = this.#rows.get(record);
    if (known !== undefined) return known;
    const taken = this.of(record.nodeId, record.table);
    const text = taken === null ? '' : rows.rows(record, taken);
    if (text !== '' && this.users > 1) this.#rows.set(record, text);
    return text;
  }

  /** One byte for each series of the table, 1 = taken; null where none is. */
  of(nodeId: string, table: SeriesTable): Uint8Array | null {
    const { nodes } = this.#filter;
    if (nodes.length > 0 && !nodes.includes(nodeId)) return null;
    const key = `${table.id}${nodeId}`;
    const known = this.#taken.get(key);
    if (known !== undefined) return known;
    const taken = this.#decide(nodeId, table);
    if (this.#taken.size >= TABLES_MAX) this.#taken.clear();
    this.#taken.set(key, taken);
    return taken;
  }

  #decide(nodeId: string, { series }: SeriesTable): Uint8Array | null {
    const { gpus, namespaces } = this.#filter;
    const taken = new Uint8Array(series.length);
    let isAny = false;
    for (const [index, { name, labels }] of series.entries()) {
      if (this.#metrics.size > 0 && !this.#metrics.has(name)) continue;
      const { identities } = identifyLabels(labels);
      const namespace = identities.namespace ?? '';
      if (!sees(this.#scope, nodeId, namespace)) continue;
      if (namespaces.length > 0 && !namespaces.includes(namespace)) continue;
      const { gpu_uuid: uuid = '', gpu_index: gpuIndex = '' } = identities;
      const isGpu = [uuid, gpuIndex, `${nodeId}:${gpuIndex}`].some((id) => gpus.includes(id));
      if (gpus.length > 0 && !isGpu) continue;
      taken[index] = 1;
      isAny = true;
    }
    return isAny ? taken : null;
  }
}

/** Equal for equal filters and scopes. */
export function selectionKey(
  { nodes, gpus, metrics, namespaces }: LiveFilter,
  scope: Scope,
): string {
  const lists = [nodes, gpus, metrics, namespaces].map((list) => [...list].sort());
  return JSON.stringify([...lists, scopeKey(scope)]);
}
