import fs from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { FuzzTarget } from '../../trials/fuzz/fuzz-target.ts';
import { mutate } from '../../trials/fuzz/mutate.ts';
import { inputOf, runCase, runFuzz } from '../../trials/fuzz/run-fuzz.ts';
import { TARGETS } from '../../trials/fuzz/targets.ts';
import { SeededRandom } from '../../src/agent/sources/seeded-random.ts';
import { packageFile } from '../../src/lib/package-root.ts';

/** The short form; `npm run fuzz` is the long one. */
const CASES = 600;
const SEED = 20_260_701;
const CORPUS = packageFile('test/trials/fuzz/corpus');

/** Inputs that once did harm, by target; large ones are compressed. */
function corpusOf(target: string): { name: string; input: Buffer }[] {
  const folder = path.join(CORPUS, target);
  if (!fs.existsSync(folder)) return [];
  return fs.readdirSync(folder).map((name) => {
    const bytes = fs.readFileSync(path.join(folder, name));
    return { name, input: name.endsWith('.gz') ? gunzipSync(bytes) : bytes };
  });
}

describe.each(TARGETS)('$name', ({ name, make }) => {
  test(`minds none of ${CASES} damaged inputs, nor any that ever did harm`, async () => {
    const target = await make();
    try {
      expect(target.name).toBe(name);
      for (const { name: file, input } of corpusOf(name)) {
        expect((await runCase(target, input)).error, file).toBe(undefined);
      }
      const { findings, cases } = await runFuzz(target, { cases: CASES, seed: SEED });
      expect(findings).toEqual([]);
      expect(cases).toBe(CASES);
    } finally {
      await target.close?.();
    }
  });
});

describe('the fuzzer', () => {
  const faulty: FuzzTarget = {
    name: 'faulty',
    what: 'a parser that minds an exclamation mark',
    seeds: [Buffer.from('hello'), Buffer.from('world!')],
    tokens: [],
    run(input) {
      if (input.includes('!')) throw new Error('it does');
    },
  };

  test('finds what a parser minds, and the case that shows it', async () => {
    const { findings } = await runFuzz(faulty, { cases: 500, seed: 1 });
    expect(findings).toHaveLength(10);
    const [first] = findings;
    expect(inputOf(faulty, 1, first!.caseNumber!)).toEqual(first!.input);
  });

  test('finds a rejection, and what goes wrong around a parser', async () => {
    const rejects = { ...faulty, run: async () => Promise.reject(new Error('later')) };
    expect((await runFuzz(rejects, { cases: 20, seed: 1 })).findings).toHaveLength(10);
    const unwell = { ...faulty, run() {}, check: async () => Promise.reject(new Error('unwell')) };
    expect((await runFuzz(unwell, { cases: 20, seed: 1 })).findings).toHaveLength(1);
  });

  test('finds memory that is not given back', async () => {
    const kept: Buffer[] = [];
    const hoards = { ...faulty, run: () => void kept.push(Buffer.alloc(1 << 20)) };
    expect((await runFuzz(hoards, { cases: 100, seed: 1 })).findings).toHaveLength(1);
  });

  test('makes inputs of every kind, none of them longer than it may be', () => {
    const inputs = Array.from({ length: 3000 }, (_, index) =>
      mutate(new SeededRandom(`${index}`), { ...faulty, tokens: [Buffer.from('[[')] }),
    );
    expect(new Set(inputs.map(String)).size).toBeGreaterThan(2500);
    expect(inputs.some((input) => input.length === 0)).toBe(true);
    expect(inputs.some((input) => input.equals(faulty.seeds[0]!))).toBe(true);
    expect(inputs.some((input) => input.includes('[[[[[[[['))).toBe(true);
    expect(Math.max(...inputs.map((input) => input.length))).toBeLessThanOrEqual(64 * 1024);
  });
});
