/**
 * What a writer needs, for tests: dead letters and log lines are kept in memory.
 */
import path from 'node:path';
import { systemClock } from '../../src/lib/clock.ts';
import { nodeFileSystem } from '../../src/lib/filesystem.ts';
import type { DeadLetter, WriterDeps } from '../../src/collector/writers/writer.ts';
import type { DeadLetterSettings } from '../../src/collector/writers/writer-messages.ts';
import type { RecordBook } from './writer-records.ts';

export interface RecordedWriterDeps extends WriterDeps {
  readonly letters: DeadLetter[];
  /** Each line with its fields as one JSON text. */
  readonly logLines: string[];
}

export function writerDeps(
  book: RecordBook,
  changes: Partial<WriterDeps> = {},
): RecordedWriterDeps {
  const letters: DeadLetter[] = [];
  const logLines: string[] = [];
  return {
    ...{ clock: systemClock, fs: nodeFileSystem, random: () => 0.5, startCursor: 0 },
    isOwner: () => true,
    headSeq: () => 0,
    ...{ table: book.table, letters, logLines },
    record: (seq) => book.records[seq - 1]!,
    log: (level, message, fields) => void logLines.push(JSON.stringify({ level, message, fields })),
    deadLetter: (added) => void letters.push(...added),
    ...changes,
  };
}

/** Dead letters beside the journal directory, as the daemon has them, with plenty of room. */
export function deadLettersBeside(journalDir: string): DeadLetterSettings {
  const dir = path.join(path.dirname(journalDir), 'dead-letter');
  return { dir, maxNodeBytes: 1024 * 1024, maxTotalBytes: 16 * 1024 * 1024 };
}
