import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { checkDirectories } from '../../../src/collector/cli/checks/check-directories.ts';
import { configSchema } from '../../../src/config/schema.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

/** What the check says of the feed's socket in `dir`. */
function socketChecks(dir: string) {
  const config = configSchema.parse({
    journal: { min_free_bytes: 0 },
    parquet: { output_dir: path.join(dir, 'warehouse') },
    feed: { enabled: true, socket_path: path.join(dir, 'feed.sock') },
  });
  return checkDirectories(config).filter(({ key }) => key === 'feed.socket_path');
}

test("the feed's socket may be missing or left over, but must not be a file", async () => {
  const dir = tempDir();
  const socketPath = path.join(dir, 'feed.sock');
  expect(socketChecks(dir)).toMatchObject([{ status: 'ok' }]);
  const server = net.createServer();
  await new Promise<void>((resolve) => void server.listen(socketPath, resolve));
  onTestFinished(() => void server.close());
  expect(socketChecks(dir)).toMatchObject([{ status: 'ok' }]);
  fs.rmSync(socketPath);
  fs.writeFileSync(socketPath, '');
  expect(socketChecks(dir)).toMatchObject([
    { status: 'error', message: `${socketPath} is there already and is no socket` },
  ]);
});
