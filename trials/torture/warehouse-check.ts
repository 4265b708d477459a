/**
 * The warehouse compared with what was promised: no batch less, none twice, each with its labels,
 * its times and the time at which it was received.
 */
import path from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { goodSamples, type Obligations, possibleSamples, type SentBatch } from './obligations.ts';
import { variantOf } from './samples.ts';
import { type BatchRows, readWarehouse, type WarehouseRows } from './warehouse-rows.ts';

/** A batch of which the warehouse holds something else than it should. */
export interface BatchFlaw {
  readonly what: 'lost' | 'doubled' | 'in part';
  readonly node: number;
  readonly round: number;
  readonly samples: number;
  readonly ackedMs: number | undefined;
}

export interface WarehouseFindings {
  readonly files: number;
  /** Distinct names: the files of one seal have the same one, each in its hour's directory. */
  readonly seals: number;
  readonly rows: number;
  /** Visible files that cannot be read whole, and what is visible and no warehouse file. */
  readonly unreadable: readonly string[];
  readonly flaws: readonly BatchFlaw[];
  /** The files that hold something of the first flawed batch. */
  readonly filesOfFirstFlaw: readonly string[];
  readonly lostSamples: number;
  readonly doubledSamples: number;
  /** Acknowledged samples that a rollback took away, and what it let in twice. */
  readonly rolledBackSamples: number;
  readonly rolledBackDoubles: number;
  /** Rows that nobody has sent, or that have another value or time than was sent. */
  readonly unknownRows: number;
  readonly firstUnknown: string | undefined;
  /** Rows with the label of another batch's series table, or the times of another form. */
  readonly mislabelledRows: number;
  /** Rows that say they were received when they cannot have been. */
  readonly misdatedRows: number;
  readonly firstMisdated: string | undefined;
  /** Samples of batches without an acknowledgement that are there: they may be. */
  readonly unpromisedSamples: number;
}

/** By how many ms the daemon's wall clock was wrong, at least and at most, in a span of time. */
export type ClockError = (fromMs: number, toMs: number) => { minMs: number; maxMs: number };

/** Both clocks are cut to whole milliseconds. */
const RECEIVED_SLACK_MS = 5;

export function checkWarehouse(
  outputDir: string,
  baseMs: number,
  obligations: Obligations,
  clockError: ClockError,
): Promise<WarehouseFindings> {
  return readWarehouse(outputDir, baseMs, async (found, connection) => {
    const judged = judge(found, obligations, clockError);
    const filesOfFirstFlaw = await filesOf(connection, judged.flaws[0]);
    const { files, unreadable } = found;
    const seals = new Set(files.map((file) => path.basename(file))).size;
    return { files: files.length, seals, unreadable, filesOfFirstFlaw, ...judged };
  });
}

async function filesOf(
  connection: DuckDBConnection,
  flaw: BatchFlaw | undefined,
): Promise<string[]> {
  if (flaw === undefined) return [];
  try {
    const reader = await connection.runAndReadAll(
      `SELECT DISTINCT filename FROM samples
       WHERE node = ${flaw.node} AND round = ${flaw.round} ORDER BY 1`,
    );
    return reader.getRowObjectsJS().map(({ filename }) => String(filename));
  } catch {
    // There is no such table where nothing is visible.
    return [];
  }
}

type Judged = Omit<WarehouseFindings, 'files' | 'seals' | 'unreadable' | 'filesOfFirstFlaw'>;

function judge(found: WarehouseRows, obligations: Obligations, clockError: ClockError): Judged {
  const flaws: BatchFlaw[] = [];
  const seen = new Set<string>();
  let { rows: unknownRows, first: firstUnknown } = found.strangers;
  let [rows, unpromisedSamples, rolledBackSamples, rolledBackDoubles] = [unknownRows, 0, 0, 0];
  let [mislabelledRows, misdatedRows] = [0, 0];
  let firstMisdated: string | undefined;
  const unknown = (count: number, what: string) => {
    if (count <= 0) return;
    unknownRows += count;
    firstUnknown ??= what;
  };
  for (const one of found.batches) {
    const { node, round, samples } = one;
    rows += one.rows;
    const batch = obligations.get(node, round);
    if (batch === undefined) {
      unknown(one.rows, `node ${node} never sent round ${round}`);
      continue;
    }
    seen.add(`${node}/${round}`);
    const { ackedMs } = batch;
    if (ackedMs === undefined) unpromisedSamples += samples;
    const flaw = (what: BatchFlaw['what'], count: number) => {
      if (count > 0) flaws.push({ what, node, round, samples: count, ackedMs });
    };
    const doubled = one.rows - samples;
    if (batch.excused.doubles) rolledBackDoubles += doubled;
    else flaw('doubled', doubled);
    const missing = Math.max(0, goodSamples(batch) - samples);
    if (batch.excused.rows) rolledBackSamples += ackedMs === undefined ? 0 : missing;
    else flaw(ackedMs === undefined ? 'in part' : 'lost', missing);
    unknown(samples - possibleSamples(batch), `node ${node} round ${round}: had to be refused`);
    mislabelledRows += wrongRows(one, batch);
    // Two copies were received at two times.
    const misdated = doubled === 0 ? misdate(one, batch, clockError) : undefined;
    if (misdated === undefined) continue;
    misdatedRows += one.rows;
    firstMisdated ??= misdated;
  }
  for (const [key, batch] of obligations.batches) {
    if (batch.ackedMs === undefined || seen.has(key)) continue;
    const samples = goodSamples(batch);
    if (batch.excused.rows) rolledBackSamples += samples;
    else if (samples > 0) flaws.push({ ...batch, what: 'lost', samples });
  }
  flaws.sort((a, b) => (a.ackedMs ?? Infinity) - (b.ackedMs ?? Infinity));
  const sum = (what: BatchFlaw['what']) =>
    flaws.reduce((total, flaw) => total + (flaw.what === what ? flaw.samples : 0), 0);
  return {
    ...{ rows, flaws, lostSamples: sum('lost'), doubledSamples: sum('doubled') },
    ...{ rolledBackSamples, rolledBackDoubles, unknownRows, firstUnknown, unpromisedSamples },
    ...{ mislabelledRows, misdatedRows, firstMisdated },
  };
}

/** Rows that have the label of another table, or the times of another form. */
function wrongRows(found: BatchRows, { form }: SentBatch): number {
  const variant = variantOf(form.table);
  const isRight =
    found.variantMin === variant &&
    found.variantMax === variant &&
    found.scattered === (form.scattered ? found.rows : 0);
  return isRight ? 0 : found.rows;
}

/** All rows of a batch carry one time, after its sending, before its answer; else why not. */
function misdate(
  { node, round, receivedMinMs, receivedMaxMs }: BatchRows,
  { sentMs, ackedMs = Number.POSITIVE_INFINITY }: SentBatch,
  clockError: ClockError,
): string | undefined {
  const { minMs, maxMs } = clockError(sentMs, ackedMs);
  const isRight =
    receivedMinMs === receivedMaxMs &&
    receivedMinMs >= sentMs + minMs - RECEIVED_SLACK_MS &&
    receivedMaxMs <= ackedMs + maxMs + RECEIVED_SLACK_MS;
  if (isRight) return undefined;
  const span = `${receivedMinMs} to ${receivedMaxMs}`;
  return `node ${node} round ${round} at ${span}, sent ${sentMs}, acknowledged ${ackedMs}`;
}
