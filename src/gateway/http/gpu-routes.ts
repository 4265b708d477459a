/**
 * `/api/v1/gpus` and `/api/v1/gpus/{id}`: each GPU and MIG slice as it is now.
 */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { nearestName } from '../../config/nearest-name.ts';
import { GPU_STATES } from '../../domain/gpu-state.ts';
import { QUANTITIES, quantityNamed } from '../../domain/quantities.ts';
import type { Scope } from '../access/roles.ts';
import type { GpuView } from '../fleet/fleet.ts';
import type { SortKey } from '../query/sort-key.ts';
import { callerOf } from './access-plugin.ts';
import { answerSchema, sendRows } from './answer.ts';
import { pageOf } from './cursor.ts';
import { cursorParameter, limitParameter, listParameter } from './parameters.ts';
import { Problem } from './problem.ts';
import { describeAnswer, type Services } from './services.ts';

/** One value of a GPU, with how old it is. */
const valueSchema = z.object({
  value: z.number(),
  unit: z.string(),
  age_ms: z.int(),
  metric: z.string().describe('The metric that the value comes from.'),
});

const gpuSchema = z.object({
  id: z.string().describe('UUID, or node:index; with /instance for a MIG slice.'),
  node: z.string(),
  index: z.string().nullable(),
  uuid: z.string().nullable(),
  model: z.string().nullable(),
  pci_bus_id: z.string().nullable(),
  instance_id: z.string().nullable().describe('Of a MIG slice.'),
  instance_profile: z.string().nullable(),
  namespace: z.string().nullable(),
  pod: z.string().nullable(),
  container: z.string().nullable(),
  job: z.string().nullable(),
  last_seen: z.string().describe('When the newest sample was taken, RFC 3339.'),
  age_ms: z.int(),
  state: z.enum(GPU_STATES),
  state_reason: z.string(),
  values: z
    .record(z.string(), valueSchema)
    .describe('By quantity. What is not measured is not there.'),
});

/** A GPU as the API shows it. */
export type GpuAnswer = z.infer<typeof gpuSchema>;

const CSV_COLUMNS = Object.keys(gpuSchema.shape);

const querySchema = z.strictObject({
  node: listParameter('Names of nodes.'),
  model: listParameter('GPU models, in full.'),
  namespace: listParameter('Namespaces.'),
  job: listParameter('Jobs.'),
  state: listParameter(`States: ${GPU_STATES.join(', ')}.`),
  sort: z.string().default('node').describe('`node`, `state`, `age`, or the name of a quantity.'),
  order: z.enum(['asc', 'desc']).default('asc'),
  limit: limitParameter,
  cursor: cursorParameter,
});
type GpuQuery = z.infer<typeof querySchema>;

const READER = { rights: { role: 'reader' } } as const;

/** Adds the paths. */
export function registerGpuRoutes(server: FastifyInstance, services: Services): void {
  const typed = server.withTypeProvider<ZodTypeProvider>();
  typed.get(
    '/api/v1/gpus',
    {
      config: READER,
      schema: {
        summary: 'GPUs and MIG slices as they are now',
        querystring: querySchema,
        response: { 200: answerSchema(z.array(gpuSchema)) },
      },
    },
    async (request, reply) => {
      const startedMs = services.clock.monotonicMs();
      const { scope } = callerOf(request);
      const { cursor, limit, ...question } = request.query;
      const nowMs = services.clock.nowMs();
      checkQuestion(question);
      const views = services.fleet.gpus(nowMs, scope).filter((view) => matches(view, question));
      const keyOf = (view: GpuView) => sortKey(view, question.sort, nowMs);
      const isDescending = question.order === 'desc';
      const page = pageOf(views, keyOf, { question, cursor, limit, isDescending });
      const data = page.rows.map((view) => describeGpu(view, nowMs));
      const { nextCursor } = page;
      const counts = { startedMs, rows: data.length, total: views.length, nextCursor };
      return sendRows(
        request,
        reply,
        { data, meta: describeAnswer(services, scope, counts) },
        CSV_COLUMNS,
      );
    },
  );

  typed.get(
    '/api/v1/gpus/:id',
    {
      config: READER,
      schema: {
        summary: 'One GPU; a list where an index means several',
        params: z.object({ id: gpuIdParameter() }),
        querystring: z.strictObject({}),
        response: { 200: answerSchema(z.union([gpuSchema, z.array(gpuSchema)])) },
      },
    },
    async (request) => {
      const startedMs = services.clock.monotonicMs();
      const { scope } = callerOf(request);
      const nowMs = services.clock.nowMs();
      const found = findGpus(services, request.params.id, nowMs, scope);
      const data = found.map((view) => describeGpu(view, nowMs));
      const meta = describeAnswer(services, scope, {
        startedMs,
        rows: data.length,
        nextCursor: undefined,
      });
      return { data: data.length === 1 ? data[0]! : data, meta };
    },
  );
}

