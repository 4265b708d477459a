/**
 * What every answer of the API looks like: `{data, meta}` as JSON, or the rows alone as CSV or
 * NDJSON, as the request's Accept header asks. `meta` then travels in headers.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { Problem } from './problem.ts';

/** What an answer covers. Times are RFC 3339. */
export const coverageSchema = z.object({
  from: z.string().nullable().describe('The oldest moment that the answer could have rows of.'),
  to: z.string().describe('When the answer was made.'),
  live: z.boolean().describe('The collector is connected, and nothing it has is missing here.'),
  untracked_samples: z.int().describe('Samples of series that found no place.'),
  nodes_silent: z.array(z.string()).describe('Nodes without a sample for too long.'),
});

/** What stands beside the rows. */
export const metaSchema = z.object({
  rows: z.int(),
  total: z.int().optional().describe('Rows of all pages.'),
  truncated: z.boolean().describe('There is more; ask with `next_cursor`.'),
  next_cursor: z.string().optional(),
  elapsed_ms: z.number(),
  position: z.string().describe('The place in the stream up to which the answer goes.'),
  coverage: coverageSchema,
});

/** What an answer's data covers. */
export type Coverage = z.infer<typeof coverageSchema>;
/** What stands beside the rows. */
export type Meta = z.infer<typeof metaSchema>;

/** The schema of an answer with this data. */
export function answerSchema<T extends z.ZodType>(data: T) {
  return z.object({ data, meta: metaSchema });
}

type Format = 'json' | 'csv' | 'ndjson';

/** A value in a cell; objects become JSON. */
export type Row = Readonly<Record<string, unknown>>;

/** Sends rows in the form that the client accepts. `columns` are those of CSV. */
export function sendRows(
  request: FastifyRequest,
  reply: FastifyReply,
  answer: { readonly data: readonly Row[]; readonly meta: Meta },
  columns: readonly string[],
): FastifyReply {
  const format = formatOf(request);
  reply.header('vary', 'accept');
  if (format === 'json') return reply.send(answer);
  const { meta, data } = answer;
  if (meta.next_cursor !== undefined) reply.header('link', linkToNext(request, meta.next_cursor));
  reply.header('x-truncated', String(meta.truncated)).header('x-position', meta.position);
  if (format === 'ndjson') {
    const lines = data.map((row) => `${JSON.stringify(row)}\n`);
    return reply.type('application/x-ndjson').send(lines.join(''));
  }
  const lines = data.map((row) => columns.map((column) => csvCell(row[column])).join(','));
  return reply
    .type('text/csv; charset=utf-8')
    .send(`${[columns.join(','), ...lines].join('\r\n')}\r\n`);
}

const FORMATS: Readonly<Record<string, Format>> = {
  'application/json': 'json',
  'application/*': 'json',
  '*/*': 'json',
  'text/csv': 'csv',
  'application/x-ndjson': 'ndjson',
};

function formatOf({ headers }: FastifyRequest): Format {
  const accept = headers.accept ?? '*/*';
  const wanted = accept
    .split(',')
    .map((part) => part.split(';').map((text) => text.trim().toLowerCase()))
    .map(([type = '', ...parameters]) => ({ type, quality: qualityOf(parameters) }))
    .filter(({ type, quality }) => FORMATS[type] !== undefined && quality > 0)
    .sort((a, b) => b.quality - a.quality);
  const [best] = wanted;
  if (best !== undefined) return FORMATS[best.type] ?? 'json';
  const allowed = 'application/json, text/csv, application/x-ndjson';
  throw new Problem(406, 'accept', `Accept is '${accept}', but must allow one of ${allowed}`);
}

function qualityOf(parameters: readonly string[]): number {
  const text = parameters.find((one) => one.startsWith('q='))?.slice(2);
  const quality = Number(text ?? 1);
  return Number.isFinite(quality) ? quality : 0;
}

function linkToNext({ url }: FastifyRequest, cursor: string): string {
  const next = new URL(url, 'http://gateway');
  next.searchParams.set('cursor', cursor);
  return `<${next.pathname}${next.search}>; rel="next"`;
}

/**
 * A text that a spreadsheet would run as a formula gets a quote in front: agents choose names and
 * labels.
 */
function csvCell(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'number') return String(value);
  const raw = typeof value === 'string' ? value : JSON.stringify(value);
  const text = /^[=+\-@\t\r]/.test(raw) ? `'${raw}` : raw;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
