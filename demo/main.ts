/**
 * `npm run demo`: the whole product in twenty seconds. See `runDemo` for what happens.
 */
import { Command, InvalidArgumentError, Option } from 'commander';
import { TRANSPORT_CHOICES, type TransportChoice } from '../src/client/transport-choice.ts';
import { errorMessage } from '../src/lib/errors.ts';
import { runDemo } from './demo.ts';

function positiveNumber(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 3600)) throw new InvalidArgumentError('must be between 0 and 3600');
  return value;
}

const command = new Command('demo')
  .description('Runs the collector with a simulated GPU fleet and checks that the books balance.')
  .option('--seconds <n>', 'how long the fleet sends', positiveNumber, 20)
  .option('--nodes <n>', 'simulated nodes', positiveNumber, 20)
  .option('--gpus <n>', 'GPUs per node', positiveNumber, 8)
  .addOption(
    new Option('--transport <kind>', 'what the fleet sends over')
      .choices([...TRANSPORT_CHOICES])
      .default('quic'),
  )
  .option('--json', 'end with one line of JSON', false)
  .option('--keep', 'keep the data and leave a collector running on it', false);

const options = command.parse().opts<{
  seconds: number;
  nodes: number;
  gpus: number;
  transport: TransportChoice;
  json: boolean;
  keep: boolean;
}>();

try {
  process.exitCode = await runDemo(options, (text) => process.stdout.write(text));
} catch (error) {
  process.stderr.write(`demo failed: ${errorMessage(error)}\n`);
  process.exitCode = 1;
}
