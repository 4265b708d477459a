/**
 * The command line: the commands, their options, and suggestions for mistyped ones. Every command
 * loads only its own code, so that it starts fast.
 */
import fs from 'node:fs';
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { nearestName } from '../../config/nearest-name.ts';
import { errorCode, errorMessage, OperatingError } from '../../lib/errors.ts';
import { programVersion } from '../../lib/program-version.ts';
import { EXIT_CODES, exitCode } from './exit-codes.ts';
import type { CheckConfigOptions } from './check-config.ts';
import type { Host } from './host.ts';
import type { MakeCertificatesOptions } from './make-certificates.ts';
import { addDeadLetter, addJournal, addWarehouse } from './repair-commands.ts';
import type { ConformanceOptions } from './run-conformance.ts';

const NAME = 'telemetry-collector';

/** Runs one command line (without the names of node and script) and returns its exit code. */
export async function runCommandLine(words: readonly string[], host: Host): Promise<number> {
  let code = exitCode('ok');
  const program = createProgram(host, (result) => {
    code = result;
  });
  try {
    await program.parseAsync(words, { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitCode('usage');
    if (!(error instanceof OperatingError)) throw error;
    host.err(`${NAME}: ${errorMessage(error)}\n`);
    return exitCode(errorCode(error).startsWith('CONFIG_') ? 'config' : 'failed');
  }
}

type Report = (code: number) => void;

/** The whole command line; `report` takes the exit code of the command that ran. */
export function createProgram(host: Host, report: Report): Command {
  const program = new Command(NAME)
    .description('Receives telemetry of GPU nodes over QUIC, writes it to InfluxDB and Parquet.')
    .version(programVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .configureOutput({ writeOut: host.out, writeErr: host.err })
    .showHelpAfterError(`Type ${NAME} --help for the commands and options.`)
    .exitOverride()
    .argument('[config.yaml]', 'configuration file; without it, the defaults')
    .helpCommand('help [command]', 'show the help of a command')
    .addHelpText('after', exitCodeHelp());
  program.action(async (configPath: string | undefined) => {
    suggestCommand(program, configPath);
    if (program.args.length > 1) {
      program.error(`error: one configuration file at most, not also '${program.args[1]}'`);
    }
    const { runDaemon } = await import('./run-daemon.ts');
    report(await runDaemon(configPath, host));
  });
  addCheckConfig(program, host, report);
  addCerts(program, host, report);
  addConformance(program, host, report);
  addJournal(program, host, report);
  addDeadLetter(program, host, report);
  addWarehouse(program, host, report);
  // After the commands, which would inherit it: only the root tells a mistyped command itself.
  return program.allowExcessArguments();
}

function exitCodeHelp(): string {
  const rows = EXIT_CODES.map(({ code, meaning }) => `  ${String(code).padEnd(5)}${meaning}`);
  return [
    '',
    'Without a command, the daemon runs. To use a configuration file with the name of a command,',
    'write ./NAME.',
    '',
    'Exit codes:',
    ...rows,
  ].join('\n');
}

/** A word that is no file but nearly a command was meant as a command. */
function suggestCommand(program: Command, word: string | undefined): void {
  if (word === undefined || fs.existsSync(word)) return;
  const names = [...program.commands.map((command) => command.name()), 'help'];
  const meant = /^[a-z-]+$/i.test(word) ? nearestName(word, names) : undefined;
  const hint = meant === undefined ? '' : `\n(Did you mean ${NAME} ${meant}?)`;
  program.error(`error: there is no command or configuration file '${word}'${hint}`);
}

function addCheckConfig(program: Command, host: Host, report: Report): void {
  program
    .command('check-config')
    .description('check a configuration and everything it refers to, without starting the daemon')
    .argument('[config.yaml]', 'configuration file; without it, the defaults')
    .option('--offline', 'skip the checks that need the network')
    .option('--json', 'print {ok, checks: [{check, status, message, key}]}')
    .action(async (configPath: string | undefined, options: CheckConfigOptions) => {
      const { checkConfig } = await import('./check-config.ts');
      report(await checkConfig(configPath, options, host));
    });
}

function addCerts(program: Command, host: Host, report: Report): void {
  program
    .command('certs')
    .description('make a development authority, a server certificate and node certificates')
    .requiredOption('-o, --out <directory>', 'directory for the files; created if missing')
    .option('--server-name <name>', 'name or address of the collector; repeatable', collect, [])
    .option('--node <id>', 'make a certificate for this node; repeatable', collect, [])
    .option('--days <number>', 'days that the certificates are valid', positiveNumber, 365)
    .option('--force', 'replace existing files, including the authority')
    .option('--bad', 'also make certificates that must be refused, in bad/')
    .action(async (options: MakeCertificatesOptions) => {
      const { makeCertificates } = await import('./make-certificates.ts');
      await makeCertificates(options, host.out);
      report(exitCode('ok'));
    });
}

function addConformance(program: Command, host: Host, report: Report): void {
  program
    .command('conformance')
    .description('check a client against the protocol, with a stand-in collector that misbehaves')
    .argument('[command...]', 'the client, after --; without it, one that you start yourself')
    .option('--listen <address>', 'where the stand-in collector listens', '127.0.0.1:0')
    .option(
      '--step-seconds <number>',
      'seconds that a step waits for the client',
      positiveNumber,
      30,
    )
    .option('--json', 'print [{rule, text, verdict, why}]')
    .action(async (command: readonly string[], options: ConformanceOptions) => {
      const { runConformance } = await import('./run-conformance.ts');
      report(await runConformance(command, options, host));
    });
}

function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}

function positiveNumber(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0 && value <= 36_500) return value;
  throw new InvalidArgumentError('It must be a number of days over 0.');
}
