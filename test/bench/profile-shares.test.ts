import { expect, it } from 'vitest';
import { GARBAGE, RUNTIME, stageShares } from '../../bench/profile-shares.ts';

const STAGES = [
  { name: 'codec', files: /\/codec\// },
  { name: 'journal', files: /\/journal\// },
];

/** Functions as [name, file, children]; ids are places in the list + 1. */
function profileOf(
  functions: readonly (readonly [string, string, number[]])[],
  samples: readonly (readonly [id: number, microseconds: number])[],
) {
  const nodes = functions.map(([functionName, url, children], index) => ({
    id: index + 1,
    callFrame: { functionName, url, scriptId: '0', lineNumber: 0, columnNumber: 0 },
    children,
  }));
  return {
    nodes,
    startTime: 0,
    endTime: 0,
    samples: samples.map(([id]) => id),
    timeDeltas: samples.map(([, time]) => time),
  };
}

it('counts time for the nearest stage up the stack and leaves idle time out', () => {
  const profile = profileOf(
    [
      ['(root)', '', [2, 5, 6, 7]],
      ['decode', 'file:///src/codec/decode.js', [3, 4]],
      ['subarray', 'node:buffer', []],
      ['append', 'file:///src/journal/journal.js', []],
      ['(idle)', '', []],
      ['(garbage collector)', '', []],
      ['listOnTimeout', 'node:timers', []],
    ],
    [
      [2, 10],
      [3, 30],
      [4, 40],
      [5, 1000],
      [6, 15],
      [7, 5],
    ],
  );
  expect(Object.fromEntries(stageShares(profile, STAGES))).toEqual({
    codec: 0.4,
    journal: 0.4,
    [GARBAGE]: 0.15,
    [RUNTIME]: 0.05,
  });
});
