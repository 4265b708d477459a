/**
 * Live samples: WebSocket at `/api/v1/ws/telemetry`, SSE at `/api/v1/live`. Both ask the same way,
 * by query parameters, and get the same messages.
 *
 * A WebSocket client may also send `{"type":"subscribe", …}` with another filter, or with `resume`,
 * and `{"type":"unsubscribe"}`.
 */
import websocket, { type WebSocket } from '@fastify/websocket';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { repeat } from '../../lib/repeat.ts';
import type { Caller } from '../access/access.ts';
import type { LiveSink } from '../live/live-client.ts';
import type { LiveFilter } from '../live/live-filter.ts';
import type { LiveHub, Subscription } from '../live/live-hub.ts';
import { type Position, parsePosition } from '../tail/position.ts';
import { callerOf } from './access-plugin.ts';
import { listParameter } from './parameters.ts';
import { Problem } from './problem.ts';
import type { Services } from './services.ts';

/** A subscribe message with full lists fits. */
const MESSAGE_BYTES_MAX = 256 * 1024;
/** A client that is gone without a word is noticed after two of these. */
const PING_MS = 20_000;
const LIST_MAX = 100;
/** Bytes that a client leaves unread before the next error ends it. */
const ERRORS_UNSENT_MAX = 64 * 1024;
/** Of RFC 6455. */
const POLICY_VIOLATION = 1008;
const TRY_AGAIN_LATER = 1013;

const querySchema = z.strictObject({
  node: listParameter('Names of nodes.'),
  gpu: listParameter('UUIDs, `node:index`, or indexes.'),
  metric: listParameter('Metric names in any vocabulary, or names of quantities.'),
  namespace: listParameter('Namespaces.'),
  resume: z.string().max(8192).optional().describe('The position of the last message received.'),
});
type LiveQuery = z.infer<typeof querySchema>;

const list = z.array(z.string().min(1).max(256)).max(LIST_MAX).default([]);
const messageSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('subscribe'),
    node: list,
    gpu: list,
    metric: list,
    namespace: list,
    resume: z.string().max(8192).optional(),
  }),
  z.strictObject({ type: z.literal('unsubscribe') }),
]);

const STREAM = { rights: { role: 'reader' }, isStream: true } as const;

/** Adds the paths. */
export async function registerLiveRoutes(
  server: FastifyInstance,
  services: Services,
): Promise<void> {
  // Compression costs memory for each client, and fragments it (the README of ws).
  await server.register(websocket, {
    options: { maxPayload: MESSAGE_BYTES_MAX, perMessageDeflate: false },
  });
  const typed = server.withTypeProvider<ZodTypeProvider>();
  typed.get(
    '/api/v1/ws/telemetry',
    {
      websocket: true,
      config: STREAM,
      schema: { summary: 'Live samples by WebSocket', querystring: querySchema },
    },
    (socket, request) => serveSocket(socket, request.query, callerOf(request), services),
  );
  typed.get(
    '/api/v1/live',
    {
      config: STREAM,
      schema: { summary: 'Live samples by server-sent events', querystring: querySchema },
    },
    (request, reply) => {
      const last = request.headers['last-event-id'];
      const resume = typeof last === 'string' && last !== '' ? last : request.query.resume;
      serveEvents(reply, { ...request.query, resume }, callerOf(request), services);
    },
  );
}