/** The id of a GPU in a path. */
export function gpuIdParameter() {
  return z.string().min(1).max(256).describe('UUID, `node:index`, or an index.');
}

/** The GPUs that `id` means: one, or all with this index. Throws a Problem where there are none. */
export function findGpus(services: Services, id: string, nowMs: number, scope: Scope): GpuView[] {
  const { fleet } = services;
  const one = fleet.gpu(id, nowMs, scope);
  if (one !== undefined) return [one];
  const found = fleet.gpus(nowMs, scope).filter(({ node, identity }) => {
    const index = identity.gpu_index;
    return (
      index !== undefined && (id === index || id === `${node}:${index}` || id === identity.gpu_uuid)
    );
  });
  if (found.length > 0) return found;
  const near = nearestName(
    id,
    fleet.gpus(nowMs, scope).map((view) => view.id),
  );
  const hint = near === undefined ? '' : `; did you mean ${near}?`;
  throw new Problem(404, 'gpu_unknown', `there is no GPU '${id}'${hint}`);
}

/** A GPU as the API shows it. */
export function describeGpu(view: GpuView, nowMs: number): GpuAnswer {
  const { id, node, identity, state, stateReason, lastSeenMs, values } = view;
  return {
    id,
    node,
    index: identity.gpu_index ?? null,
    uuid: identity.gpu_uuid ?? null,
    model: identity.gpu_model ?? null,
    pci_bus_id: identity.pci_bus_id ?? null,
    instance_id: identity.gpu_instance_id ?? null,
    instance_profile: identity.gpu_instance_profile ?? null,
    namespace: identity.namespace ?? null,
    pod: identity.pod ?? null,
    container: identity.container ?? null,
    job: identity.job ?? null,
    last_seen: new Date(lastSeenMs).toISOString(),
    age_ms: Math.max(0, Math.round(nowMs - lastSeenMs)),
    state,
    state_reason: stateReason,
    values: Object.fromEntries(
      [...values].map(([name, { value, unit, ageMs, metric }]) => [
        name,
        { value, unit, age_ms: Math.round(ageMs), metric },
      ]),
    ),
  };
}

const SORTS = ['node', 'state', 'age'];

function checkQuestion({ sort, state }: Omit<GpuQuery, 'limit' | 'cursor'>): void {
  const unknown = state.find((one) => !(GPU_STATES as readonly string[]).includes(one));
  if (unknown !== undefined) {
    const detail = `state is '${unknown}', but must be one of ${GPU_STATES.join(', ')}`;
    throw new Problem(400, 'parameter_invalid', detail);
  }
  if (SORTS.includes(sort) || quantityNamed(sort) !== undefined) return;
  const names = [...SORTS, ...QUANTITIES.map(({ name }) => name)];
  const near = nearestName(sort, names);
  const hint = near === undefined ? '' : ` (did you mean ${near}?)`;
  const detail = `sort is '${sort}'${hint}, but must be one of ${names.join(', ')}`;
  throw new Problem(400, 'parameter_invalid', detail);
}

function matches(
  { node, identity, state }: GpuView,
  question: Pick<GpuQuery, 'node' | 'model' | 'namespace' | 'job' | 'state'>,
): boolean {
  const isIn = (list: readonly string[], value: string | undefined) =>
    list.length === 0 || list.includes(value ?? '');
  return (
    isIn(question.node, node) &&
    isIn(question.model, identity.gpu_model) &&
    isIn(question.namespace, identity.namespace) &&
    isIn(question.job, identity.job) &&
    isIn(question.state, state)
  );
}

/** What is sorted by, then node, index and id, so that no two GPUs are equal. */
function sortKey(view: GpuView, sort: string, nowMs: number): SortKey {
  const place = [view.node, Number(view.identity.gpu_index ?? -1), view.id] as const;
  if (sort === 'node') return place;
  if (sort === 'state') return [GPU_STATES.indexOf(view.state), ...place];
  if (sort === 'age') return [nowMs - view.lastSeenMs, ...place];
  return [view.values.get(sort)?.value ?? null, ...place];
}
