import { expect, test } from 'vitest';
import { coalesce } from '../../src/observability/coalesce.ts';

test('whoever asks during a run shares the next one', async () => {
  const finish: (() => void)[] = [];
  let runs = 0;
  const ask = coalesce(async () => {
    runs += 1;
    const run = runs;
    await new Promise<void>((resolve) => finish.push(resolve));
    return run;
  });
  const first = ask();
  const [second, third] = [ask(), ask()];
  expect(runs).toBe(1);
  finish.shift()?.();
  expect(await first).toBe(1);
  await expect.poll(() => finish.length).toBe(1);
  finish.shift()?.();
  expect(await Promise.all([second, third])).toEqual([2, 2]);
  const fourth = ask();
  finish.shift()?.();
  expect(await fourth).toBe(3);
});

test('a run that fails is the failure of those who share it, and no more', async () => {
  let isBroken = true;
  const ask = coalesce(async () => {
    if (isBroken) throw new Error('broken');
    return 'whole';
  });
  const [first, second] = [ask(), ask()];
  await expect(first).rejects.toThrow('broken');
  await expect(second).rejects.toThrow('broken');
  isBroken = false;
  expect(await ask()).toBe('whole');
});
