/**
 * `journal inspect`: what the durable log holds, without disturbing a running daemon.
 */
import { loadConfig } from '../../config/load-config.ts';
import { journalDir } from '../../config/paths.ts';
import { inspectJournal } from '../../journal/lmdb/inspect.ts';
import type { Host } from './host.ts';
import { renderText } from './render-text.ts';

/** Prints the state of the configured journal. Throws OperatingError where it cannot be read. */
export async function inspectJournalCommand(
  configPath: string | undefined,
  options: { readonly json?: boolean },
  host: Pick<Host, 'out' | 'environment'>,
): Promise<void> {
  const directory = journalDir(loadConfig(configPath, host.environment));
  const report = await inspectJournal(directory);
  host.out(
    options.json === true ? `${JSON.stringify(report, null, 2)}\n` : renderText({ ...report }),
  );
}
