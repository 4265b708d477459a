/**
 * How commands print what they found: JSON for a program, text for a person.
 */
import { exitCode } from './exit-codes.ts';
import type { Host } from './host.ts';
import { renderText } from './render-text.ts';

/** The option that every reporting command takes. */
export interface ReportFormat {
  readonly json?: boolean;
}

/** Prints `report`. */
export function printReport(
  report: object,
  { json }: ReportFormat,
  { out }: Pick<Host, 'out'>,
): void {
  out(json === true ? `${JSON.stringify(report, null, 2)}\n` : renderText({ ...report }));
}

/** What a verification says to a person. */
export interface Verdict {
  /** What was verified, such as `journal`. */
  readonly subject: string;
  readonly place: string;
  /** What was looked at, as names and numbers. */
  readonly looked: object;
  readonly faults: number;
  /** As many of the faults as are shown. */
  readonly shown: readonly { readonly where: string; readonly what: string }[];
}

/** Prints `verdict`, or `report` where JSON is asked for; the exit code. */
export function printVerdict(
  { subject, place, looked, faults, shown }: Verdict,
  report: object,
  format: ReportFormat,
  host: Pick<Host, 'out'>,
): number {
  const ok = faults === 0;
  if (format.json === true) printReport({ ok, ...report }, format, host);
  else {
    printReport({ [subject]: place, ...looked, faults }, format, host);
    for (const { where, what } of shown) host.out(`✗ ${where}: ${what}\n`);
    if (faults > shown.length) host.out(`  and ${faults - shown.length} more\n`);
    if (ok) host.out(`✓ the ${subject} is sound\n`);
  }
  return exitCode(ok ? 'ok' : 'failed');
}
