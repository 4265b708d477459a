/**
 * `journal verify`: reads the whole durable log and says whether it is what it should be.
 */
import { decodeSeriesTable } from '../../codec/series-table.ts';
import { loadConfig } from '../../config/load-config.ts';
import { journalDir } from '../../config/paths.ts';
import { verifyJournal } from '../../journal/lmdb/verify.ts';
import { exitCode } from './exit-codes.ts';
import type { Host } from './host.ts';
import { renderText } from './render-text.ts';

/** Prints what was looked at and every fault; the exit code. Throws OperatingError. */
export async function verifyJournalCommand(
  configPath: string | undefined,
  options: { readonly json?: boolean },
  host: Pick<Host, 'out' | 'environment'>,
): Promise<number> {
  const dir = journalDir(loadConfig(configPath, host.environment));
  const seriesCount = (table: Uint8Array) => decodeSeriesTable(table).series.length;
  const { faults, told, ...looked } = await verifyJournal(dir, { seriesCount });
  const report = { ok: faults === 0, ...looked, faults, told };
  if (options.json === true) host.out(`${JSON.stringify(report, null, 2)}\n`);
  else {
    host.out(renderText({ journal: dir, ...looked, faults }));
    for (const { where, what } of told) host.out(`✗ ${where}: ${what}\n`);
    if (faults > told.length) host.out(`  and ${faults - told.length} more\n`);
    host.out(faults === 0 ? '✓ the journal is sound\n' : '');
  }
  return exitCode(faults === 0 ? 'ok' : 'failed');
}
