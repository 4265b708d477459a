/**
 * SQL over a warehouse, as an analyst would ask it: DuckDB on the Parquet files.
 */
import fs from 'node:fs';
import path from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';

export type Row = Readonly<Record<string, string | number | boolean | bigint | null>>;

export class WarehouseQuery {
  readonly #dir: string;

  /** `dir` is parquet.output_dir. */
  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Paths of all visible files. */
  files(): string[] {
    const root = path.join(this.#dir, 'metrics');
    if (!fs.existsSync(root)) return [];
    return fs
      .readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.parquet'))
      .map((name) => path.join(root, name))
      .sort();
  }

  /** Runs `sql`, in which `m` is the table of all samples in `files`. No files: no rows. */
  async rows(sql: string, files = this.files()): Promise<Row[]> {
    if (files.length === 0) return [];
    const instance = await DuckDBInstance.create(':memory:');
    const connection = await instance.connect();
    try {
      const list = files.map((file) => `'${file.replaceAll("'", "''")}'`).join(', ');
      await connection.run("SET TimeZone = 'UTC'");
      await connection.run(
        `CREATE VIEW m AS SELECT * FROM read_parquet([${list}], hive_partitioning = true)`,
      );
      const reader = await connection.runAndReadAll(sql);
      return reader.getRowObjectsJS() as Row[];
    } finally {
      connection.closeSync();
      instance.closeSync();
    }
  }

  async count(): Promise<number> {
    const rows = await this.rows('SELECT count(*)::DOUBLE AS n FROM m');
    return Number(rows[0]?.n ?? 0);
  }
}
