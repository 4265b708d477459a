import { describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config/read-config.ts';
import type { Config } from '../../src/config/schema.ts';

function accepted(text: string, environment: Record<string, string> = {}): Config {
  const result = readConfig({ name: 'c.yaml', text }, environment);
  if (!result.ok) throw new Error(result.problems.map((problem) => problem.message).join('\n'));
  return result.config;
}

function problems(text: string, environment: Record<string, string> = {}): string[] {
  const result = readConfig({ name: 'c.yaml', text }, environment);
  return result.ok ? [] : result.problems.map(({ where, message }) => `${where}: ${message}`);
}

describe('readConfig', () => {
  it('takes the defaults without a file', () => {
    const result = readConfig(undefined, {});
    expect(result).toMatchObject({
      ok: true,
      config: { server: { listen_addr: '0.0.0.0:5001' }, parquet: { enabled: true } },
    });
    expect(result.ok && result.config.influxdb).toBe(undefined);
  });

  it('takes an empty file and empty sections as the defaults', () => {
    expect(accepted('')).toEqual(accepted('server:\ninfluxdb:\nlimits: {}\n'));
  });

  it('takes the public keys', () => {
    const config = accepted(
      `
server: { listen_addr: "127.0.0.1:6001", max_connections: 10, connection_timeout_secs: 20 }
influxdb: { url: "http://localhost:8086", org: horizon, bucket: telemetry, token: "\${TOKEN}" }
parquet: { output_dir: "data", rotation_interval_secs: 60, compression: gzip }
observability: { metrics_port: 9999, log_level: debug }
`.trim(),
      { TOKEN: 'abc' },
    );
    expect(config.server.max_connections).toBe(10);
    expect(config.influxdb).toMatchObject({ token: 'abc', org: 'horizon', gzip: true });
    expect(config.parquet.output_dir).toBe('data');
  });

  it('returns a result that nobody can change', () => {
    const config = accepted('server: { max_connections: 5 }');
    expect(() => {
      (config.server as { max_connections: number }).max_connections = 6;
    }).toThrow(TypeError);
    expect(Object.isFrozen(config.security.delegates)).toBe(true);
  });

  it('names line, key, value and what is allowed', () => {
    expect(problems('server:\n  listen_addr: "1.2.3.4:5"\n  max_connections: lots\n')).toEqual([
      'c.yaml:3: server.max_connections is "lots", but must be a whole number from 1 to 100000',
    ]);
    expect(problems('server: { listen_addr: "localhost:5001" }')).toEqual([
      'c.yaml:1: server.listen_addr is "localhost:5001", but must be an IP address and a port, ' +
        'for example 0.0.0.0:5001 or [::]:5001',
    ]);
    expect(problems('limits:\n\n  max_batch_bytes: 7')).toEqual([
      'c.yaml:3: limits.max_batch_bytes is 7, but must be a whole number from 1024 (1 KiB) to ' +
        '67108864 (64 MiB)',
    ]);
  });

  it('reports every problem at once, in the order of the file', () => {
    const text = [
      'server:',
      '  listen_adr: "0.0.0.0:1"',
      '  max_connections: 0',
      'parquet:',
      '  compression: lzo',
      '  enabled: maybe',
      'limts: {}',
      'influxdb:',
      '  url: "ftp://host"',
      '  org: o',
      '  bucket:',
      `  token: "\${NOT_SET}"`,
    ].join('\n');
    expect(problems(text)).toEqual([
      'c.yaml:2: server.listen_adr is not a known key; did you mean server.listen_addr?',
      expect.stringContaining('c.yaml:3: server.max_connections is 0'),
      'c.yaml:5: parquet.compression is "lzo", but must be one of snappy, zstd, gzip, uncompressed',
      'c.yaml:6: parquet.enabled is "maybe", but must be true or false',
      'c.yaml:7: limts is not a known key; did you mean limits?',
      expect.stringContaining('c.yaml:9: influxdb.url is "ftp://host", but must be a URL'),
      'c.yaml:11: influxdb.bucket has no value, but must be a text',
      'c.yaml:12: influxdb.token refers to the environment variable NOT_SET, which is not set',
    ]);
  });

  it('names the section of a key that stands in the wrong one', () => {
    expect(problems('max_batch_size: 5')).toEqual([
      'c.yaml:1: max_batch_size is not a known key; did you mean limits.max_batch_size?',
    ]);
    expect(problems('server: { compression: gzip }')).toEqual([
      'c.yaml:1: server.compression is not a known key; did you mean parquet.compression?',
    ]);
  });

  it('says which required key of a section is missing', () => {
    expect(problems('influxdb:\n  url: "http://h"\n  org: o\n')).toEqual([
      'c.yaml:1: influxdb.bucket is missing; it must be a text',
    ]);
  });

  it('rejects keys given twice, sections that are values and values that are sections', () => {
    expect(problems('server: 5')).toEqual([
      'c.yaml:1: server is a section: its keys go below it, indented',
    ]);
    expect(problems('server:\n  max_connections: { a: 1 }')).toEqual([
      expect.stringContaining('c.yaml:2: server.max_connections is a section here'),
    ]);
    expect(problems('journal: { dir: a }\njournal: { dir: b }')).toEqual([
      'c.yaml:2: this key was given before',
    ]);
    expect(problems('- a\n- b')).toEqual(['c.yaml:1: the file must consist of sections with keys']);
  });

  it('reports nesting that is deeper than the stack', () => {
    const text = `a: [x,${'\n  a: 1\n'.repeat(10_000)}`;
    expect(problems(text)).toEqual(['c.yaml:1: the file is nested too deeply to be read']);
  });

  it('gives up on a file with hundreds of problems', () => {
    const lines = Array.from({ length: 5000 }, (_, line) => `  listen_adr_${line}: 1`);
    const result = readConfig({ name: 'c.yaml', text: `server:\n${lines.join('\n')}` }, {});
    expect(!result.ok && result.problems.length).toBe(200);
  });

  it('reports broken YAML with its line', () => {
    expect(problems('server:\n  listen_addr: "unclosed\n')[0]).toMatch(/^c\.yaml:\d+: Missing/);
    expect(problems('a: *nowhere\n')[0]).toMatch(/^c\.yaml:1: /);
  });
});

describe('variables in the file', () => {
  it('are replaced inside texts, lists and plain numbers', () => {
    const config = accepted(
      [
        `parquet: { output_dir: "/data/\${TENANT}/x" }`,
        `security: { delegates: ["\${TENANT}-gateway", "b"] }`,
        'observability:',
        `  metrics_port: \${PORT}`,
      ].join('\n'),
      { TENANT: 'acme', PORT: '9100' },
    );
    expect(config.parquet.output_dir).toBe('/data/acme/x');
    expect(config.security.delegates).toEqual(['acme-gateway', 'b']);
    expect(config.observability.metrics_port).toBe(9100);
  });

  it('are written plainly with a second dollar sign', () => {
    const { influxdb } = accepted(
      `influxdb: { url: "http://h", org: o, bucket: "$\${b}", token: "a$b" }`,
    );
    expect(influxdb).toMatchObject({ bucket: `\${b}`, token: 'a$b' });
  });

  it('must be closed and must be names', () => {
    expect(problems(`journal: { dir: "\${A" }`)[0]).toMatch(
      /journal\.dir begins a \$\{ that is never/,
    );
    expect(problems(`journal: { dir: "\${A-B}" }`)[0]).toMatch(/no name of a variable/);
  });

  it('may be empty when they are set', () => {
    expect(accepted(`journal: { dir: "\${EMPTY}" }`, { EMPTY: '' }).journal.dir).toBe('');
  });
});

describe('overrides from the environment', () => {
  it('win over the file and keep the types of their keys', () => {
    const config = accepted('server: { max_connections: 5 }', {
      TELEMETRY_COLLECTOR_SERVER__MAX_CONNECTIONS: '7',
      TELEMETRY_COLLECTOR_COLLECTOR_ID: '42',
      TELEMETRY_COLLECTOR_PARQUET__ENABLED: 'true',
      TELEMETRY_COLLECTOR_SECURITY__DELEGATES: '[a, b]',
      TELEMETRY_COLLECTOR_JOURNAL__DIR: '',
    });
    expect(config.server.max_connections).toBe(7);
    expect(config.collector_id).toBe('42');
    expect(config.security.delegates).toEqual(['a', 'b']);
  });

  it('make a value of the file that they replace irrelevant, however wrong', () => {
    const text = `influxdb: { url: "http://h", org: o, bucket: b, token: "\${NOT_SET}" }`;
    const config = accepted(text, { TELEMETRY_COLLECTOR_INFLUXDB__TOKEN: 'a: *b' });
    expect(config.influxdb?.token).toBe('a: *b');
  });

  it('turn an optional section on', () => {
    const config = accepted('', {
      TELEMETRY_COLLECTOR_INFLUXDB__URL: 'http://h',
      TELEMETRY_COLLECTOR_INFLUXDB__ORG: 'o',
      TELEMETRY_COLLECTOR_INFLUXDB__BUCKET: 'b',
    });
    expect(config.influxdb?.org).toBe('o');
  });

  it('of unknown names are errors with the nearest name', () => {
    expect(problems('', { TELEMETRY_COLLECTOR_SERVER__LISTEN_ADRR: 'x' })).toEqual([
      'environment: TELEMETRY_COLLECTOR_SERVER__LISTEN_ADRR overrides no key; ' +
        'did you mean TELEMETRY_COLLECTOR_SERVER__LISTEN_ADDR?',
    ]);
  });

  it('of wrong values are errors that name the variable', () => {
    expect(problems('', { TELEMETRY_COLLECTOR_SERVER__MAX_CONNECTIONS: 'many' })).toEqual([
      'environment variable TELEMETRY_COLLECTOR_SERVER__MAX_CONNECTIONS: ' +
        'server.max_connections is "many", but must be a whole number from 1 to 100000',
    ]);
    const [emptyValue] = problems('', { TELEMETRY_COLLECTOR_SERVER__MAX_CONNECTIONS: '' });
    expect(emptyValue).toContain('server.max_connections has no value');
  });

  it('ignore what Kubernetes says about a service of the same name', () => {
    const environment = {
      TELEMETRY_COLLECTOR_SERVICE_HOST: '10.0.0.1',
      TELEMETRY_COLLECTOR_SERVICE_PORT_METRICS: '9091',
      TELEMETRY_COLLECTOR_PORT: 'udp://10.0.0.1:5001',
      TELEMETRY_COLLECTOR_PORT_5001_UDP_ADDR: '10.0.0.1',
    };
    expect(problems('', environment)).toEqual([]);
  });
});

describe('secrets', () => {
  it('are never printed, whichever mistake is made with them', () => {
    const wrong = [
      'influxdb: { url: "http://h", org: o, bucket: b, token: [s3cret, s3cret] }',
      'influxdb: { url: "http://h", org: o, bucket: b, token: { s3cret: 1 } }',
      'influxdb: { url: "ftp://me:s3cret@h", org: o, bucket: b }',
      `influxdb: { url: "ftp://me:\${PASSWORD}@h", org: o, bucket: b }`,
      'influxdb: { url: "http://h", org: o, bucket: b, tokn: s3cret }',
    ];
    for (const text of wrong) {
      const found = problems(text, { PASSWORD: 's3cret' });
      expect(found.length, text).toBeGreaterThan(0);
      expect(found.join('\n')).not.toContain('s3cret');
    }
  });
});
