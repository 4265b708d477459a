/**
 * Journal records → InfluxDB. Records wait in a backlog in which nodes take turns; their lines are
 * gathered into chunks of at most `max_batch_bytes` and sent in order, one request under way while
 * the next chunk is encoded.
 *
 *     records ─► backlog ─► chunk ─► gzip ─► POST /api/v2/write ─► settled
 *                                                └─ lines refused: searched for, a few requests
 *                                                   at a time while other nodes' lines go on
 *
 * A failure loses nothing that was achieved: the chunk under way, with what of it is settled, and
 * the backlog stay, and the next call goes on. A call ends after a bounded amount of work, so that
 * new records of all nodes are read in time. Whatever was not committed comes again from the
 * journal after a restart; writing a point again changes nothing.
 */
import type { InfluxConfig } from '../../../config/schema.ts';
import { errorMessage } from '../../../lib/errors.ts';
import { WeightedCache } from '../weighted-cache.ts';
import { WriteFault } from '../write-fault.ts';
import type { DeadLetter, Writer, WriterDeps, WriterProgress, WriterRecord } from '../writer.ts';
import { Backlog, type FilledChunk, type HeldRecord } from './backlog.ts';
import { InfluxClient } from './influx-client.ts';
import { LineChunk, type LineRange } from './line-chunk.ts';
import { LineDelivery } from './line-delivery.ts';
import { type PointRules, pointRules } from './point.ts';
import { buildTablePlan, type TablePlan } from './table-plan.ts';
import {
  isAboutEmptiness,
  isAboutLines,
  type Refusal,
  type WriteOutcome,
} from './write-outcome.ts';

/**
 * Plans of series tables; one of 300 series takes about 18 kB, so this is room for 10,000 nodes.
 */
const PLAN_CACHE_BYTES = 192 * 1024 * 1024;
/** A server that refuses bodies for their size is not sent smaller limits than this. */
const MIN_CHUNK_BYTES = 16 * 1024;
/** Lines sent in one call before new records are read: a second or two of work. */
const CALL_BYTES = 64 * 1024 * 1024;
/** Requests answered in one call before new records are read. */
const CALL_REQUESTS = 400;
/** Requests of one search before it is other lines' turn. */
const SEARCH_TURN_REQUESTS = 50;
/** Searches that let other chunks pass, each with its lines in memory. */
const SEARCHES_MAX = 4;
/**
 * Journal bytes that nodes share for records which wait for their turn. What is over a node's share
 * is read again later.
 */
const BACKLOG_BYTES = 32 * 1024 * 1024;
/** Records that may be done ahead of one that is not, at about 100 bytes each. */
const BACKLOG_RECORDS = 200_000;
const NOTHING = new Uint8Array(0);

/** Opens the writer; no request is made yet. */
export function openInfluxWriter(settings: InfluxConfig, deps: WriterDeps): Writer {
  return new InfluxWriter(settings, deps, new InfluxClient(settings, deps));
}

/** A chunk on its way. */
interface Shipment {
  readonly chunk: FilledChunk;
  readonly delivery: LineDelivery<HeldRecord>;
}

