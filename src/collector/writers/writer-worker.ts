/**
 * A writer's worker thread: opens the journal for reading and the writer, and runs the loop between
 * them until it must close. A failure here ends only this thread; the main thread starts
 * another one at the committed cursor.
 */
import { isMainThread, type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { decodeSeriesTable } from '../../codec/series-table.ts';
import { JournalReader } from '../../journal/lmdb/journal-reader.ts';
import { systemClock } from '../../lib/clock.ts';
import { assert, errorMessage, OperatingError } from '../../lib/errors.ts';
import { nodeFileSystem } from '../../lib/filesystem.ts';
import { repeat } from '../../lib/repeat.ts';
import { nameThread } from '../../lib/thread-name.ts';
import { DeadLetterFiles } from './dead-letters.ts';
import { ProgressReporter } from './progress-reporter.ts';
import { RecordFeed } from './record-feed.ts';
import { createTableLookup } from './table-cache.ts';
import type { Writer, WriterDeps, WriterLog, WriterRecord, WriterTask } from './writer.ts';
import { WriterLoop } from './writer-loop.ts';
import type { FromWorker, ToWorker, WorkerSetup } from './writer-messages.ts';

const STATUS_INTERVAL_MS = 1000;

async function runWorker(port: MessagePort, setup: WorkerSetup): Promise<void> {
  const { task, journalDir, startCursor, incarnation } = setup;
  nameThread(`writer-${task.name}`);
  const post = (message: FromWorker) => port.postMessage(message);
  const log: WriterLog = (level, message, fields = {}) =>
    post({ type: 'log', level, message, fields });
  const stopping = new AbortController();
  const journal = JournalReader.open(journalDir);
  const { dir, ...bounds } = setup.deadLetters;
  const deadLetters = new DeadLetterFiles(
    { fs: nodeFileSystem, clock: systemClock, log },
    { dir, writer: task.name, bounds },
  );
  const deps: WriterDeps = {
    ...{ clock: systemClock, log, fs: nodeFileSystem, random: Math.random, startCursor },
    table: createTableLookup((id) => journal.table(id), decodeSeriesTable),
    record: (seq) => recordAt(journal, seq),
    deadLetter: (letters) => deadLetters.append(letters),
    isOwner: () => journal.lease() === incarnation,
    headSeq: () => journal.headSeq(),
    signal: stopping.signal,
  };
  const writer = await openWriter(task, deps);
  const feed = new RecordFeed({ ...deps, source: journal }, startCursor);
  const reporter = new ProgressReporter((progress) => post({ type: 'progress', progress }));
  const report = reporter.report.bind(reporter);
  const loop = new WriterLoop({ ...deps, feed, writer, report }, { startCursor });
  const postStatus = () =>
    post({ type: 'status', status: { ...loop.status(), deadLetters: deadLetters.counts } });

  port.on('message', (message: ToWorker) => {
    if (message.type === 'head') loop.notifyHead(message.seq);
    else if (message.type === 'committed') reporter.committed();
    else if (message.type === 'drain') void drain(message.targetSeq, message.budgetMs);
    else {
      stopping.abort();
      loop.close();
    }
  });
  async function drain(targetSeq: number, budgetMs: number): Promise<void> {
    await loop.drain(targetSeq, budgetMs);
    await reporter.idle();
    postStatus();
    post({ type: 'drained' });
  }

  const stopStatus = repeat(systemClock, STATUS_INTERVAL_MS, postStatus);
  await loop.run();
  stopStatus();
  await writer.close();
  await journal.close();
  port.close();
}

/** The record was read before: where it cannot be read now, trying again is all there is to do. */
function recordAt(journal: JournalReader, seq: number): WriterRecord {
  const [record] = journal.read(seq - 1, 1, 1).records;
  if (record?.seq === seq) return record;
  throw new OperatingError('RECORD_UNREADABLE', `cannot read record ${seq} of the journal again`);
}

/** Loads only the writer that is asked for: each brings libraries of its own. */
async function openWriter(task: WriterTask, deps: WriterDeps): Promise<Writer> {
  if (task.name === 'influxdb') {
    const { openInfluxWriter } = await import('./influx/influx-writer.ts');
    return openInfluxWriter(task.settings, deps);
  }
  const { openParquetWriter } = await import('./parquet/parquet-writer.ts');
  return openParquetWriter(task.settings, deps);
}

assert(!isMainThread && parentPort !== null, 'the writer worker runs in a thread of its own');
const port = parentPort;
runWorker(port, workerData as WorkerSetup).catch((error: unknown) => {
  port.postMessage({ type: 'fatal', message: errorMessage(error) } satisfies FromWorker);
  // Let the thread fail: the main thread sees its exit code and starts another.
  throw error;
});
