/**
 * `/api/v1/series`: what is measured, with unit, kind and last value.
 */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { metricsMeant } from '../../domain/quantities.ts';
import { sees } from '../access/roles.ts';
import { gpuIdOf } from '../fleet/fleet.ts';
import type { Slot } from '../fleet/series-slots.ts';
import type { SortKey } from '../query/sort-key.ts';
import { callerOf } from './access-plugin.ts';
import { answerSchema, sendRows } from './answer.ts';
import { pageOf } from './cursor.ts';
import { cursorParameter, limitParameter, listParameter } from './parameters.ts';
import { describeAnswer, type Services } from './services.ts';

const seriesSchema = z.object({
  metric: z.string(),
  node: z.string(),
  gpu: z.string().nullable().describe('The id of the GPU that it is about.'),
  labels: z.record(z.string(), z.string()),
  kind: z.enum(['unspecified', 'gauge', 'counter']),
  unit: z.string(),
  quantity: z.string().nullable().describe('What it measures, whatever it is called.'),
  value: z.number(),
  ts: z.string(),
  age_ms: z.int(),
  interval_ms: z.number().nullable().describe('Between the newest two samples.'),
  samples: z.int().describe('Since the gateway started.'),
});

const CSV_COLUMNS = Object.keys(seriesSchema.shape);

/** Adds the path. */
export function registerSeriesRoutes(server: FastifyInstance, services: Services): void {
  server.withTypeProvider<ZodTypeProvider>().get(
    '/api/v1/series',
    {
      config: { rights: { role: 'reader' } },
      schema: {
        summary: 'Series with their last values',
        querystring: z.strictObject({
          metric: listParameter('Metric names in any vocabulary, or names of quantities.'),
          node: listParameter('Names of nodes.'),
          limit: limitParameter,
          cursor: cursorParameter,
        }),
        response: { 200: answerSchema(z.array(seriesSchema)) },
      },
    },
    async (request, reply) => {
      const startedMs = services.clock.monotonicMs();
      const { scope } = callerOf(request);
      const { cursor, limit, ...question } = request.query;
      const metrics = new Set(question.metric.flatMap(metricsMeant));
      const slots = [...slotsOf(services, question.node)].filter(
        ({ nodeId, series, identity, samples }) =>
          samples > 0 &&
          (metrics.size === 0 || metrics.has(series.name)) &&
          sees(scope, nodeId, identity.identities.namespace ?? ''),
      );
      const { rows, nextCursor } = pageOf(slots, keyOf, { question, cursor, limit });
      const nowMs = services.clock.nowMs();
      const data = rows.map((slot) => describeSlot(slot, nowMs));
      const counts = { startedMs, rows: data.length, total: slots.length, nextCursor };
      const meta = describeAnswer(services, scope, counts);
      return sendRows(request, reply, { data, meta }, CSV_COLUMNS);
    },
  );
}

function slotsOf({ fleet }: Services, nodes: readonly string[]): Iterable<Slot> {
  return nodes.length === 0
    ? fleet.series.all()
    : nodes.flatMap((node) => [...fleet.series.of(node)]);
}

function keyOf({ nodeId, series, key }: Slot): SortKey {
  return [series.name, nodeId, key];
}

function describeSlot(slot: Slot, nowMs: number): z.infer<typeof seriesSchema> {
  const { nodeId, series, identity, measure, value, timestampMs, intervalMs, samples } = slot;
  return {
    metric: series.name,
    node: nodeId,
    gpu: identity.isGpu ? gpuIdOf(slot) : null,
    labels: Object.fromEntries(series.labels),
    kind: series.kind,
    unit: series.unit,
    quantity: measure?.quantity.name ?? null,
    value,
    ts: new Date(timestampMs).toISOString(),
    age_ms: Math.max(0, Math.round(nowMs - timestampMs)),
    interval_ms: intervalMs === 0 ? null : intervalMs,
    samples,
  };
}
