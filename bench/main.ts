/**
 * `npm run bench`: what the daemon can do, against what was promised. Without a name everything
 * runs, one benchmark after the other.
 */
import { Command, InvalidArgumentError } from 'commander';
import { errorMessage } from '../src/lib/errors.ts';
import { packageFile } from '../src/lib/package-root.ts';
import type { Benchmark } from './benchmark.ts';
import { connections } from './connections.ts';
import { type Measurement, medians, passes } from './figures.ts';
import { influx } from './influx.ts';
import { ingest } from './ingest.ts';
import { latency } from './latency.ts';
import { parquet } from './parquet.ts';
import { peer } from './peer.ts';
import { profile } from './profile.ts';
import { recovery } from './recovery.ts';
import { appendResults, conditions, jsonLine, tableOf } from './report.ts';
import { scaling } from './scaling.ts';
import { transport } from './transport.ts';

const BENCHMARKS: readonly Benchmark[] = [
  ingest,
  latency,
  connections,
  parquet,
  influx,
  recovery,
  peer,
  profile,
  scaling,
  transport,
];

interface Options {
  readonly seconds?: number;
  readonly runs?: number;
  readonly json: boolean;
  readonly append: boolean;
}

const command = new Command('bench')
  .description('Measures the daemon against its promises.')
  .argument('[name]', `one of ${BENCHMARKS.map(({ name }) => name).join(', ')}; default: all`)
  .option('--seconds <n>', 'length of one run', positive)
  .option('--runs <n>', 'runs of which the median counts', positive)
  .option('--json', 'print one line of JSON for each figure', false)
  .option('--no-append', 'leave bench/RESULTS.md as it is');
command.parse();

try {
  await runAll(chosen(command.args[0]), command.opts<Options>());
} catch (error) {
  process.stderr.write(`bench failed: ${errorMessage(error)}\n`);
  // Children that are left may keep pipes open.
  process.exit(1);
}

async function runAll(benchmarks: readonly Benchmark[], options: Options): Promise<void> {
  for (const benchmark of benchmarks) {
    const where = conditions();
    const at = new Date();
    const say = (text: string) => {
      if (!options.json) process.stdout.write(`  ${text}\n`);
    };
    if (!options.json) process.stdout.write(`\n${benchmark.name}: ${benchmark.promise}\n`);
    say(where);
    const runs: (readonly Measurement[])[] = [];
    for (let run = 0; run < (options.runs ?? benchmark.runs); run += 1) {
      const { seconds } = options;
      runs.push(
        await benchmark.measure({
          seconds,
          picturesDir: options.append ? packageFile('bench') : undefined,
          say,
        }),
      );
    }
    const figures = medians(benchmark.name, runs);
    if (options.append) appendResults(benchmark, figures, where, at);
    const lines = options.json ? `${figures.map(jsonLine).join('\n')}\n` : `\n${tableOf(figures)}`;
    process.stdout.write(lines);
    const missed = figures.filter((figure) => passes(figure) === false).length;
    if (missed > 0) say(`${missed} of the bars: falls short`);
  }
}

function chosen(name: string | undefined): readonly Benchmark[] {
  if (name === undefined) return BENCHMARKS;
  const found = BENCHMARKS.filter((benchmark) => benchmark.name === name);
  if (found.length === 0) throw new Error(`there is no benchmark called ${name}`);
  return found;
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 86_400)) throw new InvalidArgumentError('must be above 0');
  return value;
}
