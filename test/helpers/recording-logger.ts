/**
 * A logger that keeps its lines.
 */
import { type Logger, pino } from 'pino';

export interface RecordingLogger {
  readonly logger: Logger;
  readonly lines: { readonly msg: string; readonly [field: string]: unknown }[];
}

export function createRecordingLogger(): RecordingLogger {
  const lines: RecordingLogger['lines'] = [];
  const logger = pino({ level: 'debug' }, { write: (line) => void lines.push(JSON.parse(line)) });
  return { logger, lines };
}
