/**
 * The lines of one write request, and whose they are: should the server refuse a line, it is known
 * where it came from and how many samples it carries. Reused from request to request.
 */

const EQUALS = 61;
const SPACE = 32;
const COMMA = 44;
const BACKSLASH = 92;

export class LineChunk<Owner> {
  bytes: Uint8Array = new Uint8Array(0);
  /** Bytes in use. */
  length = 0;
  lines = 0;
  samples = 0;
  /** Line i ends before this offset, its line feed included. */
  lineEnd = new Uint32Array(1024);
  lineSamples = new Uint32Array(1024);
  /** Index into `owners`. */
  lineOwner = new Uint32Array(1024);
  /** An owner may be here more than once, but never twice in a row. */
  readonly owners: Owner[] = [];

  reset(): void {
    this.length = 0;
    this.lines = 0;
    this.samples = 0;
    this.owners.length = 0;
  }

  /** Makes room for `bytes` more. */
  reserve(bytes: number): void {
    if (this.length + bytes <= this.bytes.length) return;
    const larger = new Uint8Array(this.length + bytes);
    larger.set(this.bytes.subarray(0, this.length));
    this.bytes = larger;
  }

  /** Closes the line that ends at `end`, with `samples` values of `owner`. */
  endLine(end: number, samples: number, owner: Owner): void {
    if (this.owners.length === 0 || this.owners.at(-1) !== owner) this.owners.push(owner);
    if (this.lines === this.lineEnd.length) this.#growLines();
    this.lineEnd[this.lines] = end;
    this.lineSamples[this.lines] = samples;
    this.lineOwner[this.lines] = this.owners.length - 1;
    this.lines += 1;
    this.samples += samples;
    this.length = end;
  }

  /** Copies a line, its line feed included, behind the others. */
  addLine(bytes: Uint8Array, samples: number, owner: Owner): void {
    if (this.length + bytes.length > this.bytes.length) this.reserve(this.length + bytes.length);
    this.bytes.set(bytes, this.length);
    this.endLine(this.length + bytes.length, samples, owner);
  }

  /** The bytes of lines `from` up to, not including, `to`; a view. */
  view(from: number, to: number): Uint8Array {
    const start = from === 0 ? 0 : this.lineEnd[from - 1]!;
    return this.bytes.subarray(start, this.lineEnd[to - 1]!);
  }

  ownerOf(line: number): Owner {
    return this.owners[this.lineOwner[line]!]!;
  }

  /** A line without its line feed. */
  text(line: number): string {
    return Buffer.from(this.view(line, line + 1))
      .toString('utf8')
      .replace(/\n$/, '');
  }

  /** The timestamp at the end of a line. */
  timestampMs(line: number): number {
    const bytes = this.view(line, line + 1);
    return Number(Buffer.from(bytes.subarray(bytes.lastIndexOf(SPACE) + 1)).toString('latin1'));
  }

  #growLines(): void {
    const grow = (old: Uint32Array<ArrayBuffer>) => {
      const larger = new Uint32Array(old.length * 2);
      larger.set(old);
      return larger;
    };
    this.lineEnd = grow(this.lineEnd);
    this.lineSamples = grow(this.lineSamples);
    this.lineOwner = grow(this.lineOwner);
  }
}

/** Lines `from` up to, not including, `to` of a chunk. */
export interface LineRange<Owner> {
  readonly chunk: LineChunk<Owner>;
  readonly from: number;
  readonly to: number;
  /** Its lines were parted by time already: doing so again would tell nothing. */
  readonly isTimed?: boolean;
}

/** All lines of `chunk`; undefined where it has none. */
export function wholeRange<Owner>(chunk: LineChunk<Owner>): LineRange<Owner> | undefined {
  return chunk.lines === 0 ? undefined : { chunk, from: 0, to: chunk.lines };
}

/** Copies of the lines of `range` for which `isPicked`, and of the others. */
export function partLines<Owner>(
  { chunk, from, to }: LineRange<Owner>,
  isPicked: (line: number) => boolean,
): [picked: LineChunk<Owner>, others: LineChunk<Owner>] {
  const parts: [LineChunk<Owner>, LineChunk<Owner>] = [new LineChunk(), new LineChunk()];
  for (let line = from; line < to; line++) {
    const part = parts[isPicked(line) ? 0 : 1];
    part.addLine(chunk.view(line, line + 1), chunk.lineSamples[line]!, chunk.ownerOf(line));
  }
  return parts;
}

/**
 * Takes the field `key`, spelled as in the lines, out of the lines of `range`: one chunk with lines
 * of this field alone, one with all that remains. Fields are numbers, so that commas part them.
 */
export function partField<Owner>(
  { chunk, from, to }: LineRange<Owner>,
  key: string,
): [alone: LineChunk<Owner>, others: LineChunk<Owner>] {
  const alone = new LineChunk<Owner>();
  const others = new LineChunk<Owner>();
  for (let line = from; line < to; line++) {
    const bytes = chunk.view(line, line + 1);
    const owner = chunk.ownerOf(line);
    const { prefix, fields, tail } = partsOf(Buffer.from(bytes).toString('utf8'));
    const kept = fields.filter((field) => !field.startsWith(`${key}=`));
    const taken = fields.length - kept.length;
    if (taken === 0) {
      others.addLine(bytes, chunk.lineSamples[line]!, owner);
      continue;
    }
    const build = (list: readonly string[]) => Buffer.from(`${prefix} ${list.join(',')} ${tail}`);
    const own = fields.filter((field) => field.startsWith(`${key}=`));
    alone.addLine(build(own), taken, owner);
    if (kept.length > 0) others.addLine(build(kept), kept.length, owner);
  }
  return [alone, others];
}

function partsOf(line: string): { prefix: string; fields: string[]; tail: string } {
  const tailAt = line.lastIndexOf(' ');
  const prefixEnd = plainIndex(line, SPACE, 0);
  const fields: string[] = [];
  let at = prefixEnd + 1;
  while (at < tailAt) {
    const end = Math.min(endOfField(line, at), tailAt);
    fields.push(line.slice(at, end));
    at = end + 1;
  }
  return { prefix: line.slice(0, prefixEnd), fields, tail: line.slice(tailAt + 1) };
}

function endOfField(line: string, from: number): number {
  const value = plainIndex(line, EQUALS, from);
  const comma = line.indexOf(',', value);
  return comma === -1 ? line.length : comma;
}

/** The place of a character that no backslash escapes; the end of the line if there is none. */
function plainIndex(line: string, code: number, from: number): number {
  for (let at = from; at < line.length; at++) {
    const here = line.charCodeAt(at);
    if (here === BACKSLASH) {
      const next = line.charCodeAt(at + 1);
      if (next === SPACE || next === COMMA || next === EQUALS) at += 1;
    } else if (here === code) return at;
  }
  return line.length;
}
