/**
 * Errors of the API as RFC 9457 problems. Each has a code that programs can rely on and a detail
 * that names the parameter, its value, and what is allowed.
 */
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { errorCode } from '../../lib/errors.ts';

const MEDIA_TYPE = 'application/problem+json';

/** What every problem of one kind has in common. */
const TITLES: Readonly<Record<number, string>> = {
  400: 'The request is not valid',
  401: 'No valid key',
  403: 'Not allowed',
  404: 'Not found',
  405: 'The method is not allowed',
  409: 'Conflict',
  413: 'The body is too large',
  415: 'The media type is not supported',
  422: 'The request cannot be processed',
  429: 'Too many requests',
  500: 'The gateway failed',
  503: 'Not available now',
};

/** One place in the request that is wrong. */
export interface ProblemError {
  readonly parameter: string;
  readonly detail: string;
}

/** Thrown by a route, or returned by a check, to answer a request with a problem. */
export class Problem extends Error {
  readonly status: number;
  /** Lower case with underscores; stable. */
  readonly code: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly errors: readonly ProblemError[];

  constructor(
    status: number,
    code: string,
    detail: string,
    extra: { headers?: Readonly<Record<string, string>>; errors?: readonly ProblemError[] } = {},
  ) {
    super(detail);
    this.name = 'Problem';
    this.status = status;
    this.code = code;
    this.headers = extra.headers ?? {};
    this.errors = extra.errors ?? [];
  }
}

/** Answers with `problem`. */
export function sendProblem(reply: FastifyReply, problem: Problem): FastifyReply {
  const { status, code, message, errors } = problem;
  return reply
    .code(status)
    .headers(problem.headers)
    .type(MEDIA_TYPE)
    .send(
      JSON.stringify({
        type: `/docs#${code}`,
        title: TITLES[status] ?? 'The request failed',
        status,
        detail: message,
        code,
        instance: reply.request.id,
        ...(errors.length > 0 ? { errors } : {}),
      }),
    );
}

/** The error handler of the whole server: what a route throws, and what fastify itself refuses. */
export function problemHandler(log: Logger) {
  return (error: FastifyError | Problem, request: FastifyRequest, reply: FastifyReply) => {
    if (error instanceof Problem) return sendProblem(reply, error);
    const status = error.statusCode ?? 500;
    if (status < 500) return sendProblem(reply, fastifyProblem(error, status));
    log.error({ err: error, request: request.id, url: request.url }, 'request failed');
    const detail = `the gateway failed; its log names the request ${request.id}`;
    return sendProblem(reply, new Problem(500, 'failed', detail));
  };
}

/** Answers every path that no route has. */
export function notFoundHandler(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const detail = `there is no ${request.method} ${request.url.split('?')[0] ?? ''}`;
  return sendProblem(reply, new Problem(404, 'path_unknown', detail));
}

const FASTIFY_CODES: Readonly<Record<string, string>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'body_too_large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'content_type',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'body_invalid',
  FST_ERR_CTP_INVALID_JSON_BODY: 'body_invalid',
};

function fastifyProblem(error: FastifyError, status: number): Problem {
  if (error.validation !== undefined) return validationProblem(error.validation);
  return new Problem(status, FASTIFY_CODES[errorCode(error)] ?? 'request_invalid', error.message);
}

/** What a schema refused: each parameter by name. */
function validationProblem(issues: NonNullable<FastifyError['validation']>): Problem {
  const errors = issues.map(({ instancePath, message }) => ({
    parameter: instancePath.replace(/^\//, '').replaceAll('/', '.'),
    detail: message ?? 'is not valid',
  }));
  const detail = errors.map((one) => `${one.parameter} ${one.detail}`.trim()).join('; ');
  return new Problem(400, 'parameter_invalid', detail, { errors });
}
