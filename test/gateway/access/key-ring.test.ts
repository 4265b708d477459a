import path from 'node:path';
import { expect, it } from 'vitest';
import { mintKey } from '../../../src/gateway/access/api-key.ts';
import { KeyRing } from '../../../src/gateway/access/key-ring.ts';
import { type ApiKey, changeKeysFile } from '../../../src/gateway/access/keys-file.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';
import { createRecordingLogger } from '../../helpers/recording-logger.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

it('logs a line for each change of a key, and no secret', async () => {
  const file = path.join(tempDir(), 'keys.json');
  const { id, hash, text } = mintKey();
  const key: ApiKey = {
    id,
    hash,
    name: 'grafana',
    role: 'reader',
    created_at: '2026-01-01T00:00:00Z',
  };
  const other = { ...key, ...pick(mintKey()), name: 'was there before' };
  await changeKeysFile(file, () => [other]);
  const { logger, lines } = createRecordingLogger();
  const options = { file, requestsPerMinute: 0, requestsAtOnce: 1 };
  const ring = new KeyRing(options, new FakeClock(Date.parse('2026-06-01T00:00:00Z')), logger);
  expect(lines).toEqual([]);
  await changeKeysFile(file, (keys) => [...keys, key]);
  ring.reload();
  await changeKeysFile(file, () => [other, { ...key, role: 'admin' }]);
  ring.reload();
  await changeKeysFile(file, () => [other]);
  ring.reload();
  expect(
    lines.map(({ msg, audit, key: of, role, why }) => ({ msg, audit, of, role, why })),
  ).toEqual([
    { msg: 'key works now', audit: 'keys', of: id, role: 'reader' },
    { msg: 'key ended', audit: 'keys', of: id, why: 'changed' },
    { msg: 'key works now', audit: 'keys', of: id, role: 'admin' },
    { msg: 'key ended', audit: 'keys', of: id, why: 'revoked' },
  ]);
  expect(JSON.stringify(lines)).not.toContain(text.slice(-43));
  expect(JSON.stringify(lines)).not.toContain(hash);
  ring.close();
});

function pick({ id, hash }: { id: string; hash: string }) {
  return { id, hash };
}
