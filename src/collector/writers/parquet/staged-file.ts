/**
 * One file on its way into the warehouse: rows go into `.staging/`, and only a file with a footer
 * whose bytes are on disk is ever given a visible name (by the writer, with a rename).
 */
import type { ParquetConfig } from '../../../config/schema.ts';
import { assert } from '../../../lib/errors.ts';
import type { FileSystem, WritableFile } from '../../../lib/filesystem.ts';
import type { EncoderOptions, FileEncoder, RowGroup } from '../../../warehouse/encoder.ts';
import { openHyparquetEncoder } from '../../../warehouse/hyparquet-encoder.ts';
import { openParquetjsEncoder } from '../../../warehouse/parquetjs-encoder.ts';

export interface StagedFileOptions extends EncoderOptions {
  readonly encoder: ParquetConfig['encoder'];
}

export class StagedFile {
  readonly path: string;
  readonly #fs: FileSystem;
  readonly #file: WritableFile;
  readonly #encoder: FileEncoder;
  #rows = 0;
  #closed = false;

  private constructor(fs: FileSystem, path: string, file: WritableFile, encoder: FileEncoder) {
    this.#fs = fs;
    this.path = path;
    this.#file = file;
    this.#encoder = encoder;
  }

  static async open(fs: FileSystem, path: string, options: StagedFileOptions): Promise<StagedFile> {
    const file = fs.openForWriting(path);
    const open = options.encoder === 'hyparquet' ? openHyparquetEncoder : openParquetjsEncoder;
    try {
      return new StagedFile(fs, path, file, await open(file, options));
    } catch (error) {
      file.close();
      throw error;
    }
  }

  get rows(): number {
    return this.#rows;
  }

  /** Bytes written so far; the size of the file once it is finished. */
  get bytes(): number {
    return this.#encoder.bytes;
  }

  async writeRowGroup(group: RowGroup): Promise<void> {
    assert(group.rows > 0, 'an empty row group was written');
    await this.#encoder.writeRowGroup(group);
    this.#rows += group.rows;
  }

  /** Returns once the file is complete and on disk, still under its staging name. */
  async finish(metadata: ReadonlyMap<string, string>): Promise<void> {
    await this.#encoder.finish(metadata);
    this.#file.sync();
    this.#closed = true;
    this.#file.close();
  }

  /** Gives the file up. Never throws: what is left over is wiped when the writer opens next. */
  abandon(): void {
    try {
      if (!this.#closed) {
        this.#closed = true;
        this.#file.close();
      }
      this.#fs.remove(this.path);
    } catch {
      // The disk that failed the file may fail its removal too.
    }
  }
}
