/** What an agent was told is durable must be there, whenever the daemon dies. Runs dist/. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { inspectJournal } from '../../src/journal/lmdb/inspect.ts';
import { JournalReader } from '../../src/journal/lmdb/journal-reader.ts';
import { entryOf, expectEvenBooks, openJournal } from '../helpers/journal-bench.ts';
import { seededRandom } from '../helpers/seeded-random.ts';
import { tempDir } from '../helpers/temp-dir.ts';

const APPENDER = path.resolve(import.meta.dirname, '../helpers/journal-appender.mjs');
const KILLS = 10;
const SAMPLES = 50;

/**
 * Lets the appender run, kills it after `acknowledgements`, and returns what it had acknowledged.
 */
async function runAndKill(dir: string, first: number, acknowledgements: number): Promise<number[]> {
  const child = spawn(process.execPath, [APPENDER, dir, String(first)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  let lines = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString('latin1');
    lines += chunk.filter((byte) => byte === 10).length;
    if (lines >= acknowledgements) child.kill('SIGKILL');
  });
  const [, signal] = await once(child, 'close');
  expect(signal).toBe('SIGKILL');
  const whole = output.slice(0, output.lastIndexOf('\n'));
  return whole.split('\n').map(Number);
}

describe('journal killed at any moment', () => {
  test(`has everything it acknowledged, over ${KILLS} kills`, async () => {
    const random = seededRandom();
    const dir = tempDir();
    let acknowledged = 0;
    for (let kill = 0; kill < KILLS; kill += 1) {
      const where = `seed ${random.seed}, kill ${kill}`;
      const seen = await runAndKill(dir, acknowledged, 1 + random.below(3000));
      const inspection = await inspectJournal(dir, { checkRecords: true });
      expect(inspection.damaged, where).toEqual([]);
      expect(inspection.openOrUnclean).toBe(true);
      expect(inspection.acceptedSamples).toBe(inspection.headSeq * SAMPLES);

      const journal = await openJournal(dir);
      expect(journal.unclean).toBe(true);
      expectEvenBooks(journal);
      for (const sequence of seen) {
        expect(journal.producer('node-1', 1, sequence), `${where}, ${sequence}`).toBe('durable');
      }
      const reader = JournalReader.open(dir);
      const stored = reader.read(0, Number.MAX_SAFE_INTEGER, 2 ** 40).records;
      await reader.close();
      const removed = journal.headSeq - stored.length;
      expect(stored.map(({ seq }) => seq)).toEqual(stored.map((_, at) => removed + 1 + at));
      const sequences = new Set(stored.map(({ sequence }) => sequence));
      expect(sequences.size, where).toBe(stored.length);
      // The log and the filter agree: a sequence is durable if and only if its record was stored.
      const highest = Math.max(...sequences);
      let durable = 0;
      for (let sequence = 1; sequence <= highest + 100; sequence += 1) {
        if (journal.producer('node-1', 1, sequence) === 'durable') durable += 1;
      }
      expect(durable, where).toBe(journal.headSeq);
      // What was under way and is lost would be resent by an agent; here, so as to leave no holes.
      for (let sequence = 1; sequence <= highest; sequence += 1) {
        if (journal.producer('node-1', 1, sequence) !== 'new') continue;
        await journal.append(entryOf(sequence, { size: SAMPLES }));
      }
      acknowledged = highest;
      await journal.close();
    }
    expect((await inspectJournal(dir)).openOrUnclean).toBe(false);
  });
});
