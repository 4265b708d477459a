import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Disks } from '../../../trials/torture/disks.ts';

function mount(): Disks | { readonly why: string } {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'torture-disks-'));
  onTestFinished(() => fs.rmSync(dir, { recursive: true, force: true }));
  const disks = Disks.mount(dir);
  if (disks instanceof Disks) onTestFinished(() => disks.unmount());
  return disks;
}

test('a disk that fills up while it is filled is full, and is emptied again', (context) => {
  const disks = mount();
  if (!(disks instanceof Disks)) return context.skip(disks.why);
  const { journal } = disks;
  const freeBytes = disks.freeBytes(journal);
  // More than there is: as much as is missing when others were faster.
  disks.fill(journal, -1_000_000);
  expect(disks.freeBytes(journal)).toBe(0);
  disks.empty(journal);
  expect(disks.freeBytes(journal)).toBe(freeBytes);
});

test('a power cut waits for a stranger who looks at the disk', async (context) => {
  const disks = mount();
  if (!(disks instanceof Disks)) return context.skip(disks.why);
  const { dir } = disks.journal;
  disks.keepWhatIsSynced();
  fs.writeFileSync(path.join(dir, 'unsynced'), 'gone with the power');
  const stranger = spawn('sh', ['-c', 'echo here; read line'], { cwd: dir });
  await once(stranger.stdout, 'data');
  const cut = disks.loseTheRest();
  expect(fs.existsSync(path.join(dir, 'unsynced'))).toBe(true);
  stranger.stdin.end();
  await cut;
  expect(fs.existsSync(path.join(dir, 'unsynced'))).toBe(false);
});
