/**
 * The judge: compares what the collector promised with what its two destinations hold and what its
 * books say, after everything has come to rest. Knows nothing of the faults.
 */

import { hoursFinding } from './hours-check.ts';
import type { Obligations } from './obligations.ts';
import { checkSink, type SinkFindings } from './sink-check.ts';
import type { SinkStore } from './sink-store.ts';
import {
  type BatchFlaw,
  checkWarehouse,
  type ClockError,
  type WarehouseFindings,
} from './warehouse-check.ts';

/** The ledger as the daemon showed it before its last stop. */
export interface Books {
  readonly received: number;
  readonly accepted: number;
  readonly duplicate: number;
  readonly rejected: number;
  /** received − accepted − duplicate − rejected. */
  readonly admission: number;
  /** By writer: accepted − written − dead-lettered − pending. */
  readonly unaccounted: readonly number[];
  readonly deadLettered: number;
  /** The journal's file, which never shrinks: it tells of space that is not used again. */
  readonly journalFileBytes: number;
}

export interface Evidence {
  readonly baseMs: number;
  readonly obligations: Obligations;
  readonly outputDir: string;
  readonly deadLetterDir: string;
  /** Undefined where no InfluxDB side was configured. */
  readonly sink: SinkStore | undefined;
  /** Lines that the InfluxDB side has refused, as samples. */
  readonly refusedLines: SinkStore | undefined;
  readonly books: Books | undefined;
  readonly rolledBack: RolledBack;
  readonly clockError: ClockError;
  /** When daemons were started, Unix ms, oldest first. */
  readonly startsMs: readonly number[];
  /** Seals that there may have been; each makes one file for each hour that it has rows of. */
  readonly sealsMax: number;
}

/** What rollbacks did to the books, in samples. */
export interface RolledBack {
  /** Accepted, and then forgotten by the journal: the ledger lacks them. */
  readonly forgotten: number;
  /** Of everything that was ever accepted, the most that no visible file may hold. */
  readonly gone: number;
}

export interface Verdict {
  /** One sentence for each thing that is wrong; empty where all is well. */
  readonly findings: readonly string[];
  readonly warehouse: WarehouseFindings;
  readonly sink: SinkFindings | undefined;
  /** The batch to tell the story of. */
  readonly firstFlaw: BatchFlaw | undefined;
}

export async function judge(evidence: Evidence): Promise<Verdict> {
  const { baseMs, obligations, outputDir, deadLetterDir } = evidence;
  const warehouse = await checkWarehouse(outputDir, baseMs, obligations, evidence.clockError);
  const { sink: store, refusedLines: refused } = evidence;
  const sink = store && refused && checkSink(store, refused, deadLetterDir, baseMs, obligations);
  const findings = [
    ...answerFindings(obligations),
    ...warehouseFindings(warehouse),
    ...(sink === undefined ? [] : sinkFindings(sink)),
    ...(evidence.books === undefined ? [] : bookFindings(evidence, evidence.books, warehouse)),
    ...(evidence.books === undefined ? [] : letterFindings(evidence, evidence.books, sink)),
    ...fileFindings(evidence, warehouse),
  ];
  const lost = sink?.firstLost;
  const firstFlaw =
    warehouse.flaws[0] ??
    (lost && {
      ...lost,
      what: 'lost' as const,
      samples: 1,
      ackedMs: obligations.get(lost.node, lost.round)?.ackedMs,
    });
  return { findings, warehouse, sink, firstFlaw };
}

function answerFindings({ wrongAnswers, wrongAnswerCount }: Obligations): string[] {
  const [first] = wrongAnswers;
  if (first === undefined) return [];
  return [
    `${wrongAnswerCount} wrong answers, first: node ${first.node} round ${first.round} ${first.what}`,
  ];
}

function warehouseFindings(warehouse: WarehouseFindings): string[] {
  const inPart = warehouse.flaws.filter(({ what }) => what === 'in part').length;
  return [
    ...complaint(warehouse.lostSamples, 'acknowledged samples are not in the warehouse'),
    ...complaint(warehouse.doubledSamples, 'samples are more than once in the warehouse'),
    ...complaint(warehouse.unknownRows, `rows were never sent: ${warehouse.firstUnknown}`),
    ...complaint(warehouse.mislabelledRows, "rows have another batch's labels or times"),
    ...complaint(
      warehouse.misdatedRows,
      `rows have a received_at that cannot be: ${warehouse.firstMisdated}`,
    ),
    ...complaint(warehouse.unreadable.length, `visible files are bad: ${warehouse.unreadable[0]}`),
    ...complaint(inPart, 'unacknowledged batches are in the warehouse in part'),
  ];
}

function sinkFindings(sink: SinkFindings): string[] {
  return [
    ...complaint(sink.lostSamples, 'acknowledged samples are neither in InfluxDB nor dead letters'),
    ...complaint(sink.unknown, `samples in InfluxDB were never sent: ${sink.firstUnknown}`),
  ];
}

function bookFindings(
  { obligations, rolledBack }: Evidence,
  books: Books,
  warehouse: WarehouseFindings,
): string[] {
  const findings: string[] = [];
  if (books.admission !== 0) {
    findings.push(`received − accepted − duplicate − rejected is ${books.admission}, not 0`);
  }
  if (books.unaccounted.some((samples) => samples !== 0)) {
    findings.push(`accepted − written − dead-lettered − pending is ${books.unaccounted}, not 0`);
  }
  const { forgotten, gone } = rolledBack;
  const most = books.accepted + forgotten;
  if (warehouse.rows > most || warehouse.rows < most - gone) {
    const range = gone === 0 ? `${most}` : `${most - gone} to ${most}`;
    findings.push(`the ledger accepted ${range}, the warehouse has ${warehouse.rows} rows`);
  }
  // A rolled-back journal has forgotten what it has answered.
  if (forgotten === 0 && books.rejected < obligations.rejectedSamples) {
    const answered = obligations.rejectedSamples;
    findings.push(`the ledger rejected ${books.rejected}, answers said ${answered}`);
  }
  return findings;
}

/** A file takes a seal and an hour: of neither may there be more than was allowed. */
function fileFindings(
  { obligations, startsMs, sealsMax }: Evidence,
  { seals, files }: WarehouseFindings,
): string[] {
  const hours = hoursFinding(obligations, startsMs);
  return [
    ...(hours === undefined ? [] : [hours]),
    ...(seals <= sealsMax ? [] : [`${seals} seals, ${sealsMax} would be plenty; ${files} files`]),
  ];
}

function letterFindings(
  { rolledBack }: Evidence,
  books: Books,
  sink: SinkFindings | undefined,
): string[] {
  if (sink === undefined) return [];
  const { onlyDeadLetters, deadLetterSamples } = sink;
  // A rolled-back journal has forgotten some; their files stay.
  const least = rolledBack.forgotten > 0 ? 0 : onlyDeadLetters;
  if (books.deadLettered >= least && books.deadLettered <= deadLetterSamples) return [];
  return [
    `the ledger has ${books.deadLettered} dead letters; files hold ${deadLetterSamples}, ` +
      `of which InfluxDB lacks ${onlyDeadLetters}`,
  ];
}

function complaint(count: number, what: string): string[] {
  return count === 0 ? [] : [`${count} ${what}`];
}
