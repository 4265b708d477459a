/**
 * `/api/v1/nodes` and `/api/v1/nodes/{id}`: what the collector knows of each node.
 */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { nearestName } from '../../config/nearest-name.ts';
import type { NodeView } from '../fleet/node-states.ts';
import { callerOf } from './access-plugin.ts';
import { answerSchema, sendRows } from './answer.ts';
import { pageOf } from './cursor.ts';
import { cursorParameter, limitParameter } from './parameters.ts';
import { Problem } from './problem.ts';
import { describeAnswer, type Services } from './services.ts';

const nodeSchema = z.object({
  id: z.string(),
  connected: z.boolean(),
  connections: z.int(),
  connected_since: z.string().nullable(),
  transport: z.string().nullable().describe('`quic` or `tls`; null without a connection.'),
  remote_address: z.string().nullable(),
  last_received: z.string().nullable(),
  silent: z.boolean(),
  clock_ahead_ms: z
    .number()
    .describe('Time of the last sample minus its receipt: the clock, less what the way took.'),
  epoch: z.number(),
  sequence: z.number(),
  known_gaps: z.number().describe('Sequences that never came.'),
  series: z.int(),
  max_series: z.int(),
  series_text_bytes: z.number(),
  max_series_text_bytes: z.number(),
});

const CSV_COLUMNS = Object.keys(nodeSchema.shape);
const READER = { rights: { role: 'reader' } } as const;

/** Adds the paths. */
export function registerNodeRoutes(server: FastifyInstance, services: Services): void {
  const typed = server.withTypeProvider<ZodTypeProvider>();
  typed.get(
    '/api/v1/nodes',
    {
      config: READER,
      schema: {
        summary: 'Nodes: connection, clock, silence, gaps, budgets',
        querystring: z.strictObject({ limit: limitParameter, cursor: cursorParameter }),
        response: { 200: answerSchema(z.array(nodeSchema)) },
      },
    },
    async (request, reply) => {
      const startedMs = services.clock.monotonicMs();
      const { scope } = callerOf(request);
      const { cursor, limit } = request.query;
      const views = services.nodes.views(services.clock.nowMs(), scope);
      const page = pageOf(views, ({ report }) => [report.nodeId], {
        question: 'nodes',
        cursor,
        limit,
      });
      const data = page.rows.map(describeNode);
      const { nextCursor } = page;
      const counts = { startedMs, rows: data.length, total: views.length, nextCursor };
      const meta = describeAnswer(services, scope, counts);
      return sendRows(request, reply, { data, meta }, CSV_COLUMNS);
    },
  );

  typed.get(
    '/api/v1/nodes/:id',
    {
      config: READER,
      schema: {
        summary: 'One node',
        params: z.object({ id: z.string().min(1).max(256) }),
        querystring: z.strictObject({}),
        response: { 200: answerSchema(nodeSchema) },
      },
    },
    async (request) => {
      const startedMs = services.clock.monotonicMs();
      const { scope } = callerOf(request);
      const nowMs = services.clock.nowMs();
      const { id } = request.params;
      const view = services.nodes.view(id, nowMs, scope);
      if (view === undefined) {
        const names = services.nodes.views(nowMs, scope).map(({ report }) => report.nodeId);
        const near = nearestName(id, names);
        const hint = near === undefined ? '' : `; did you mean ${near}?`;
        throw new Problem(404, 'node_unknown', `there is no node '${id}'${hint}`);
      }
      const counts = { startedMs, rows: 1, nextCursor: undefined };
      return { data: describeNode(view), meta: describeAnswer(services, scope, counts) };
    },
  );
}

function describeNode({ report, isSilent }: NodeView): z.infer<typeof nodeSchema> {
  const time = (timeMs: number) => (timeMs === 0 ? null : new Date(timeMs).toISOString());
  const isConnected = report.connections > 0;
  return {
    id: report.nodeId,
    connected: isConnected,
    connections: report.connections,
    connected_since: time(report.connectedSinceMs),
    transport: isConnected ? report.transport : null,
    remote_address: isConnected ? report.remoteAddress : null,
    last_received: time(report.receivedAtMs),
    silent: isSilent,
    clock_ahead_ms: report.lastSampleAheadMs,
    epoch: report.epoch,
    sequence: report.sequence,
    known_gaps: report.knownGaps,
    series: report.series,
    max_series: report.maxSeries,
    series_text_bytes: report.seriesTextBytes,
    max_series_text_bytes: report.maxSeriesTextBytes,
  };
}
