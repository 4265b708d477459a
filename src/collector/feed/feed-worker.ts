/**
 * The feed's worker thread: opens the journal for reading and the socket, and serves readers until
 * it is told to close. Whatever goes wrong here ends this thread alone; the main thread starts
 * another one, and readers come back at their positions.
 */
import { isMainThread, type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { JournalReader } from '../../journal/lmdb/journal-reader.ts';
import { systemClock } from '../../lib/clock.ts';
import { assert, errorCode, errorMessage } from '../../lib/errors.ts';
import { repeat } from '../../lib/repeat.ts';
import { nameThread } from '../../lib/thread-name.ts';
import { FeedServer } from './feed-server.ts';
import type { FeedSetup, FromFeed, ToFeed } from './feed-thread-messages.ts';
import { RemoteReaders } from './remote-readers.ts';

const FIGURES_INTERVAL_MS = 1000;

async function runFeed(port: MessagePort, setup: FeedSetup): Promise<void> {
  nameThread('feed');
  const post = (message: FromFeed) => port.postMessage(message);
  const journal = JournalReader.open(setup.journalDir);
  const server = new FeedServer(
    {
      clock: systemClock,
      journal,
      log: (level, message, fields) => post({ type: 'log', level, message, fields }),
    },
    setup,
  );
  const postFigures = () => post({ type: 'figures', figures: server.figures() });
  server.onReaders(postFigures);
  await server.listen();
  const remote = openRemote(server, setup, post);
  const remotePort = await remote?.listen();
  const stopFigures = repeat(systemClock, FIGURES_INTERVAL_MS, postFigures);
  port.on('message', (message: ToFeed) => {
    if (message.type === 'head') server.headMoved(message.seq);
    else if (message.type === 'published') server.published(message.message);
    else if (message.type === 'status') server.status(message.message);
    else if (message.type === 'credentials') remote?.renewCredentials(message.credentials);
    else if (message.type === 'verdict') remote?.verdict(message.id, message.verdict);
    else void close();
  });
  post({ type: 'listening', remotePort });

  async function close(): Promise<void> {
    stopFigures();
    remote?.close();
    server.close();
    await journal.close();
    // The thread ends once the last socket is closed.
    port.close();
  }
}

function openRemote(
  server: FeedServer,
  { remote, maxReaders }: FeedSetup,
  post: (message: FromFeed) => void,
): RemoteReaders | undefined {
  if (remote === undefined) return undefined;
  return new RemoteReaders(
    {
      clock: systemClock,
      accept: (socket) => server.accept(socket),
      judge: (id, chain) => post({ type: 'judge', id, chain }),
      onDenied: (message) => server.refused('denied', message),
    },
    remote,
    maxReaders,
  );
}

assert(!isMainThread && parentPort !== null, 'the feed runs in a thread of its own');
const port = parentPort;
runFeed(port, workerData as FeedSetup).catch((error: unknown) => {
  const fault = { code: errorCode(error), message: errorMessage(error) };
  port.postMessage({ type: 'fatal', ...fault } satisfies FromFeed);
  // Let the thread fail: the main thread sees its exit code and starts another.
  throw error;
});
