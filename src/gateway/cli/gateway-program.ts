/**
 * The command line of `telemetry-gateway`.
 */
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import type { Environment } from '../../config/environment.ts';
import { loadConfig } from '../../config/load-config.ts';
import type { Config } from '../../config/schema.ts';
import { systemClock } from '../../lib/clock.ts';
import { errorCode, errorMessage, OperatingError } from '../../lib/errors.ts';
import { programVersion } from '../../lib/program-version.ts';
import { withSeedVariables } from './seed-variables.ts';
import type { NewKey } from './keys-command.ts';

const NAME = 'telemetry-gateway';
const EXIT_OK = 0;
const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const EXIT_CONFIG = 3;

/** What the command line needs of the process. */
export interface GatewayHost {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly environment: Environment;
  /** Runs the gateway until a signal has stopped it. */
  readonly run: (config: Config) => Promise<void>;
}

/** Runs one command line (without the names of node and script) and returns its exit code. */
export async function runGatewayCommand(
  words: readonly string[],
  host: GatewayHost,
): Promise<number> {
  try {
    await createGatewayProgram(host).parseAsync(words, { from: 'user' });
    return EXIT_OK;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
    if (!(error instanceof OperatingError)) throw error;
    host.err(`${NAME}: ${errorMessage(error)}\n`);
    return errorCode(error).startsWith('CONFIG_') ? EXIT_CONFIG : EXIT_FAILED;
  }
}

/** The whole command line. */
export function createGatewayProgram(host: GatewayHost): Command {
  const program = new Command(NAME)
    .description(
      'Answers questions over what the collector has acknowledged: REST, WebSocket, SSE.',
    )
    .version(programVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .configureOutput({ writeOut: host.out, writeErr: host.err })
    .showHelpAfterError(`Type ${NAME} --help for the commands and options.`)
    .exitOverride()
    .argument('[config.yaml]', "the collector's configuration file; without it, the defaults")
    .addHelpText(
      'after',
      '\nExit codes: 0 done, 1 operating error, 2 wrong usage, 3 bad configuration.',
    );
  program.action((file: string | undefined) => host.run(load(file, host)));
  program
    .command('check-config')
    .description('check the configuration and the keys file, without starting')
    .argument('[config.yaml]', 'configuration file; without it, the defaults')
    .action(async (file: string | undefined) => {
      const { gateway } = load(file, host);
      const { readKeysFile } = await import('../access/keys-file.ts');
      const keys = gateway.access === 'keys' ? readKeysFile(gateway.keys_file).length : 0;
      host.out(`ok: ${gateway.access} access on ${gateway.listen_addr}, ${keys} keys\n`);
    });
  addKeys(program, host);
  return program;
}

interface FileOption {
  readonly config?: string;
}

function addKeys(program: Command, host: GatewayHost): void {
  const keys = program.command('keys').description('API keys of gateway.keys_file');
  const withConfig = (command: Command) =>
    command.option('-c, --config <config.yaml>', 'configuration file; without it, the defaults');
  const fileOf = ({ config }: FileOption) => load(config, host).gateway.keys_file;

  withConfig(keys.command('create'))
    .description('make a key and print it; it cannot be printed again')
    .requiredOption('--name <name>', 'who uses it')
    .option('--role <role>', 'reader, writer or admin', 'reader')
    .option('--namespace <name>', 'the key sees this namespace only; repeatable', collect, [])
    .option('--node <name>', 'the key sees this node only; repeatable', collect, [])
    .option('--days <number>', 'days that it is valid; without it, for ever', positiveNumber)
    .option('--requests-per-minute <number>', 'wins over gateway.rate_limit', positiveNumber)
    .action(async (options: NewKey & FileOption) => {
      const { createKey } = await import('./keys-command.ts');
      host.out(`${await createKey(fileOf(options), options, systemClock.nowMs())}\n`);
    });
  withConfig(keys.command('list'))
    .description('list the keys, without their secrets')
    .action(async (options: FileOption) => {
      const { listKeys } = await import('./keys-command.ts');
      host.out(listKeys(fileOf(options)));
    });
  withConfig(keys.command('revoke'))
    .description('revoke a key; its sessions and streams end')
    .argument('<id>', 'the id, as list shows it')
    .action(async (id: string, options: FileOption) => {
      const { revokeKey } = await import('./keys-command.ts');
      await revokeKey(fileOf(options), id);
      host.out(`revoked ${id}\n`);
    });
}

function load(file: string | undefined, { environment }: GatewayHost): Config {
  return withSeedVariables(loadConfig(file, environment), environment);
}

function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}

function positiveNumber(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0 && value <= 10_000_000) return value;
  throw new InvalidArgumentError('It must be a number over 0.');
}
