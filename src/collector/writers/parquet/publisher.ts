/**
 * How files become visible: under which name they are staged, what their footer says, and the
 * rename that gives a finished one its place under `metrics/`.
 */
import path from 'node:path';
import type { FileSystem } from '../../../lib/filesystem.ts';
import { WAREHOUSE_SCHEMA_VERSION } from '../../../warehouse/columns.ts';
import {
  collectorPrefix,
  directoryChain,
  footerMetadata,
  hourDirectory,
  type SeqRange,
  stagingDirectory,
  warehouseFileName,
} from '../../../warehouse/warehouse.ts';
import type { CatalogEntry } from './recovery.ts';
import type { StagedFile } from './staged-file.ts';

/** Whose files these are. */
export interface PublisherIdentity {
  /** Of the warehouse. */
  readonly root: string;
  readonly collectorId: string;
  readonly journalId: string;
  /** For the footers: the program that made the files. */
  readonly createdBy: string;
}

export class Publisher {
  readonly #fs: FileSystem;
  readonly #identity: PublisherIdentity;

  constructor(fs: FileSystem, identity: PublisherIdentity) {
    this.#fs = fs;
    this.#identity = identity;
  }

  /** Where the unfinished file of an hour lies. */
  stagingPath(hourMs: number): string {
    const { root, collectorId } = this.#identity;
    const hour = new Date(hourMs).toISOString().slice(0, 13);
    return path.join(stagingDirectory(root), `${collectorPrefix(collectorId)}${hour}.tmp`);
  }

  /** The footer's key-value metadata of a file that holds `rows` of the records in `range`. */
  metadata(hourMs: number, range: SeqRange, rows: number): ReadonlyMap<string, string> {
    const { collectorId, journalId, createdBy } = this.#identity;
    const footer = { ...range, hourMs, rows, collectorId, journalId };
    return footerMetadata({ ...footer, schemaVersion: WAREHOUSE_SCHEMA_VERSION }, createdBy);
  }

  /** Gives a finished file its visible name; never that of a file which is there already. */
  publish(hourMs: number, range: SeqRange, staged: StagedFile): CatalogEntry {
    const { root, collectorId } = this.#identity;
    const directory = hourDirectory(root, hourMs);
    this.#fs.makeDirectory(directory);
    let target = path.join(directory, warehouseFileName(collectorId, range));
    for (let copy = 2; this.#fs.exists(target); copy++) {
      target = path.join(directory, warehouseFileName(collectorId, range, copy));
    }
    this.#fs.rename(staged.path, target);
    return {
      ...range,
      path: target,
      collectorId,
      hourMs,
      bytes: staged.bytes,
      neededUntilSeq: range.lastSeq,
    };
  }

  /** Makes the names of published files survive a power cut. */
  syncDirectories(hoursMs: readonly number[]): void {
    const chains = hoursMs.flatMap((hourMs) => directoryChain(this.#identity.root, hourMs));
    for (const directory of new Set(chains)) this.#fs.syncDirectory(directory);
  }
}
