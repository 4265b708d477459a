/**
 * The log of the process: JSON lines on standard output, or coloured text where somebody watches.
 * Lines are written before the call returns, so that the last words of a crash are not lost.
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
    pretty ? prettyStream(raw) : raw,
  );
}

function prettyStream(raw: DestinationStream): DestinationStream {
  const format = prettyFactory({
    colorize: process.stdout.isTTY === true,
    translateTime: 'SYS:HH:MM:ss.l',
  });
  return { write: (line) => raw.write(format(line)) };
}
