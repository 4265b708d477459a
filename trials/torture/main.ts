/**
 * `npm run torture`: faults against the real daemon, and a judge of what is left. See `runTorture`.
 */
import { Command, InvalidArgumentError, Option } from 'commander';
import { TRANSPORT_CHOICES } from '../../src/client/transport-choice.ts';
import { errorMessage } from '../../src/lib/errors.ts';
import { FAMILIES } from './fault-plan.ts';
import { parseFamilies, type TortureOptions } from './options.ts';
import { renderJson, renderStory, renderTable } from './report.ts';
import { runTorture } from './torture.ts';

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError('must be a number');
  return value;
}

function families(text: string) {
  try {
    return parseFamilies(text);
  } catch (error) {
    throw new InvalidArgumentError(errorMessage(error));
  }
}

const command = new Command('torture')
  .description('Torments the collector and checks that no promise is broken.')
  .option('--seed <n>', 'which faults come', wholeNumber, 1)
  .option('--seconds <n>', 'how long faults come', wholeNumber, 60)
  .option('--kills <n>', 'faults of the process, then it ends', wholeNumber)
  .option('--faults <names>', `${FAMILIES.join(', ')} or all`, families, parseFamilies('all'))
  .option('--load <n>', 'batches per second, as a multiple of about 120', wholeNumber, 1)
  .option('--only <text>', 'only faults whose name holds this', '')
  .addOption(
    new Option('--transport <kind>', 'what the agents send over')
      .choices([...TRANSPORT_CHOICES])
      .default('auto'),
  )
  .option('--json', 'end with one line of JSON', false)
  .option('--keep', 'leave the directory in place', false)
  .option('--quiet', 'no line for each fault', false);

const { faults, quiet, ...rest } = command.parse().opts();
const options = { kills: undefined, ...rest, families: faults } as TortureOptions;
const write = (text: string) => process.stdout.write(text);

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, () => interrupted.abort(new Error('interrupted')));

try {
  const print = quiet === true ? () => {} : write;
  const result = await runTorture(options, { print, interrupted: interrupted.signal });
  write(renderTable(result));
  if (result.findings.length > 0) write(renderStory(options, result));
  if (options.keep) write(`  kept: ${result.dir}\n`);
  if (options.json) write(`${renderJson(options, result)}\n`);
  process.exitCode = result.findings.length === 0 ? 0 : 1;
} catch (error) {
  process.stderr.write(`torture failed: ${errorMessage(error)}\n`);
  process.exitCode = 1;
}
// Work that was given up may still wait for what is gone.
if (interrupted.signal.aborted) process.exit(1);