class InfluxWriter implements Writer {
  readonly #deps: WriterDeps;
  readonly #client: InfluxClient;
  readonly #rules: PointRules;
  readonly #plans = new WeightedCache<TablePlan>(PLAN_CACHE_BYTES);
  readonly #backlog: Backlog;
  #spare = [new LineChunk<HeldRecord>(), new LineChunk<HeldRecord>()];
  #current: Shipment | undefined;
  /** Encoded while the current one was under way. */
  #next: FilledChunk | undefined;
  /** Searches for refused lines, taking turns; the first one is next. */
  readonly #searches: Shipment[] = [];
  /** Nodes with lines in a search: they wait for it, the others go on. */
  #waiting: ReadonlySet<string> = new Set();
  #takenSeq: number;
  /** `max_batch_bytes`, or less once the server found that too large. */
  #maxChunkBytes: number;
  /** The server has shown that it reads lines: what it refuses is the lines' own fault. */
  #isProven = false;
  /** Requests answered in the current call. */
  #answered = 0;
  readonly #stats = {
    requests_total: 0,
    lines_total: 0,
    fields_total: 0,
    line_bytes_total: 0,
    sent_bytes_total: 0,
    refused_lines_total: 0,
    searches_total: 0,
    plan_cache_bytes: 0,
    max_chunk_bytes: 0,
    backlog_bytes: 0,
    backlog_later_records: 0,
  };

  constructor(settings: InfluxConfig, deps: WriterDeps, client: InfluxClient) {
    this.#deps = deps;
    this.#client = client;
    const { record } = deps;
    this.#backlog = new Backlog({ plan: (tableId) => this.#plan(tableId), record }, BACKLOG_BYTES);
    this.#rules = pointRules(settings);
    this.#maxChunkBytes = settings.max_batch_bytes;
    this.#takenSeq = deps.startCursor;
  }

  /** Keeps `records`, whatever happens then, and works on all that is kept. */
  async write(records: readonly WriterRecord[]): Promise<WriterProgress | undefined> {
    const fresh = records.filter(({ seq }) => seq > this.#takenSeq);
    this.#backlog.add(fresh);
    this.#takenSeq = fresh.at(-1)?.seq ?? this.#takenSeq;
    this.#answered = 0;
    try {
      await this.#work();
    } catch (error) {
      const isAdvanced = this.#answered > 0 && this.#isProven;
      throw faultOf(error, this.#backlog.takeProgress(), isAdvanced);
    }
    return this.#backlog.takeProgress();
  }

  readFrom(): number {
    return this.#takenSeq + 1;
  }

  backlog(): 'none' | 'some' | 'full' {
    if (!this.#hasRoom()) return 'full';
    return this.#backlog.records > 0 ? 'some' : 'none';
  }

  /** Asks the server whether it would take anything, with a request that holds no lines. */
  async probe(): Promise<void> {
    const outcome = await this.#send(undefined);
    if (outcome.kind === 'failed') throw failureFault(outcome);
    if (outcome.kind === 'written' || isAboutEmptiness(outcome.message)) this.#isProven = true;
  }

  async tick(): Promise<undefined> {}

  async flush(): Promise<WriterProgress | undefined> {
    try {
      while (this.#backlog.records > 0) {
        this.#answered = 0;
        await this.#work();
      }
    } catch (error) {
      throw faultOf(error, this.#backlog.takeProgress(), false);
    }
    return this.#backlog.takeProgress();
  }

  async close(): Promise<void> {
    this.#client.close();
  }

  stats(): Record<string, number> {
    this.#stats.plan_cache_bytes = this.#plans.weight;
    this.#stats.max_chunk_bytes = this.#maxChunkBytes;
    this.#stats.backlog_bytes = this.#backlog.queuedBytes;
    this.#stats.backlog_later_records = this.#backlog.laterRecords;
    return { ...this.#stats };
  }

  /** Works until nothing is left, or for a call's share of bytes and requests. */
  async #work(): Promise<void> {
    for (let bytes = 0; bytes < CALL_BYTES && this.#answered < CALL_REQUESTS; ) {
      this.#current ??= this.#nextShipment();
      const current = this.#current;
      if (current !== undefined) {
        bytes += current.chunk.lines.length;
        const isDone = await this.#advance(current);
        const isSetAside = !isDone && this.#searches.length < SEARCHES_MAX;
        if (isSetAside) this.#setAside(current);
        if (isDone || isSetAside) this.#current = undefined;
      }
      await this.#advanceSearch();
      // With nothing but searches to do, new records are read between their turns. While the
      // journal has records that were not read, they are read between chunks: whose turn it is
      // cannot be told without them.
      if (current === undefined || (this.#hasRoom() && this.#isBehind())) return;
    }
  }

  /** Whether more records may be read, and whether it would help anybody. */
  #hasRoom(): boolean {
    const { queuedBytes, laterRecords, records } = this.#backlog;
    if (queuedBytes >= BACKLOG_BYTES || records >= BACKLOG_RECORDS) return false;
    return laterRecords === 0 || this.#backlog.isOfHeavyNodes(this.#waiting);
  }

  #isBehind(): boolean {
    return this.#takenSeq < this.#deps.headSeq();
  }

  async #advanceSearch(): Promise<void> {
    const search = this.#searches[0];
    if (search === undefined) return;
    const isDone = await this.#advance(search);
    this.#searches.shift();
    if (!isDone) this.#searches.push(search);
    this.#waiting = nodesOf(this.#searches);
  }

  /** Sends on; true once every line is written or a dead letter. */
  async #advance({ chunk, delivery }: Shipment): Promise<boolean> {
    const sending = this.#sendOn(chunk, delivery);
    // The next chunk is encoded while this one is under way; a failure of either waits for both.
    const outcomes = await Promise.allSettled([sending, this.#fillNext()]);
    if (this.#isProven) this.#bury(refusedLetters(delivery), () => delivery.clearRefused());
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    if (delivery.refused.length > 0) {
      const fault = refusedFault(delivery);
      delivery.restart();
      throw fault;
    }
    if (!delivery.isSettled) return false;
    this.#bury(unspeakableLetters(chunk));
    this.#backlog.settled(chunk);
    this.#spare.push(chunk.lines);
    return true;
  }

  async #sendOn(chunk: FilledChunk, delivery: LineDelivery<HeldRecord>): Promise<void> {
    // Records without samples leave nothing to write, but a canary wants to know whether writing
    // would work.
    if (chunk.lines.lines === 0) return this.probe();
    const send = async (range: LineRange<HeldRecord>) => {
      const outcome = await this.#send(range);
      if (outcome.kind === 'poison' || outcome.kind === 'too_large') {
        const isWhole = range.chunk === chunk.lines && range.to - range.from === chunk.lines.lines;
        await this.#meetRefusal(outcome, range, isWhole);
      }
      return outcome;
    };
    const failure = await delivery.advance(send, SEARCH_TURN_REQUESTS);
    if (failure !== undefined) throw failureFault(failure);
  }

  async #meetRefusal(
    { kind, words }: Refusal,
    { chunk, from, to }: LineRange<HeldRecord>,
    isWhole: boolean,
  ): Promise<void> {
    if (isWhole) this.#stats.searches_total += 1;
    if (kind === 'too_large' && to - from > 1) this.#shrinkChunks(chunk.view(from, to).length);
    if (isAboutLines(words)) this.#isProven = true;
    // Whether it refuses these lines or anything at all shows with a request that holds none.
    if (!this.#isProven && isWhole) await this.probe();
  }

  async #send(range: LineRange<HeldRecord> | undefined): Promise<WriteOutcome> {
    const bytes = range?.chunk.view(range.from, range.to) ?? NOTHING;
    const { outcome, sentBytes } = await this.#client.write(bytes);
    this.#stats.requests_total += 1;
    this.#stats.sent_bytes_total += sentBytes;
    if (outcome.kind !== 'failed') this.#answered += 1;
    if (outcome.kind === 'written' && range !== undefined) {
      const { chunk, from, to } = range;
      this.#isProven = true;
      this.#stats.lines_total += to - from;
      this.#stats.line_bytes_total += bytes.length;
      for (let line = from; line < to; line++) this.#stats.fields_total += chunk.lineSamples[line]!;
    }
    return outcome;
  }

  #shrinkChunks(refusedBytes: number): void {
    const bytes = Math.max(MIN_CHUNK_BYTES, Math.floor(refusedBytes / 2));
    if (bytes >= this.#maxChunkBytes) return;
    this.#maxChunkBytes = bytes;
    this.#deps.log('warn', 'the server finds requests too large; sending smaller ones', {
      refusedBytes,
      maxBatchBytes: bytes,
    });
  }

  #nextShipment(): Shipment | undefined {
    const chunk = this.#next ?? this.#fill();
    this.#next = undefined;
    return chunk === undefined
      ? undefined
      : { chunk, delivery: new LineDelivery(chunk.lines, nodeOf) };
  }

  async #fillNext(): Promise<void> {
    this.#next ??= this.#fill();
  }

  #fill(): FilledChunk | undefined {
    const lines = this.#spare.pop() ?? new LineChunk<HeldRecord>();
    lines.reset();
    let chunk: FilledChunk | undefined;
    try {
      chunk = this.#backlog.fill(lines, this.#maxChunkBytes, this.#waiting);
    } finally {
      if (chunk === undefined) this.#spare.push(lines);
    }
    return chunk;
  }

  #setAside(shipment: Shipment): void {
    this.#searches.push(shipment);
    this.#waiting = nodesOf(this.#searches);
  }

  /** Keeps dead letters; what is given up is booked once they are on disk. */
  #bury(letters: readonly Letter[], onKept: () => void = () => {}): void {
    const [first] = letters;
    if (first === undefined) return;
    try {
      this.#deps.deadLetter(letters.map(({ letter }) => letter));
    } catch (error) {
      throw new WriteFault(errorMessage(error), { reason: 'dead_letter', cause: error });
    }
    onKept();
    for (const { held, letter } of letters) held.deadLettered += letter.samples;
    const lines = letters.filter(({ letter }) => letter.line !== '').length;
    if (lines === 0) return;
    this.#stats.refused_lines_total += lines;
    const { status, reason } = first.letter;
    this.#deps.log('warn', 'InfluxDB refuses lines; they are dead letters', {
      ...{ lines, status, reason },
    });
  }

  #plan(tableId: string): TablePlan {
    const known = this.#plans.find(tableId);
    if (known !== undefined) return known;
    const plan = buildTablePlan(this.#deps.table(tableId), this.#rules);
    this.#plans.add(tableId, plan, plan.weight);
    return plan;
  }
}

