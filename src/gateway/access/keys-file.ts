/**
 * The file of API keys (`gateway.keys_file`): JSON, readable by its owner alone, replaced as a
 * whole so that a reader never sees half of it. Several gateways may share one.
 *
 *     {"version": 1, "keys": [{"id", "name", "role", "hash", "created_at", …}]}
 */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { lockDirectory } from '../../lib/directory-lock.ts';
import { errorCode, errorMessage, OperatingError } from '../../lib/errors.ts';
import { ROLES } from './roles.ts';

/** Far over any fleet's number of keys; it bounds what a file given by mistake can cost. */
const KEYS_MAX = 10_000;
const FILE_BYTES_MAX = 16 * 1024 * 1024;
const SCOPE_VALUES_MAX = 1000;

const names = z.array(z.string().min(1).max(253)).min(1).max(SCOPE_VALUES_MAX);

const apiKeySchema = z.strictObject({
  /** Twelve hexadecimal digits, the public part of the key. */
  id: z.string().regex(/^[0-9a-f]{12}$/),
  /** Who uses it, for people. */
  name: z.string().min(1).max(100),
  role: z.enum(ROLES),
  /** SHA-256 of the secret part. */
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  created_at: z.iso.datetime(),
  /** The key stops working then; without it, never. */
  expires_at: z.iso.datetime().optional(),
  /** The key sees these namespaces only; without it, all. */
  namespaces: names.optional(),
  /** The key sees these nodes only; without it, all. */
  nodes: names.optional(),
  /** Wins over `gateway.rate_limit`; 0 = no limit. */
  requests_per_minute: z.int().min(0).max(10_000_000).optional(),
});

const fileSchema = z.strictObject({
  version: z.literal(1),
  keys: z
    .array(apiKeySchema)
    .max(KEYS_MAX)
    .refine((keys) => new Set(keys.map(({ id }) => id)).size === keys.length, {
      message: 'two keys have the same id',
    }),
});

/** One key as the file holds it. */
export type ApiKey = Readonly<z.infer<typeof apiKeySchema>>;

/**
 * All keys of the file; [] where there is no file yet. Throws OperatingError KEYS_FILE that names
 * the file and the field.
 */
export function readKeysFile(file: string): ApiKey[] {
  const text = readText(file);
  if (text === undefined) return [];
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw unusable(file, `it is not JSON: ${errorMessage(error)}`);
  }
  const result = fileSchema.safeParse(value);
  if (result.success) return result.data.keys;
  const [issue] = result.error.issues;
  throw unusable(file, `${issue?.path.join('.') ?? ''} ${issue?.message ?? 'is not valid'}`.trim());
}

/**
 * Replaces the keys by what `change` makes of them; durable when it returns. Changes from this
 * machine wait for each other. Throws OperatingError KEYS_FILE, KEYS_LOCKED or
 * KEYS_LOCK_FAILED.
 */
export async function changeKeysFile(
  file: string,
  change: (keys: readonly ApiKey[]) => readonly ApiKey[],
): Promise<void> {
  const dir = path.dirname(path.resolve(file));
  fs.mkdirSync(dir, { recursive: true, mode: 0o750 });
  const lock = await lockDirectory(dir, 'keys');
  try {
    const keys = change(readKeysFile(file));
    if (keys.length > KEYS_MAX) throw unusable(file, `it would have more than ${KEYS_MAX} keys`);
    replaceFile(file, `${JSON.stringify({ version: 1, keys }, null, 2)}\n`);
  } finally {
    await lock.release();
  }
}

function readText(file: string): string | undefined {
  try {
    const { size } = fs.statSync(file);
    if (size > FILE_BYTES_MAX) throw unusable(file, `it has more than ${FILE_BYTES_MAX} bytes`);
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    if (error instanceof OperatingError) throw error;
    throw unusable(file, errorMessage(error), error);
  }
}

function replaceFile(file: string, text: string): void {
  const fresh = `${file}.${randomBytes(6).toString('hex')}.new`;
  try {
    const fd = fs.openSync(fresh, 'wx', 0o600);
    try {
      fs.writeFileSync(fd, text);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    keepOwner(file, fresh);
    fs.renameSync(fresh, file);
    syncDirectory(path.dirname(path.resolve(file)));
  } catch (error) {
    fs.rmSync(fresh, { force: true });
    throw unusable(file, errorMessage(error), error);
  }
}

/** A key made by root must stay readable for the service, which owns the file. */
function keepOwner(file: string, fresh: string): void {
  const owner = fs.statSync(file, { throwIfNoEntry: false });
  const { uid } = fs.statSync(fresh);
  if (owner === undefined || owner.uid === uid) return;
  fs.chownSync(fresh, owner.uid, owner.gid);
  fs.chmodSync(fresh, owner.mode & 0o660);
}

function syncDirectory(dir: string): void {
  const fd = fs.openSync(dir, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function unusable(file: string, why: string, cause?: unknown): OperatingError {
  return new OperatingError('KEYS_FILE', `cannot use keys file ${file}: ${why}`, { cause });
}
