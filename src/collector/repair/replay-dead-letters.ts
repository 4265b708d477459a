/**
 * Sends the lines of dead-letter files to InfluxDB again. What is taken goes, what is refused again
 * stays, with the newer reason; a point that is written twice is the same point.
 *
 *     influxdb-2026-01-31.jsonl ──► ….jsonl.replaying ──► sent ──► removed
 *                                                          └─ refused, unsent, no line at all
 *                                                             └─► influxdb-2026-01-31.kept-1.jsonl
 *
 * The daemon may be running. It opens its files by name for each letter, and writes a letter again
 * whose file was renamed meanwhile (writers/dead-letters.ts). So what is added to a renamed file
 * after it was read may be thrown away. A crash leaves the renamed file behind, and the next replay
 * begins with it.
 */
import path from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import type { FileSystem } from '../../lib/filesystem.ts';
import {
  listDeadLetterFiles,
  readDeadLetters,
  type StoredLetter,
} from '../writers/dead-letters.ts';
import type { InfluxClient } from '../writers/influx/influx-client.ts';
import { LineChunk } from '../writers/influx/line-chunk.ts';
import { sendLines } from '../writers/influx/send-lines.ts';

const SUFFIX = '.replaying';

export interface ReplayDeps {
  readonly fs: FileSystem;
  readonly clock: Clock;
  readonly client: InfluxClient;
  /** Called after each file. */
  readonly onFile: (file: string) => void;
}

export interface ReplayResult {
  files: number;
  /** Lines that the server took. */
  sent: number;
  /** Lines that it refused again. */
  refused: number;
  /** Letters without a line: damaged records, values that no line can say. */
  unsendable: number;
  /** Why it was given up; '' where all was tried. */
  failure: string;
}

/** Replays every file of the InfluxDB writer in `dir`. Throws what the file system says. */
export async function replayDeadLetters(
  deps: ReplayDeps,
  dir: string,
  maxBatchBytes: number,
): Promise<ReplayResult> {
  const result = { files: 0, sent: 0, refused: 0, unsendable: 0, failure: '' };
  for (const file of replayableFiles(deps.fs, dir)) {
    if (result.failure !== '') break;
    await replayFile(deps, file, maxBatchBytes, result);
    result.files += 1;
    deps.onFile(file);
  }
  return result;
}

/**
 * The files of `dir` that a replay would go through. Those that are aside come first: a file of the
 * same day would take their name.
 */
export function replayableFiles(fs: FileSystem, dir: string): string[] {
  const files = listDeadLetterFiles(fs, dir).filter((file) =>
    path.basename(file).startsWith('influxdb-'),
  );
  const isAside = (file: string) => file.endsWith(SUFFIX);
  return [...files.filter(isAside), ...files.filter((file) => !isAside(file))];
}

async function replayFile(
  deps: ReplayDeps,
  file: string,
  maxBatchBytes: number,
  result: ReplayResult,
): Promise<void> {
  const { fs } = deps;
  const dir = path.dirname(file);
  const aside = file.endsWith(SUFFIX) ? file : file + SUFFIX;
  if (aside !== file) fs.rename(file, aside);
  fs.syncDirectory(dir);
  const { letters, torn } = readDeadLetters(fs, aside);
  const kept = [...(await replayLetters(deps, letters, maxBatchBytes, result)), ...torn];
  if (kept.length > 0) keep(fs, file, kept);
  fs.remove(aside);
  fs.syncDirectory(dir);
}

/** Sends the lines of `letters`; returns those that are to stay. */
async function replayLetters(
  { client, clock }: ReplayDeps,
  letters: readonly StoredLetter[],
  maxBatchBytes: number,
  result: ReplayResult,
): Promise<StoredLetter[]> {
  const kept = letters.filter(({ line }) => line === '');
  result.unsendable += kept.length;
  const rest = letters.filter(({ line }) => line !== '');
  for (let from = 0; from < rest.length; ) {
    const { chunk, letters: batch } = nextChunk(rest, from, maxBatchBytes);
    from += batch.length;
    if (result.failure !== '') {
      kept.push(...batch);
      continue;
    }
    const { refused, failure } = await sendLines(client, chunk, clock);
    result.failure = failure;
    const time = new Date(clock.nowMs()).toISOString();
    const again = refused.map(({ owner, line, samples, status, reason }) => {
      return { ...owner, line, samples, time, status, reason };
    });
    const stay = new Set(refused.map(({ owner }) => owner)).size;
    result.refused += stay;
    if (failure === '') result.sent += batch.length - stay;
    kept.push(...(failure === '' ? again : batch));
  }
  return kept;
}

/** At least one letter, and then as many as fit. */
function nextChunk(letters: readonly StoredLetter[], from: number, maxBytes: number) {
  const chunk = new LineChunk<StoredLetter>();
  let to = from;
  for (; to < letters.length; to++) {
    const bytes = Buffer.from(`${letters[to]!.line}\n`);
    if (to > from && chunk.length + bytes.length > maxBytes) break;
    chunk.addLine(bytes, letters[to]!.samples, letters[to]!);
  }
  return { chunk, letters: letters.slice(from, to) };
}

/** Writes what stays into a file of its own, which the daemon never appends to. */
function keep(fs: FileSystem, file: string, kept: readonly (StoredLetter | string)[]): void {
  const base = file.replace(/(\.kept-\d+)?\.jsonl(\.replaying)?$/, '');
  let target = '';
  for (let copy = 1; target === '' || fs.exists(target) || fs.exists(target + SUFFIX); copy++) {
    target = `${base}.kept-${copy}.jsonl`;
  }
  const temporary = `${target}.tmp`;
  const lines = kept.map((one) => (typeof one === 'string' ? one : JSON.stringify(one)));
  const output = fs.openForWriting(temporary);
  try {
    output.write(Buffer.from(`${lines.join('\n')}\n`));
    output.sync();
  } finally {
    output.close();
  }
  fs.rename(temporary, target);
  fs.syncDirectory(path.dirname(file));
}
