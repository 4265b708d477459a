/**
 * The schema as a table: one entry per key, for error messages, overrides and the documentation.
 */
import { z } from 'zod';
import { configSchema } from './schema.ts';

export type ConfigValueType =
  | 'text'
  | 'whole number'
  | 'number'
  | 'true or false'
  | 'list of texts';

export interface ConfigKey {
  /** As errors and pages spell it: `server.listen_addr`; without a dot at the top level. */
  readonly path: string;
  /** '' at the top level. */
  readonly section: string;
  readonly name: string;
  readonly type: ConfigValueType;
  /** undefined: the key must be given wherever its section is. */
  readonly defaultValue: unknown;
  /** Completes the sentence "must be …". */
  readonly allowed: string;
  readonly description: string;
  /** Never printed. */
  readonly secret: boolean;
  /** A reload takes it up while the daemon runs. */
  readonly live: boolean;
  /** The variable that overrides the key. */
  readonly variable: string;
}

export interface ConfigSection {
  readonly name: string;
  readonly description: string;
  /** Off as a whole where the configuration does not have it. */
  readonly optional: boolean;
}

/** The settings of a program: sections of keys, or keys at the top level. */
export interface ConfigKeys {
  readonly schema: z.ZodType;
  /** Every variable that overrides a key begins like this. */
  readonly overridePrefix: string;
}

export const COLLECTOR_KEYS: ConfigKeys = {
  schema: configSchema,
  overridePrefix: 'TELEMETRY_COLLECTOR_',
};

/** What of a JSON Schema this file relies on. */
interface SchemaNode {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly required?: readonly string[];
  readonly default?: unknown;
  readonly description?: string;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxItems?: number;
  readonly allowed?: string;
  readonly secret?: boolean;
  readonly live?: boolean;
}

/** All keys in the order of the schema, which is the order of the pipeline. */
export function describeConfig({ schema, overridePrefix } = COLLECTOR_KEYS): ConfigKey[] {
  return Object.entries(rootNode(schema).properties ?? {}).flatMap(([name, node]) =>
    node.properties === undefined
      ? [describeKey(overridePrefix, '', name, node)]
      : Object.entries(node.properties).map(([key, child]) =>
          describeKey(overridePrefix, name, key, child),
        ),
  );
}

/** All sections in the order of the schema. */
export function describeSections({ schema } = COLLECTOR_KEYS): ConfigSection[] {
  return Object.entries(rootNode(schema).properties ?? {})
    .filter(([, node]) => node.properties !== undefined)
    .map(([name, node]) => ({
      name,
      description: node.description ?? '',
      optional: node.default === undefined,
    }));
}

function rootNode(schema: z.ZodType): SchemaNode {
  return z.toJSONSchema(schema, { io: 'input' }) as SchemaNode;
}

function describeKey(prefix: string, section: string, name: string, node: SchemaNode): ConfigKey {
  return {
    path: section === '' ? name : `${section}.${name}`,
    section,
    name,
    type: valueType(node),
    defaultValue: node.default,
    allowed: node.allowed ?? allowedValues(name, node),
    description: node.description ?? '',
    secret: node.secret === true,
    live: node.live ?? false,
    variable: prefix + (section === '' ? name : `${section}__${name}`).toUpperCase(),
  };
}

function valueType(node: SchemaNode): ConfigValueType {
  switch (node.type) {
    case 'integer':
      return 'whole number';
    case 'number':
      return 'number';
    case 'boolean':
      return 'true or false';
    case 'array':
      return 'list of texts';
    default:
      return 'text';
  }
}

function allowedValues(name: string, node: SchemaNode): string {
  const bound = (value: number | undefined) =>
    name.endsWith('_bytes') ? withByteUnit(value ?? 0) : String(value);
  switch (valueType(node)) {
    case 'whole number':
      return `a whole number from ${bound(node.minimum)} to ${bound(node.maximum)}`;
    case 'number':
      return `a number from ${bound(node.minimum)} to ${bound(node.maximum)}`;
    case 'true or false':
      return 'true or false';
    case 'list of texts':
      return `a list of at most ${node.maxItems} texts, none of them empty`;
    default:
      if (node.enum !== undefined) return `one of ${node.enum.join(', ')}`;
      return (node.minLength ?? 0) > 0 ? 'a text, not empty' : 'a text';
  }
}

const BYTE_UNITS = [
  ['TiB', 1024 ** 4],
  ['GiB', 1024 ** 3],
  ['MiB', 1024 ** 2],
  ['KiB', 1024],
] as const;

/** `1048576 (1 MiB)`; small or odd numbers stay as they are. */
export function withByteUnit(bytes: number): string {
  const unit = BYTE_UNITS.find(([, size]) => bytes >= size && bytes % size === 0);
  return unit === undefined ? String(bytes) : `${bytes} (${bytes / unit[1]} ${unit[0]})`;
}
