/**
 * A CSV file as rows, a chunk at a time. csv-parse does the reading (RFC 4180); this adds bounded
 * memory and recovery. At an error csv-parse gives up what is left of its input, so one open quote
 * would cost the rest of the file. Here it costs one line: the parser is thrown away and a new one
 * starts at the line after the one where the broken row began.
 *
 * A quote that is never closed is noticed only at the bound on a row, and all up to there is then
 * parsed again. A file in which line after line is broken would be parsed a thousand times over, so
 * the bound is lower while no row comes out whole.
 */
import fs from 'node:fs/promises';
import { type Parser, parse } from 'csv-parse';
import { errorCode, errorMessage, OperatingError } from '../../lib/errors.ts';

export interface CsvRow {
  /** undefined where the row could not be read: `why` then says what is wrong with it. */
  readonly cells: readonly string[] | undefined;
  readonly why: string;
  /** Counted from 1, the header included, empty lines not. */
  readonly number: number;
}

const CHUNK_BYTES = 65_536;
/** An open quote swallows this much before it is noticed. */
const MAX_ROW_BYTES = 131_072;
const BROKEN_ROWS_IN_SEQUENCE = 8;
const MAX_ROW_BYTES_AFTER_THEM = 4096;
const LF = 0x0a;
const CR = 0x0d;

export class CsvRowReader {
  readonly #file: fs.FileHandle;
  readonly #path: string;
  #parser: Parser;
  /** Where the parser's input begins in the file. */
  #parserStart = 0;
  /** Up to where bytes were given to the parser. */
  #offset = 0;
  /** Just past the last whole row. */
  #rowEnd = 0;
  #rows: CsvRow[] = [];
  #rowNumber = 0;
  /** Since the last whole one. */
  #brokenRows = 0;
  #atEnd = false;

  /** Throws CSV_UNREADABLE. The caller closes the reader. */
  static async open(path: string): Promise<CsvRowReader> {
    try {
      return new CsvRowReader(path, await fs.open(path, 'r'));
    } catch (error) {
      throw unreadable(path, error);
    }
  }

  private constructor(path: string, file: fs.FileHandle) {
    this.#path = path;
    this.#file = file;
    this.#parser = this.#startParser();
  }

  /** The next rows, in order; empty only at the end of the file. Throws CSV_UNREADABLE. */
  async next(): Promise<readonly CsvRow[]> {
    while (this.#rows.length === 0 && !this.#atEnd) {
      const chunk = await this.#read(this.#offset);
      if (this.#offset === 0) this.#refuseUtf16(chunk);
      this.#offset += chunk.length;
      const isEnd = chunk.length === 0;
      const error = await feed(this.#parser, chunk);
      if (error !== undefined) await this.#recover(error);
      else this.#atEnd = isEnd;
    }
    const rows = this.#rows;
    this.#rows = [];
    return rows;
  }

  async close(): Promise<void> {
    this.#atEnd = true;
    this.#parser.destroy();
    await this.#file.close();
  }

  #startParser(): Parser {
    const isBreaking = this.#brokenRows >= BROKEN_ROWS_IN_SEQUENCE;
    const parser = parse({
      bom: true,
      ltrim: true,
      relax_quotes: true,
      relax_column_count: true,
      skip_empty_lines: true,
      record_delimiter: ['\r\n', '\n', '\r'],
      max_record_size: isBreaking ? MAX_ROW_BYTES_AFTER_THEM : MAX_ROW_BYTES,
      // Taking the rows here and pushing none keeps the stream's own queue empty.
      on_record: (record: string[], { bytes }) => {
        this.#brokenRows = 0;
        this.#rowEnd = this.#parserStart + bytes;
        this.#rowNumber += 1;
        this.#rows.push({ cells: record, why: '', number: this.#rowNumber });
        return null;
      },
    });
    parser.on('error', () => {});
    parser.resume();
    return parser;
  }

  /** Goes on after the line in which the broken row began. */
  async #recover(error: Error): Promise<void> {
    this.#parser.destroy();
    this.#rowNumber += 1;
    this.#brokenRows += 1;
    const isOpenQuote = errorCode(error) === 'CSV_QUOTE_NOT_CLOSED';
    const why = isOpenQuote ? 'quote not closed' : 'row too long or quote not closed';
    this.#rows.push({ cells: undefined, why, number: this.#rowNumber });
    this.#offset = await this.#lineAfter(this.#rowEnd);
    this.#parserStart = this.#offset;
    this.#rowEnd = this.#offset;
    this.#parser = this.#startParser();
  }

  /** The start of the line after the first line at or after `start` that is not empty. */
  async #lineAfter(start: number): Promise<number> {
    let inLine = false;
    for (let offset = start; ; ) {
      const chunk = await this.#read(offset);
      if (chunk.length === 0) return offset;
      for (const [index, byte] of chunk.entries()) {
        const isLineEnd = byte === LF || byte === CR;
        if (isLineEnd && inLine) return offset + index + 1;
        inLine ||= !isLineEnd;
      }
      offset += chunk.length;
    }
  }

  async #read(position: number): Promise<Buffer> {
    try {
      const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
      const { bytesRead } = await this.#file.read(buffer, 0, CHUNK_BYTES, position);
      return buffer.subarray(0, bytesRead);
    } catch (error) {
      throw unreadable(this.#path, error);
    }
  }

  #refuseUtf16(chunk: Buffer): void {
    const mark = chunk.length >= 2 ? chunk.readUInt16BE(0) : 0;
    if (mark !== 0xfffe && mark !== 0xfeff) return;
    throw new OperatingError(
      'CSV_ENCODING',
      `cannot read ${this.#path}: it is UTF-16; save it as UTF-8`,
    );
  }
}

/** Gives `chunk` to the parser, or ends it where the chunk is empty; returns its complaint. */
function feed(parser: Parser, chunk: Buffer): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const settle = (error?: Error | null) => resolve(error ?? undefined);
    // A finished stream calls back without the error that its flush met; the event tells.
    parser.once('error', settle);
    const done = (error?: Error | null) => {
      parser.off('error', settle);
      settle(error);
    };
    if (chunk.length === 0) parser.end(done);
    else parser.write(chunk, done);
  });
}

function unreadable(path: string, error: unknown): OperatingError {
  const why = errorCode(error) === 'ENOENT' ? 'there is no such file' : errorMessage(error);
  return new OperatingError('CSV_UNREADABLE', `cannot read ${path}: ${why}`, { cause: error });
}
