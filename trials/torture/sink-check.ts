/**
 * The InfluxDB side compared with what was promised: every sample is there with its value, or it is
 * a dead letter because the server refused its line.
 */
import fs from 'node:fs';
import path from 'node:path';
import { goodSamples, type Obligations } from './obligations.ts';
import { isStray, SERIES } from './samples.ts';
import { SinkStore } from './sink-store.ts';

export interface SinkFindings {
  readonly samples: number;
  readonly lostSamples: number;
  readonly firstLost: { readonly node: number; readonly round: number } | undefined;
  /** Values, times or names that nobody sent. */
  readonly unknown: number;
  readonly firstUnknown: string | undefined;
  /** Samples that only the dead letters hold. */
  readonly onlyDeadLetters: number;
  /** Samples that the dead letters hold, each counted once. */
  readonly deadLetterSamples: number;
  /** Of those, samples whose lines the server would have taken: given up with others. */
  readonly innocentDeadLetters: number;
  /** Lines that a crash cut short. */
  readonly tornLetters: number;
}

export function checkSink(
  store: SinkStore,
  refused: SinkStore,
  deadLetterDir: string,
  baseMs: number,
  obligations: Obligations,
): SinkFindings {
  const letters = readDeadLetters(deadLetterDir, baseMs);
  let [lostSamples, onlyDeadLetters, innocentDeadLetters, strangers] = [0, 0, 0, 0];
  let firstLost: SinkFindings['firstLost'];
  for (const batch of obligations.batches.values()) {
    const { node, round, ackedMs, form, excused } = batch;
    let kept = 0;
    for (let series = 0; series < SERIES; series += 1) {
      const isThere = store.has(node, round, series);
      const isLetter = !isThere && letters.store.has(node, round, series);
      if (isThere || isLetter) kept += 1;
      if (isThere && form.stray && isStray(series)) strangers += 1;
      if (!isLetter) continue;
      onlyDeadLetters += 1;
      if (!refused.has(node, round, series)) innocentDeadLetters += 1;
    }
    if (ackedMs === undefined || excused.points || kept >= goodSamples(batch)) continue;
    lostSamples += goodSamples(batch) - kept;
    firstLost ??= { node, round };
  }
  for (const [key, values] of store.points) {
    if (!obligations.batches.has(key)) strangers += values.length;
  }
  return {
    samples: store.samples,
    lostSamples,
    firstLost,
    unknown: store.flawCount + letters.store.flawCount + strangers,
    firstUnknown: store.flaws[0] ?? letters.store.flaws[0],
    onlyDeadLetters,
    innocentDeadLetters,
    deadLetterSamples: letters.store.samples,
    tornLetters: letters.torn,
  };
}

/** Every sample that was promised, for reports. */
export function promisedSamples(obligations: Obligations): number {
  let total = 0;
  for (const batch of obligations.batches.values()) {
    if (batch.ackedMs !== undefined) total += goodSamples(batch);
  }
  return total;
}

function readDeadLetters(dir: string, baseMs: number): { store: SinkStore; torn: number } {
  const store = new SinkStore(baseMs);
  let torn = 0;
  const names = fs.existsSync(dir) ? fs.readdirSync(dir) : [];
  for (const name of names.filter((one) => one.endsWith('.jsonl'))) {
    for (const text of fs.readFileSync(path.join(dir, name), 'utf8').split('\n')) {
      if (text === '') continue;
      const letter = parseLetter(text);
      if (letter === undefined) torn += 1;
      else store.addLine(letter);
    }
  }
  return { store, torn };
}

function parseLetter(text: string): string | undefined {
  try {
    return (JSON.parse(text) as { line: string }).line;
  } catch {
    return undefined;
  }
}