function serveSocket(
  socket: WebSocket,
  query: LiveQuery,
  caller: Caller,
  { clock, live }: Services,
): void {
  const sink: LiveSink = {
    send: (_type, _position, message) => socket.send(message),
    get unsentBytes() {
      return socket.bufferedAmount;
    },
    close: (code, reason) => socket.close(code, reason),
  };
  let subscription: Subscription | undefined;
  const subscribe = (asked: LiveQuery) => {
    subscription?.end();
    subscription = undefined;
    const from = resumePosition(asked.resume);
    if (from === 'invalid') return sendError(socket, 'resume_invalid', 'resume is no position');
    if (live.isFull) return refuseSocket(socket, live);
    subscription = live.join({ caller, filter: filterOf(asked), from }, sink);
  };
  let isAlive = true;
  socket.on('message', (data, isBinary) => {
    // Finding a place in the tail costs as much as a question, so it is paid for as one.
    const verdict = caller.budget.take();
    if (verdict.kind !== 'granted') {
      return sendError(socket, 'rate_limit', 'the requests of the key are used up for now');
    }
    verdict.release();
    const message = isBinary ? undefined : parseMessage(String(data));
    if (message === undefined) {
      const detail = 'a message must be {"type":"subscribe", …} or {"type":"unsubscribe"}';
      sendError(socket, 'message_invalid', detail);
    } else if (message.type === 'unsubscribe') {
      subscription?.end();
      subscription = undefined;
    } else subscribe(message);
  });
  socket.on('pong', () => {
    isAlive = true;
  });
  const stopPings = repeat(clock, PING_MS, () => {
    if (!isAlive) return socket.terminate();
    isAlive = false;
    socket.ping();
  });
  socket.on('error', () => socket.terminate());
  // A client without a subscription has no place in the hub, so its key is watched here.
  const onKeyEnded = () => socket.close(POLICY_VIOLATION, 'the key ended');
  caller.ended.addEventListener('abort', onKeyEnded, { once: true });
  socket.on('close', () => {
    stopPings();
    subscription?.end();
    caller.ended.removeEventListener('abort', onKeyEnded);
  });
  subscribe(query);
}

function serveEvents(
  reply: FastifyReply,
  query: LiveQuery,
  caller: Caller,
  { clock, live }: Services,
): void {
  const from = resumePosition(query.resume);
  if (from === 'invalid') throw new Problem(400, 'resume_invalid', 'resume is no position');
  const { raw } = reply;
  const sink: LiveSink = {
    send: (type, position, message) => {
      raw.write(`event: ${type}\nid: ${position}\ndata: ${message}\n\n`);
    },
    get unsentBytes() {
      return raw.writableLength;
    },
    // An end that waits for a client that does not read would wait for ever.
    close: () => void (raw.writableLength > 0 ? raw.destroy() : raw.end()),
  };
  if (live.isFull) {
    live.totals.refused += 1;
    throw new Problem(503, 'too_many_live_clients', 'there are too many live clients', {
      headers: { 'retry-after': '5' },
    });
  }
  reply.hijack();
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) raw.setHeader(name, value);
  }
  raw.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    // Proxies that collect answers would hold back a stream for ever.
    'x-accel-buffering': 'no',
  });
  const subscription = live.join({ caller, filter: filterOf(query), from }, sink);
  const stopBeats = repeat(clock, PING_MS, () => void raw.write(': beat\n\n'));
  raw.once('close', () => {
    stopBeats();
    subscription.end();
  });
}

function refuseSocket(socket: WebSocket, live: LiveHub): void {
  live.totals.refused += 1;
  socket.close(TRY_AGAIN_LATER, 'too many live clients');
}

function resumePosition(resume: string | undefined): Position | undefined | 'invalid' {
  if (resume === undefined) return undefined;
  return parsePosition(resume) ?? 'invalid';
}

function filterOf({ node, gpu, metric, namespace }: LiveQuery): LiveFilter {
  return { nodes: node, gpus: gpu, metrics: metric, namespaces: namespace };
}

function parseMessage(text: string): z.infer<typeof messageSchema> | undefined {
  try {
    return messageSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

function sendError(socket: WebSocket, code: string, detail: string): void {
  // Who sends nonsense and reads no answers would fill the memory with them.
  if (socket.bufferedAmount > ERRORS_UNSENT_MAX) socket.terminate();
  else socket.send(JSON.stringify({ type: 'error', code, detail }));
}
