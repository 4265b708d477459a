/**
 * The signature in the footer of warehouse files.
 */
import fs from 'node:fs';
import type { ParquetConfig } from '../config/schema.ts';
import { packageFile } from '../lib/package-root.ts';

/** Which program and library write a file, in the form that Parquet readers parse. */
export function createdBy(encoder: ParquetConfig['encoder']): string {
  const { version } = JSON.parse(fs.readFileSync(packageFile('package.json'), 'utf8'));
  return `telemetry-collector version ${version} (build ${encoder})`;
}
