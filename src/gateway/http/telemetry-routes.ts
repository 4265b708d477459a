/**
 * `/api/v1/gpus/{id}/telemetry`: the samples of a GPU, as they came or one value a step.
 */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { nearestName } from '../../config/nearest-name.ts';
import { metricsMeant, QUANTITIES } from '../../domain/quantities.ts';
import {
  AGGREGATES,
  type Aggregate,
  aggregateRows,
  collectRows,
  describeRow,
  rowKey,
  type TelemetryQuestion,
  type TelemetryRow,
} from '../query/telemetry-rows.ts';
import { FirstRows } from '../query/first-rows.ts';
import { callerOf } from './access-plugin.ts';
import { answerSchema, sendRows } from './answer.ts';
import { finishPage, firstOfPage, type Page, type PageRequest, pageOf } from './cursor.ts';
import { findGpus, gpuIdParameter } from './gpu-routes.ts';
import {
  cursorParameter,
  durationParameter,
  limitParameter,
  listParameter,
  timeParameter,
} from './parameters.ts';
import { Problem } from './problem.ts';
import { describeAnswer, type Services } from './services.ts';

const rowSchema = z.object({
  ts: z.string(),
  node: z.string(),
  gpu_uuid: z.string().nullable(),
  gpu_index: z.string().nullable(),
  gpu_instance_id: z.string().nullable(),
  metric: z.string(),
  unit: z.string(),
  value: z.number(),
  namespace: z.string().nullable(),
  pod: z.string().nullable(),
  container: z.string().nullable(),
  job: z.string().nullable(),
  labels: z.record(z.string(), z.string()),
});
const CSV_COLUMNS = Object.keys(rowSchema.shape);

/** Raw rows that one question with a step may read. */
const AGGREGATED_ROWS_MAX = 1_000_000;

const querySchema = z.strictObject({
  metric: listParameter('Metric names in any vocabulary, or names of quantities.'),
  start: timeParameter('From this moment on.'),
  end: timeParameter('Before this moment.'),
  start_time: timeParameter('The same as `start`.'),
  end_time: timeParameter('The same as `end`.'),
  step: durationParameter('One value for each series and step; needs `agg`.'),
  agg: z.enum(AGGREGATES).optional().describe('How a step becomes one value; needs `step`.'),
  order: z.enum(['asc', 'desc']).default('asc').describe('By time; desc: the newest first.'),
  limit: limitParameter,
  cursor: cursorParameter,
});
type TelemetryQuery = z.infer<typeof querySchema>;

/** Adds the path. */
export function registerTelemetryRoutes(server: FastifyInstance, services: Services): void {
  server.withTypeProvider<ZodTypeProvider>().get(
    '/api/v1/gpus/:id/telemetry',
    {
      config: { rights: { role: 'reader' } },
      schema: {
        summary: 'Samples of a GPU, or one value for each step',
        params: z.object({ id: gpuIdParameter() }),
        querystring: querySchema,
        response: { 200: answerSchema(z.array(rowSchema)) },
      },
    },
    async (request, reply) => {
      const startedMs = services.clock.monotonicMs();
      const { scope } = callerOf(request);
      const { cursor, limit, ...query } = request.query;
      const nowMs = services.clock.nowMs();
      const window = windowOf(query, nowMs);
      const gpus = findGpus(services, request.params.id, nowMs, scope);
      checkMetrics(services, query.metric);
      const { id } = request.params;
      const question: TelemetryQuestion = {
        nodes: [...new Set(gpus.map(({ node }) => node))].sort(),
        filter: { nodes: [], gpus: idsOf(gpus), metrics: query.metric, namespaces: [] },
        scope,
        ...window,
      };
      const page = {
        question: { id, ...query },
        cursor,
        limit,
        isDescending: query.order === 'desc',
      };
      const { rows, nextCursor } = await readPage(services, question, query, page);
      const data = rows.map(describeRow);
      const meta = describeAnswer(services, scope, { startedMs, rows: data.length, nextCursor });
      return sendRows(request, reply, { data, meta }, CSV_COLUMNS);
    },
  );
}

async function readPage(
  { tail }: Services,
  question: TelemetryQuestion,
  { step, agg }: Pick<TelemetryQuery, 'step' | 'agg'>,
  request: PageRequest,
): Promise<Page<TelemetryRow>> {
  if (step !== undefined && agg !== undefined) {
    return aggregatePage(tail, question, step, agg, request);
  }
  const first = firstOfPage<TelemetryRow>(request);
  await collectRows(tail, question, first);
  return finishPage(first, rowKey, request);
}

async function aggregatePage(
  tail: Services['tail'],
  question: TelemetryQuestion,
  stepMs: number,
  aggregate: Aggregate,
  request: PageRequest,
): Promise<Page<TelemetryRow>> {
  const all = new FirstRows<TelemetryRow>(AGGREGATED_ROWS_MAX + 1, undefined);
  await collectRows(tail, question, all);
  const rows = all.rows();
  if (rows.length > AGGREGATED_ROWS_MAX) {
    const detail =
      `the question reads more than ${AGGREGATED_ROWS_MAX} samples; ` +
      'ask for fewer metrics, a shorter time, or one GPU';
    throw new Problem(422, 'too_many_rows', detail);
  }
  return pageOf(aggregateRows(rows, stepMs, aggregate), rowKey, request);
}

function windowOf(query: Omit<TelemetryQuery, 'limit' | 'cursor'>, nowMs: number) {
  const startMs = query.start ?? query.start_time ?? 0;
  // A node's clock may be a little ahead; without an end, its samples belong to the answer too.
  const endMs = query.end ?? query.end_time ?? Number.MAX_SAFE_INTEGER;
  if (startMs >= endMs) {
    const time = (timeMs: number) => new Date(timeMs).toISOString();
    const detail = `start is ${time(startMs)}, which is not before end, ${time(Math.min(endMs, nowMs))}`;
    throw new Problem(400, 'parameter_invalid', detail);
  }
  if ((query.step === undefined) !== (query.agg === undefined)) {
    throw new Problem(400, 'parameter_invalid', 'step and agg belong together; give both or none');
  }
  return { startMs, endMs };
}

function idsOf(gpus: ReturnType<typeof findGpus>): string[] {
  return gpus.map(
    ({ node, identity }) => identity.gpu_uuid ?? `${node}:${identity.gpu_index ?? ''}`,
  );
}

/** A metric that nobody sends is a slip of the keyboard, not an empty answer. */
function checkMetrics({ fleet }: Services, metrics: readonly string[]): void {
  if (metrics.length === 0) return;
  const known = new Set<string>();
  for (const { series } of fleet.series.all()) known.add(series.name);
  for (const metric of metrics) {
    if (metricsMeant(metric).some((name) => known.has(name))) continue;
    const near = nearestName(metric, [...QUANTITIES.map(({ name }) => name), ...known]);
    const hint = near === undefined ? '' : `; did you mean ${near}?`;
    throw new Problem(400, 'metric_unknown', `no series has the metric '${metric}'${hint}`);
  }
}
