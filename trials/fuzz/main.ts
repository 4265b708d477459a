/**
 * `npm run fuzz`: damaged inputs for every parser that strangers or files can reach.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { errorMessage } from '../../src/lib/errors.ts';
import { type Finding, type FuzzReport, inputOf, runFuzz } from './run-fuzz.ts';
import { TARGETS } from './targets.ts';

interface Options {
  readonly target: string;
  readonly cases: number;
  readonly seed: number;
  readonly from: number;
  readonly save?: string;
  readonly print: boolean;
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError('a whole number');
  return value;
}

const names = TARGETS.map(({ name }) => name);
const options = new Command('fuzz')
  .description('Feeds damaged inputs to the parsers; ends with 1 when one of them minds.')
  .option('--target <name>', `all, or one of: ${names.join(', ')}`, 'all')
  .option('--cases <n>', 'cases of each target', wholeNumber, 100_000)
  .option('--seed <n>', 'same seed, same cases', wholeNumber, 1)
  .option('--from <n>', 'number of the first case', wholeNumber, 0)
  .option('--save <dir>', 'write the inputs of findings to this directory, by target')
  .option('--print', 'print the input of the first case instead of running it', false)
  .parse()
  .opts<Options>();

const chosen = TARGETS.filter(({ name }) => options.target === 'all' || options.target === name);
if (chosen.length === 0) {
  process.stderr.write(`no target is called ${options.target}; there are: ${names.join(', ')}\n`);
  process.exitCode = 2;
}
for (const { make } of chosen) {
  const target = await make();
  try {
    if (options.print) process.stdout.write(inputOf(target, options.seed, options.from));
    else report(await runFuzz(target, options), target.what);
  } finally {
    await target.close?.();
  }
}

function report(done: FuzzReport, what: string): void {
  const figures = [
    `${done.cases} cases in ${done.seconds.toFixed(1)} s`,
    `slowest ${done.slowestMs.toFixed(0)} ms (case ${done.slowestCase})`,
    `memory ${(done.grownBytes / 1e6).toFixed(1)} MB`,
    `${done.findings.length} findings`,
  ];
  process.stdout.write(`${done.target.padEnd(20)} ${figures.join(', ')}  # ${what}\n`);
  for (const finding of done.findings) reportFinding(done.target, finding);
  if (done.findings.length > 0) process.exitCode = 1;
}

function reportFinding(target: string, { caseNumber, input, error }: Finding): void {
  const where = caseNumber === undefined ? 'over all cases' : `case ${caseNumber}`;
  const stack = error instanceof Error ? (error.stack ?? error.message) : errorMessage(error);
  process.stdout.write(`  ${where}, seed ${options.seed}: ${stack}\n`);
  if (options.save === undefined || caseNumber === undefined) return;
  const folder = path.join(options.save, target);
  fs.mkdirSync(folder, { recursive: true });
  const name = createHash('sha256').update(input).digest('hex').slice(0, 16);
  fs.writeFileSync(path.join(folder, `${name}.bin`), input);
}