interface Letter {
  readonly held: HeldRecord;
  readonly letter: DeadLetter;
}

function nodeOf({ nodeId }: HeldRecord): string {
  return nodeId;
}

function nodesOf(shipments: readonly Shipment[]): Set<string> {
  return new Set(shipments.flatMap(({ delivery }) => [...delivery.openNodes()]));
}

function refusedLetters({ refused }: LineDelivery<HeldRecord>): Letter[] {
  return refused.map(({ owner: held, line, samples, status, reason }) => {
    const { seq, nodeId } = held;
    return { held, letter: { reason, status, nodeId, seq, samples, line } };
  });
}

/** Admission lets no such value pass, so this is for journals written by something else. */
function unspeakableLetters({ records }: FilledChunk): Letter[] {
  const reason = 'values that are not finite numbers';
  return [...records]
    .filter(
      ({ isEncoded, openChunks, unspeakable }) => isEncoded && openChunks === 1 && unspeakable,
    )
    .map((held) => {
      const { seq, nodeId, unspeakable: samples } = held;
      return { held, letter: { reason, status: 0, nodeId, seq, samples, line: '' } };
    });
}

/** This server is not known to read lines: its or our configuration is wrong, not the lines. */
function refusedFault({ refused }: LineDelivery<HeldRecord>): WriteFault {
  const { reason, status } = refused[0]!;
  return new WriteFault(`cannot write to InfluxDB: every line is refused: ${reason}`, {
    ...{ reason: 'refused', status },
  });
}

function failureFault(outcome: Extract<WriteOutcome, { kind: 'failed' }>): WriteFault {
  const { reason, status, retryAfterMs } = outcome;
  const what = status === 0 ? outcome.message : `HTTP ${status}: ${outcome.message}`;
  return new WriteFault(`cannot write to InfluxDB: ${what}`, { reason, status, retryAfterMs });
}

/** The same fault with what the call achieved before it. */
function faultOf(
  error: unknown,
  progress: WriterProgress | undefined,
  isAdvanced: boolean,
): WriteFault {
  const fault = error instanceof WriteFault ? error : undefined;
  return new WriteFault(errorMessage(error), {
    reason: fault?.reason ?? 'local',
    status: fault?.status ?? 0,
    retryAfterMs: fault?.retryAfterMs ?? 0,
    ...{ progress, isAdvanced },
    cause: fault?.cause ?? error,
  });
}
