/**
 * Directories that follow from the configuration. Relative ones are relative to the working
 * directory.
 */
import path from 'node:path';
import type { Config } from './schema.ts';

type Directories = Pick<Config, 'journal' | 'parquet'>;

/** The durable log: `journal.dir`, or `journal` inside `parquet.output_dir`. */
export function journalDir(config: Directories): string {
  const { dir } = config.journal;
  return path.resolve(dir === '' ? path.join(config.parquet.output_dir, 'journal') : dir);
}

/** Samples that a writer's destination refused for good, as JSON lines; beside the journal. */
export function deadLetterDir(config: Directories): string {
  return path.join(path.dirname(journalDir(config)), 'dead-letter');
}

/** The Unix socket of the feed: `feed.socket_path`, or `feed.sock` beside the journal. */
export function feedSocketPath(config: Directories & Pick<Config, 'feed'>): string {
  const { socket_path: socketPath } = config.feed;
  return path.resolve(socketPath || path.join(path.dirname(journalDir(config)), 'feed.sock'));
}

/** What analysts read: finished Parquet files only. */
export function warehouseDir(config: Directories): string {
  return path.resolve(config.parquet.output_dir, 'metrics');
}

/**
 * Unfinished Parquet files; on the same file system as the warehouse, so that a rename is atomic.
 */
export function stagingDir(config: Directories): string {
  return path.resolve(config.parquet.output_dir, '.staging');
}
