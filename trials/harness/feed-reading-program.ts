/**
 * A reader of the feed as a program of its own, to be stopped and killed: follows a collector and
 * appends what it gets to a file, a JSON line for each event. It goes on where that file ends.
 * Arguments: the socket, the file.
 */
import fs from 'node:fs';
import { FeedClient, type FeedEvent } from '../../src/feed/feed-client.ts';
import type { FeedStart } from '../../src/feed/feed-contract.ts';
import { commandClock } from '../../src/lib/clock.ts';
import { type FeedLine, readFeedLines } from './feed-lines.ts';

const [socketPath = '', file = ''] = process.argv.slice(2);

/** Behind the last line; a line that a kill cut off never happened. */
function whereItEnded(): FeedStart {
  const { lines, bytes } = readFeedLines(file);
  if (fs.existsSync(file)) fs.truncateSync(file, bytes);
  const last = lines.findLast((line) => line.kind === 'records' || line.kind === 'welcome');
  if (last === undefined) return { at: 'cursor' };
  return { at: 'position', position: new Map([[last.source, last.seq]]) };
}

function lineOf(event: FeedEvent): FeedLine | undefined {
  switch (event.kind) {
    case 'welcome':
      return { kind: 'welcome', source: event.source, seq: event.seq, cursor: event.cursor };
    case 'published':
      return { kind: 'published', cursor: event.cursor };
    case 'disconnected':
      return { kind: 'disconnected', word: event.word };
    case 'records': {
      const { source, seq, records } = event;
      const batches = records.map(({ samples, ...record }) => ({
        ...{ seq: record.seq, nodeId: record.nodeId },
        ...{ epoch: record.epoch, sequence: record.sequence },
        ...{ firstMs: samples.timestampsMs[0]!, samples: samples.values.length },
      }));
      return { kind: 'records', source, seq, batches };
    }
    case 'status':
      return undefined;
  }
}

const reader = 'trial';
const client = new FeedClient(commandClock, { socketPath, reader, start: whereItEnded() });
const descriptor = fs.openSync(file, 'a');
for await (const event of client.events(new AbortController().signal)) {
  const line = lineOf(event);
  if (line !== undefined) fs.writeSync(descriptor, `${JSON.stringify(line)}\n`);
}
