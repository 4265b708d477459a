import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Disks } from '../../../trials/torture/disks.ts';

test('a disk that fills up while it is filled is full, and is emptied again', (context) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'torture-disks-'));
  onTestFinished(() => fs.rmSync(dir, { recursive: true, force: true }));
  const disks = Disks.mount(dir);
  if (!(disks instanceof Disks)) return context.skip(disks.why);
  onTestFinished(() => disks.unmount());
  const { journal } = disks;
  const freeBytes = disks.freeBytes(journal);
  // More than there is: as much as is missing when others were faster.
  disks.fill(journal, -1_000_000);
  expect(disks.freeBytes(journal)).toBe(0);
  disks.empty(journal);
  expect(disks.freeBytes(journal)).toBe(freeBytes);
});
