/**
 * The commands that inspect and repair what the daemon keeps: journal, dead letters, warehouse.
 */
import { type Command, Option } from 'commander';
import type { ReplayOptions } from './dead-letters.ts';
import { exitCode } from './exit-codes.ts';
import type { Host } from './host.ts';
import type { ExportOptions } from './journal-commands.ts';
import type { ReportFormat } from './print-report.ts';
import type { BackfillCommandOptions } from './warehouse-commands.ts';

type Report = (code: number) => void;

/** `journal inspect`, `journal verify` and `journal export`. */
export function addJournal(program: Command, host: Host, report: Report): void {
  const journal = program.command('journal').description('look at the journal');
  configured(journal, 'inspect', 'show what the journal holds; the daemon may be running')
    .option('--json', 'print JSON')
    .action(async (configPath: string | undefined, options: ReportFormat) => {
      const { inspectJournalCommand } = await import('./journal-commands.ts');
      await inspectJournalCommand(configPath, options, host);
      report(exitCode('ok'));
    });
  configured(journal, 'verify', 'check every record and its references; the daemon may be running')
    .option('--json', 'print JSON')
    .action(async (configPath: string | undefined, options: ReportFormat) => {
      const { verifyJournalCommand } = await import('./journal-commands.ts');
      report(await verifyJournalCommand(configPath, options, host));
    });
  configured(journal, 'export', 'print records as JSON lines; the daemon may be running')
    .option('--from <seq or time>', 'number or receive time of the first record')
    .option('--to <seq or time>', 'number or receive time of the last record')
    .option('--node <id>', 'only records of this node')
    .action(async (configPath: string | undefined, options: ExportOptions) => {
      const { exportJournalCommand } = await import('./journal-commands.ts');
      report(await exportJournalCommand(configPath, options, host));
    });
}

/** `dead-letter list` and `dead-letter replay`. */
export function addDeadLetter(program: Command, host: Host, report: Report): void {
  const deadLetter = program
    .command('dead-letter')
    .description('look at the lines that InfluxDB refused');
  configured(deadLetter, 'list', 'count dead letters by reason; the daemon may be running')
    .option('--json', 'print JSON')
    .action(async (configPath: string | undefined, options: ReportFormat) => {
      const { listDeadLettersCommand } = await import('./dead-letters.ts');
      listDeadLettersCommand(configPath, options, host);
      report(exitCode('ok'));
    });
  configured(deadLetter, 'replay', 'send them to InfluxDB again; keep what it still refuses')
    .option('--dry-run', 'show what would be sent, and send nothing')
    .option('--json', 'print JSON')
    .action(async (configPath: string | undefined, options: ReplayOptions) => {
      const { replayDeadLettersCommand } = await import('./dead-letters.ts');
      report(await replayDeadLettersCommand(configPath, options, host));
    });
}

/** `warehouse verify` and `warehouse backfill`. */
export function addWarehouse(program: Command, host: Host, report: Report): void {
  const warehouse = program.command('warehouse').description('look at the Parquet files');
  configured(warehouse, 'verify', 'read every file to its last row; the daemon may be running')
    .option('--json', 'print JSON')
    .action(async (configPath: string | undefined, options: ReportFormat) => {
      const { verifyWarehouseCommand } = await import('./warehouse-commands.ts');
      report(await verifyWarehouseCommand(configPath, options, host));
    });
  configured(warehouse, 'backfill', 'write rows of the warehouse to InfluxDB')
    .addOption(
      new Option('--to <sink>', 'the destination; only influxdb')
        .choices(['influxdb'])
        .makeOptionMandatory(),
    )
    .requiredOption('--start <time>', 'first time to write, such as 2025-07-18T20:00:00Z')
    .requiredOption('--end <time>', 'end of the range, not included')
    .option('--json', 'print JSON')
    .action(async (configPath: string | undefined, options: BackfillCommandOptions) => {
      const { backfillCommand } = await import('./warehouse-commands.ts');
      report(await backfillCommand(configPath, options, host));
    });
}

/** A subcommand that takes the configuration file. */
function configured(parent: Command, name: string, description: string): Command {
  return parent
    .command(name)
    .description(description)
    .argument('[config.yaml]', 'configuration file; without it, the defaults');
}
