import { expect, test } from 'vitest';
import { Lifecycle } from '../../src/lib/lifecycle.ts';

test('what was opened last is closed first, each after the one before has closed', async () => {
  const closed: string[] = [];
  const lifecycle = new Lifecycle(() => 0);
  lifecycle.defer('first', () => void closed.push('first'));
  lifecycle.defer('second', async () => {
    await new Promise((resolve) => setImmediate(resolve));
    closed.push('second');
  });
  await lifecycle.close();
  expect(closed).toEqual(['second', 'first']);
});

test('a step that fails is reported and does not stop the others', async () => {
  const lifecycle = new Lifecycle(() => 0);
  const closed: string[] = [];
  lifecycle.defer('good', () => void closed.push('good'));
  lifecycle.defer('bad', () => {
    throw new Error('stuck');
  });
  const steps = await lifecycle.close();
  expect(closed).toEqual(['good']);
  expect(steps.map(({ name, error }) => [name, (error as Error | undefined)?.message])).toEqual([
    ['bad', 'stuck'],
    ['good', undefined],
  ]);
});

test('closing twice closes once and says how long each step took', async () => {
  let nowMs = 0;
  let closings = 0;
  const lifecycle = new Lifecycle(() => nowMs);
  lifecycle.defer('slow', () => {
    nowMs += 1500;
    closings += 1;
  });
  const [first, second] = await Promise.all([lifecycle.close(), lifecycle.close()]);
  expect(closings).toBe(1);
  expect(first).toBe(second);
  expect(first).toMatchObject([{ name: 'slow', seconds: 1.5 }]);
});
