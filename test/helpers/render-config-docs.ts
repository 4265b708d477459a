/**
 * The pages that say what can be configured, made from the schema.
 */
import {
  COLLECTOR_KEYS,
  type ConfigKey,
  type ConfigKeys,
  describeConfig,
  describeSections,
  withByteUnit,
} from '../../src/config/describe-config.ts';

/** What the pages of one program say beside its keys. */
export interface ConfigPages {
  readonly keys: ConfigKeys;
  /** The head of the example. */
  readonly exampleHead: string;
  /** The head of the page. */
  readonly introduction: string;
  /** Keys that stand first in their section. */
  readonly publicKeys: readonly string[];
  /** What the example shows where a key has no default, or a better one. */
  readonly exampleValues: Readonly<Record<string, unknown>>;
}

/** The keys that most installations set stand first in their section. */
const PUBLIC_KEYS = [
  'server.listen_addr',
  'server.max_connections',
  'server.connection_timeout_secs',
  'security.tls_cert_path',
  'security.tls_key_path',
  'security.tls_ca_path',
  'influxdb.url',
  'influxdb.org',
  'influxdb.bucket',
  'influxdb.token',
  'parquet.output_dir',
  'parquet.rotation_interval_secs',
  'parquet.compression',
  'limits.max_cardinality',
  'limits.max_batch_size',
  'limits.backpressure_threshold',
  'observability.metrics_port',
  'observability.log_level',
];

/** What the example shows where a key has no default, or a better one. */
const EXAMPLE_VALUES: Readonly<Record<string, string>> = {
  'influxdb.url': 'http://localhost:8086',
  'influxdb.org': 'horizon',
  'influxdb.bucket': 'telemetry',
  'influxdb.token': `\${INFLUXDB_TOKEN}`,
};

const COLUMNS = 100;

/** An example file: every key at its default, each with its description. */
export function renderExampleYaml(pages: ConfigPages): string {
  const keys = inReadingOrder(pages);
  const top = keys.filter((key) => key.section === '').map((key) => exampleKey(pages, key, ''));
  const blocks = [
    comment(pages.exampleHead, ''),
    ...(top.length === 0 ? [] : [top]),
    ...describeSections(pages.keys).map((section) => [
      comment(section.description, ''),
      `${section.name}:`,
      ...keys
        .filter((key) => key.section === section.name)
        .map((key) => exampleKey(pages, key, '  ')),
    ]),
  ];
  return `${blocks.map((block) => [block].flat().join('\n')).join('\n\n')}\n`;
}

function inReadingOrder({ keys, publicKeys }: ConfigPages): ConfigKey[] {
  const rank = (key: ConfigKey) => {
    const index = publicKeys.indexOf(key.path);
    return index < 0 ? publicKeys.length : index;
  };
  return describeConfig(keys).toSorted((a, b) => rank(a) - rank(b));
}

function exampleKey({ exampleValues }: ConfigPages, key: ConfigKey, indent: string): string {
  const value = exampleValues[key.path] ?? key.defaultValue;
  const unit =
    typeof value === 'number' && key.name.endsWith('_bytes')
      ? / \(.*\)$/.exec(withByteUnit(value))?.[0]
      : undefined;
  const note = key.description + (unit ?? '');
  return `${comment(note, indent)}\n${yamlLine(key.name, value, indent)}`;
}

function yamlLine(name: string, value: unknown, indent: string): string {
  const line = `${indent}${name}: ${JSON.stringify(value)}`;
  if (line.length <= COLUMNS || !Array.isArray(value)) return line;
  const items = value.map((item) => `${indent}  - ${JSON.stringify(item)}`);
  return `${indent}${name}:\n${items.join('\n')}`;
}

function comment(text: string, indent: string): string {
  const lines: string[] = [];
  let line = `${indent}#`;
  for (const word of text.split(' ')) {
    if (line.length + 1 + word.length > COLUMNS) {
      lines.push(line);
      line = `${indent}#`;
    }
    line += ` ${word}`;
  }
  return [...lines, line].join('\n');
}

const INTRODUCTION = `# Configuration

The collector reads one YAML file, given on the command line; without one it runs on the defaults
below. \`config.example.yaml\` has every key at its default. This page is made from
\`src/config/schema.ts\`.

- An unknown key is an error, and so is a value out of its bounds. All mistakes are reported at
  once, each with its line. \`telemetry-collector check-config FILE\` does that without starting
  anything.
- \`\${NAME}\` in a text stands for a variable of the environment, or for the systemd credential of
  that name (\`LoadCredential=\`); it must be set. \`$\${\` is a plain \`\${\`. In braces and brackets
  (\`{ … }\`, \`[ … ]\`) YAML wants such a text in quotes.
- Every key can be overridden by a variable: \`TELEMETRY_COLLECTOR_SECTION__KEY\`, for example
  \`TELEMETRY_COLLECTOR_SERVER__LISTEN_ADDR\`, and \`TELEMETRY_COLLECTOR_COLLECTOR_ID\` for the one
  key outside a section. The value is taken as text where the key is a text, as YAML otherwise. A
  variable of that form that names no key is an error; those that Kubernetes derives from a service
  called \`telemetry-collector\` are left alone.
- File paths are relative to the working directory.
- Secrets are never logged or printed.
- An empty section is the same as none.
- Keys marked ↻ can change while the collector runs: send SIGHUP (\`systemctl reload\`). All others
  wait for a restart. A reload with any mistake in it changes nothing.
`;

export const COLLECTOR_PAGES: ConfigPages = {
  keys: COLLECTOR_KEYS,
  exampleHead:
    'Every setting of the telemetry collector at its default; only what differs needs to be ' +
    'written. Texts may refer to variables of the environment. Every key can be overridden ' +
    'by a variable: see docs/configuration.md.',
  introduction: INTRODUCTION,
  publicKeys: PUBLIC_KEYS,
  exampleValues: EXAMPLE_VALUES,
};

/** The page of a program's configuration. */
export function renderConfigurationPage(pages: ConfigPages): string {
  const keys = inReadingOrder(pages);
  const top = keys.filter((key) => key.section === '');
  const sections = describeSections(pages.keys).map((section) => {
    const rows = table(keys.filter((key) => key.section === section.name));
    return `## ${section.name}\n\n${section.description}\n\n${rows}`;
  });
  const head = top.length === 0 ? [] : [`## Top level\n\n${table(top)}`];
  return `${[pages.introduction, ...head, ...sections].join('\n')}`;
}

function table(keys: readonly ConfigKey[]): string {
  const rows = keys.map((key) => {
    const cells = [
      `\`${key.path}\``,
      defaultCell(key),
      key.allowed,
      key.description + (key.live ? ' ↻' : ''),
    ];
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  });
  return `${['| Key | Default | Allowed | Meaning |', '|---|---|---|---|', ...rows].join('\n')}\n`;
}

function defaultCell({ defaultValue }: ConfigKey): string {
  if (defaultValue === undefined) return '(required)';
  return Array.isArray(defaultValue) && defaultValue.length > 0
    ? defaultValue.map((item) => `\`${item}\``).join(', ')
    : `\`${JSON.stringify(defaultValue)}\``;
}
