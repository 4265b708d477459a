/**
 * The configuration file, by hand of an operator who was in a hurry or by a template that went
 * wrong.
 */
import fs from 'node:fs';
import { readConfig } from '../../../src/config/read-config.ts';
import { packageFile } from '../../../src/lib/package-root.ts';
import { type FuzzTarget, must } from '../fuzz-target.ts';

const SECRET = 'hush-hush';
const ENVIRONMENT = { INFLUXDB_TOKEN: SECRET, EMPTY: '', PORT: '9091', LIST: '[a, b]' };
const SHORT = `collector_id: c1
server:
  listen_addr: "0.0.0.0:5001"
  max_connections: 10
security:
  delegates: [a, 'b']
influxdb:
  url: http://user:password@localhost:8086
  org: 42
  bucket: \${PORT}
  token: \${INFLUXDB_TOKEN}
`;

/** YAML, substitution, schema. */
export function configTarget(): FuzzTarget {
  const example = fs.readFileSync(packageFile('config.example.yaml'), 'utf8');
  return {
    name: 'config-yaml',
    what: 'configuration files',
    // The short one is damaged where it matters; the example is mostly comments.
    seeds: [SHORT, SHORT, SHORT, example].map((text) => Buffer.from(text)),
    tokens: [
      ...[
        '{',
        '[',
        '}',
        ']',
        '- ',
        '? ',
        ': ',
        '&a ',
        '*a',
        '!!binary ',
        '!!set ',
        '!<x> ',
        '<<: ',
      ],
      ...['|\n', '>-\n', '---\n', '...\n', '%YAML 1.2\n', '#', '${', `\${PORT}`, '$$', `\${EMPTY}`],
      ...[
        '  ',
        '\t',
        '~',
        'null',
        '.nan',
        '.inf',
        '0o7',
        '1e3',
        '2026-01-01',
        '\n  __proto__: 1\n',
      ],
      ...['a: *a\n', '\nserver: {}\n', "'", '"', '\\x', '\\u0000', 'listen_adr'],
    ].map((text) => Buffer.from(text)),
    // Each of sixty thousand stray brackets is an error with a stack of its own to the YAML
    // library.
    caseMsMax: 4000,
    run(input) {
      const file = { name: 'c.yaml', text: input.toString('utf8') };
      const result = readConfig(file, ENVIRONMENT);
      must(Object.getOwnPropertyNames(Object.prototype).length === PROTOTYPE_KEYS, 'no pollution');
      if (result.ok) {
        must(Object.isFrozen(result.config), 'a configuration is frozen');
        return;
      }
      must(result.problems.length > 0, 'a refusal has reasons');
      for (const { message, where } of result.problems) {
        must(message !== '' && where !== '', 'a reason has a place and a text');
        must(!message.includes(SECRET), 'no secret is printed');
      }
    },
  };
}

const PROTOTYPE_KEYS = Object.getOwnPropertyNames(Object.prototype).length;
