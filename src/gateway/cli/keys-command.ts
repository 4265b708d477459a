/**
 * `telemetry-gateway keys`: makes, lists and revokes API keys. A running gateway notices by itself.
 */
import { OperatingError } from '../../lib/errors.ts';
import { mintKey } from '../access/api-key.ts';
import { type ApiKey, changeKeysFile, readKeysFile } from '../access/keys-file.ts';
import { ROLES, type Role } from '../access/roles.ts';

const DAY_MS = 86_400_000;

/** What a new key may do. */
export interface NewKey {
  readonly name: string;
  readonly role: string;
  /** [] = all. */
  readonly namespace: readonly string[];
  readonly node: readonly string[];
  readonly days?: number | undefined;
  readonly requestsPerMinute?: number | undefined;
}

/** Makes a key and returns its text, which is never to be seen again. Throws OperatingError. */
export async function createKey(file: string, wanted: NewKey, nowMs: number): Promise<string> {
  const { name, namespace, node, days, requestsPerMinute } = wanted;
  const { id, text, hash } = mintKey();
  const key: ApiKey = {
    id,
    name,
    role: roleOf(wanted.role),
    hash,
    created_at: new Date(nowMs).toISOString(),
    ...(days === undefined ? {} : { expires_at: new Date(nowMs + days * DAY_MS).toISOString() }),
    ...(namespace.length === 0 ? {} : { namespaces: [...namespace] }),
    ...(node.length === 0 ? {} : { nodes: [...node] }),
    ...(requestsPerMinute === undefined ? {} : { requests_per_minute: requestsPerMinute }),
  };
  await changeKeysFile(file, (keys) => [...keys, key]);
  return text;
}

/** One line for each key, under a heading. Throws OperatingError KEYS_FILE. */
export function listKeys(file: string): string {
  const rows = readKeysFile(file).map((key) => [
    key.id,
    key.name,
    key.role,
    scopeText(key),
    key.created_at.slice(0, 10),
    key.expires_at?.slice(0, 10) ?? 'never',
  ]);
  const table = [['ID', 'NAME', 'ROLE', 'SEES', 'CREATED', 'EXPIRES'], ...rows];
  const widths = table[0]!.map((_, column) =>
    Math.max(...table.map((row) => (row[column] ?? '').length)),
  );
  const lines = table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

/** Revokes the key with this id. Throws OperatingError KEY_UNKNOWN where there is none. */
export async function revokeKey(file: string, id: string): Promise<void> {
  let isKnown = false;
  await changeKeysFile(file, (keys) => {
    const rest = keys.filter((key) => key.id !== id);
    isKnown = rest.length < keys.length;
    return rest;
  });
  if (!isKnown)
    throw new OperatingError('KEY_UNKNOWN', `cannot revoke ${id}: there is no such key`);
}

function roleOf(text: string): Role {
  const role = ROLES.find((one) => one === text);
  if (role !== undefined) return role;
  const allowed = ROLES.join(', ');
  throw new OperatingError('KEY_ROLE', `cannot make a key of the role '${text}': use ${allowed}`);
}

function scopeText({ namespaces, nodes }: ApiKey): string {
  const parts = [
    ...(namespaces === undefined ? [] : [`namespaces ${namespaces.join(', ')}`]),
    ...(nodes === undefined ? [] : [`nodes ${nodes.join(', ')}`]),
  ];
  return parts.length === 0 ? 'all' : parts.join('; ');
}
