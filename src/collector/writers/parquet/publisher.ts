/**
 * How files become visible: under which name they are staged, what their footer says, and the
 * rename that gives a finished one its place under `metrics/`.
 *
 * Publishing is fenced. A new owner takes the lease first, then removes what others have staged,
 * and looks at the visible files last. An owner of before stages first, then looks whether the
 * lease is still its own, and renames last: either it sees that it is not, or its staged file is
 * gone, or its file was visible when the new owner looked.
 */
import path from 'node:path';
import { OperatingError } from '../../../lib/errors.ts';
import type { FileSystem } from '../../../lib/filesystem.ts';
import { WAREHOUSE_SCHEMA_VERSION } from '../../../warehouse/columns.ts';
import {
  directoryChain,
  footerMetadata,
  hourDirectory,
  readFooter,
  type SeqRange,
  stagingDirectory,
  stagingName,
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
  /** Of this writer, unlike any other's. */
  readonly incarnation: string;
  /** Whether the journal and the warehouse are still this process' own. */
  readonly isOwner: () => boolean;
  /** For the footers: the program that made the files. */
  readonly createdBy: string;
}

/** What a writer throws that is not the owner any more. */
export function notOwned(): OperatingError {
  return new OperatingError('WAREHOUSE_NOT_OWNED', 'another process has taken it over');
}

export class Publisher {
  readonly #fs: FileSystem;
  readonly #identity: PublisherIdentity;

  constructor(fs: FileSystem, identity: PublisherIdentity) {
    this.#fs = fs;
    this.#identity = identity;
  }

  /** The path of the unfinished file of an hour. */
  stagingPath(hourMs: number): string {
    const { root, collectorId, incarnation } = this.#identity;
    const hour = new Date(hourMs).toISOString().slice(0, 13);
    return path.join(stagingDirectory(root), stagingName(collectorId, incarnation, hour));
  }

  /** The footer's key-value metadata of a file that holds `rows` of the records in `range`. */
  metadata(hourMs: number, range: SeqRange, rows: number): ReadonlyMap<string, string> {
    const { collectorId, journalId, createdBy, incarnation } = this.#identity;
    const schemaVersion = WAREHOUSE_SCHEMA_VERSION;
    const footer = { ...range, hourMs, rows, collectorId, journalId, schemaVersion };
    return footerMetadata(footer, { createdBy, incarnation });
  }

  /**
   * Gives a finished file its visible name; never that of a file which is there already. One of the
   * same journal, hour and range holds the same rows: then there is nothing left to do. Throws
   * OperatingError WAREHOUSE_NOT_OWNED where another process has taken over.
   */
  publish(hourMs: number, range: SeqRange, staged: StagedFile): CatalogEntry {
    const { root, collectorId } = this.#identity;
    const directory = hourDirectory(root, hourMs);
    this.#fs.makeDirectory(directory);
    let target = path.join(directory, warehouseFileName(collectorId, range));
    for (let copy = 2; this.#fs.exists(target) && !this.#isOwn(target); copy++) {
      target = path.join(directory, warehouseFileName(collectorId, range, copy));
    }
    if (!this.#identity.isOwner()) throw notOwned();
    if (this.#fs.exists(target)) this.#fs.remove(staged.path);
    else this.#fs.rename(staged.path, target);
    return {
      ...range,
      path: target,
      collectorId,
      hourMs,
      bytes: staged.bytes,
      neededUntilSeq: range.lastSeq,
    };
  }

  /** Whether the visible file was made from the same journal. */
  #isOwn(target: string): boolean {
    const result = readFooter(this.#fs, target);
    return result.ok && result.footer.journalId === this.#identity.journalId;
  }

  /** Makes the names of published files survive a power cut. */
  syncDirectories(hoursMs: readonly number[]): void {
    const chains = hoursMs.flatMap((hourMs) => directoryChain(this.#identity.root, hourMs));
    for (const directory of new Set(chains)) this.#fs.syncDirectory(directory);
  }
}
