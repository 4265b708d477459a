/**
 * The log of the process: JSON lines on standard output, or coloured text on a terminal.
 * Lines are written before the call returns, so that the last words of a crash are not lost.
 *
 * Some of what is logged comes from peers: close reasons, names, label values. Characters that
 * would steer a terminal or turn the direction of the text are spelled out, as \u202e for example,
 * in every message and field.
 */
import { type DestinationStream, type LevelWithSilent, type Logger, pino } from 'pino';
import { prettyFactory } from 'pino-pretty';

export interface LoggerOptions {
  readonly level: LevelWithSilent;
  /** auto: pretty on a terminal, JSON otherwise. */
  readonly format: 'auto' | 'json' | 'pretty';
}

/** Fields whose values are never logged, in whatever object they come, three levels deep. */
const SECRET_FIELDS = ['token', 'authorization', 'Authorization', 'password', 'keyPem', 'key_pem'];
const SECRET_PATHS = SECRET_FIELDS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);

/** A logger on standard output, or on `destination`. */
export function createLogger(options: LoggerOptions, destination?: DestinationStream): Logger {
  const pretty =
    options.format === 'pretty' || (options.format === 'auto' && process.stdout.isTTY === true);
  const raw = destination ?? pino.destination({ fd: 1, sync: true });
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRET_PATHS, censor: '(hidden)' },
    },
    cleanStream(pretty ? prettyStream(raw) : raw),
  );
}

/**
 * Any escape of JSON, and the characters that JSON leaves as they are: DEL and C1 controls, line
 * separators, direction marks, embeddings, overrides and isolates.
 */
const ESCAPE_OR_UNSAFE =
  /\\u[\da-f]{4}|\\.|[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gi;
/** Line feeds and tabs stay: stack traces are made of them. */
const CONTROL_ESCAPE = /^\\(?:u00[01]|[bfr])/i;

/** Passes JSON lines on with unsafe characters spelled out. The lines stay JSON. */
function cleanStream(next: DestinationStream): DestinationStream {
  return { write: (line) => next.write(line.replace(ESCAPE_OR_UNSAFE, spellOut)) };
}

function spellOut(found: string): string {
  if (!found.startsWith('\\')) {
    return `\\\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`;
  }
  return CONTROL_ESCAPE.test(found) ? `\\${found}` : found;
}

function prettyStream(raw: DestinationStream): DestinationStream {
  const format = prettyFactory({
    colorize: process.stdout.isTTY === true,
    translateTime: 'SYS:HH:MM:ss.l',
  });
  return { write: (line) => raw.write(format(line)) };
}
