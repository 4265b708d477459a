import { describe, expect, it } from 'vitest';
import { type Config, configSchema } from '../../src/config/schema.ts';
import { brokenLaws, configRemarks } from '../../src/config/validate.ts';
import { hasZstd } from '../../src/lib/zstd.ts';

type Input = Parameters<typeof configSchema.parse>[0];

const laws = (input: Input) => brokenLaws(configSchema.parse(input));
const remarks = (input: Input) => configRemarks(configSchema.parse(input) as Config);
const influxdb = { url: 'http://h', org: 'o', bucket: 'b' };

describe('brokenLaws', () => {
  it('has nothing against the defaults', () => {
    expect(laws({})).toEqual([]);
    expect(remarks({})).toEqual([]);
  });

  it('takes zstd where Node has it, and names the version otherwise', () => {
    const found = laws({ parquet: { compression: 'zstd' } }).map(({ message }) => message);
    if (hasZstd()) expect(found).toEqual([]);
    else expect(found).toEqual([expect.stringContaining('zstd needs Node 22.15 or newer')]);
  });

  const cases: [why: string, input: Input, key: string][] = [
    [
      "a path that is too long for the feed's socket",
      { feed: { enabled: true, socket_path: `/tmp/${'x'.repeat(100)}` } },
      'feed.socket_path',
    ],
    ['no writer', { parquet: { enabled: false } }, 'parquet.enabled'],
    [
      'a stream window over the connection window',
      { server: { stream_window_bytes: 1 << 22 } },
      'server.stream_window_bytes',
    ],
    [
      'backpressure under one batch',
      { limits: { max_batch_bytes: 1 << 22, backpressure_bytes: 1 << 20 } },
      'limits.backpressure_bytes',
    ],
    [
      'a journal of a few batches',
      { limits: { max_batch_bytes: 1 << 23 }, journal: { max_bytes: 1 << 25 } },
      'journal.max_bytes',
    ],
    [
      'a batch without room for one label',
      { limits: { max_batch_bytes: 1024, max_label_value_bytes: 1024 } },
      'limits.max_batch_bytes',
    ],
    [
      'zstd with a library that has none',
      { parquet: { compression: 'zstd', encoder: 'parquetjs' } },
      'parquet.compression',
    ],
    [
      'retention under rotation',
      { parquet: { retention_days: 0.01, rotation_interval_secs: 3600 } },
      'parquet.retention_days',
    ],
    [
      'retention under one file',
      { parquet: { retention_bytes: 1 << 20 } },
      'parquet.retention_bytes',
    ],
    [
      'a journal inside the warehouse',
      { parquet: { output_dir: '/data' }, journal: { dir: '/data/metrics/journal' } },
      'journal.dir',
    ],
    [
      'dead letters inside the staging directory',
      { parquet: { output_dir: '/data' }, journal: { dir: '/data/.staging/journal' } },
      'journal.dir',
    ],
    [
      'a tag given twice',
      { influxdb: { ...influxdb, tag_labels: ['a', 'a'] } },
      'influxdb.tag_labels',
    ],
    [
      'the node as a configured tag',
      { influxdb: { ...influxdb, tag_labels: ['node_id'] } },
      'influxdb.tag_labels',
    ],
  ];
  for (const [why, input, key] of cases) {
    it(`rejects ${why} and names the key to change`, () => {
      const broken = laws(input);
      expect(broken.map((law) => law.keys[0])).toEqual([key]);
      expect(broken[0]?.message).toContain(key);
    });
  }

  it('lets InfluxDB be the only writer', () => {
    expect(laws({ parquet: { enabled: false }, influxdb })).toEqual([]);
  });
});

describe('configRemarks', () => {
  it('mentions limits that cannot work as they look', () => {
    const found = remarks({
      server: { max_connections: 4, max_connections_per_node: 5 },
      limits: { max_cardinality: 10, max_cardinality_per_node: 11 },
      parquet: { retention_days: 1 },
    });
    expect(found.map((remark) => remark.keys[0])).toEqual([
      'limits.max_cardinality_per_node',
      'limits.max_timestamp_age_secs',
      'server.max_connections_per_node',
    ]);
  });

  it('mentions a feed that nobody may read, or whose readers may lose records', () => {
    const found = remarks({
      feed: { enabled: true, listen_addr: '0.0.0.0:5002' },
      parquet: { enabled: false },
      influxdb,
    });
    expect(found.map((remark) => remark.keys[0])).toEqual(['feed.enabled', 'security.readers']);
  });
});
