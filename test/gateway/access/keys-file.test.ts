import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { isSecretOf, mintKey, parseKey } from '../../../src/gateway/access/api-key.ts';
import {
  type ApiKey,
  changeKeysFile,
  readKeysFile,
} from '../../../src/gateway/access/keys-file.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

function newKey(rights: Partial<ApiKey> = {}): ApiKey {
  const { id, hash } = mintKey();
  const created_at = '2026-11-24T12:00:00Z';
  return { id, hash, name: 'grafana', role: 'reader', created_at, ...rights };
}

describe('an API key', () => {
  it('is read back from its text, and only its own secret fits', () => {
    const key = mintKey();
    const parts = parseKey(key.text);
    expect(parts?.id).toBe(key.id);
    expect(isSecretOf(parts?.secret ?? '', key.hash)).toBe(true);
    expect(isSecretOf(parseKey(mintKey().text)?.secret ?? '', key.hash)).toBe(false);
    expect(key.hash).not.toContain(parts?.secret);
  });

  it.each(['', 'tk_', 'tk_1_2', `${mintKey().text}x`, mintKey().text.toUpperCase()])(
    'is not %j',
    (text) => expect(parseKey(text)).toBeUndefined(),
  );
});

describe('the keys file', () => {
  it('holds what was put into it, for its owner alone', async () => {
    const file = path.join(tempDir(), 'new', 'keys.json');
    const key = newKey({ namespaces: ['team-a'], requests_per_minute: 10 });
    expect(readKeysFile(file)).toEqual([]);
    await changeKeysFile(file, (keys) => [...keys, key]);
    expect(readKeysFile(file)).toEqual([key]);
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
    await changeKeysFile(file, () => []);
    expect(readKeysFile(file)).toEqual([]);
    expect(fs.readdirSync(path.dirname(file))).toEqual(['keys.json']);
  });

  it('loses no change of several at once', async () => {
    const file = path.join(tempDir(), 'keys.json');
    const add = async () => {
      for (;;) {
        try {
          return await changeKeysFile(file, (keys) => [...keys, newKey()]);
        } catch (error) {
          if ((error as { code?: string }).code !== 'KEYS_LOCKED') throw error;
        }
      }
    };
    await Promise.all(Array.from({ length: 5 }, add));
    expect(readKeysFile(file)).toHaveLength(5);
  });

  it.each([
    ['{', /cannot use keys file .*: it is not JSON/],
    ['{"version": 2, "keys": []}', /version/],
    ['{"version": 1, "keys": [{"id": "short"}]}', /keys\.0\.id/],
    [JSON.stringify({ version: 1, keys: [newKey({ namespaces: [] })] }), /keys\.0\.namespaces/],
    [
      JSON.stringify({
        version: 1,
        keys: [newKey({ id: 'a'.repeat(12) }), newKey({ id: 'a'.repeat(12) })],
      }),
      /two keys have the same id/,
    ],
  ])('names what is wrong with %s', (text, why) => {
    const file = path.join(tempDir(), 'keys.json');
    fs.writeFileSync(file, text);
    expect(() => readKeysFile(file)).toThrow(why);
  });

  it('that cannot be used is not replaced', async () => {
    const file = path.join(tempDir(), 'keys.json');
    fs.writeFileSync(file, 'precious');
    await expect(changeKeysFile(file, () => [])).rejects.toMatchObject({ code: 'KEYS_FILE' });
    expect(fs.readFileSync(file, 'utf8')).toBe('precious');
  });
});
