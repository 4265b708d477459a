/**
 * `npm run flood`: attacks on a running daemon, one after the other, as rows of a table.
 */
import { Command, InvalidArgumentError } from 'commander';
import { ATTACKS, attackNamed } from './attacks.ts';
import { type FloodReport, runFlood } from './run-flood.ts';

function seconds(value: string): number {
  const number = Number(value);
  if (!(number > 0 && number <= 600)) throw new InvalidArgumentError('must be from 0 to 600');
  return number;
}

const options = new Command('flood')
  .description('Attacks a real daemon and shows what it cost the daemon and a neighbour.')
  .option('--attack <name>', `all, or one of: ${ATTACKS.map(({ name }) => name).join(', ')}`, 'all')
  .option('--seconds <n>', 'how long each attack lasts', seconds, 10)
  .option('--program <main.js>', 'attack the daemon of another build')
  .option('--json', 'a line of JSON for each attack instead of the table', false)
  .parse()
  .opts<{ attack: string; seconds: number; program?: string; json: boolean }>();

const { program } = options;
const attacks = options.attack === 'all' ? ATTACKS : [attackNamed(options.attack)];
if (!options.json) process.stdout.write(tableHead());
for (const attack of attacks) {
  if (attack.isPossible?.() === false) continue;
  const timing = {
    quietSeconds: 3,
    seconds: options.seconds,
    settleSeconds: 3,
    ...(program && { program }),
  };
  const report = await runFlood(attack, timing);
  const { metrics: _, ...figures } = report;
  process.stdout.write(`${options.json ? JSON.stringify(figures) : row(report)}\n`);
  const unanswered = report.attacked.batches - report.attacked.accepted;
  const { influxdb, parquet } = report.arrivals.attacked;
  if (unanswered > 0 || influxdb.missing > 0 || parquet.missing > 0 || report.errors.length > 0)
    process.exitCode = 1;
  for (const line of report.errors) process.stderr.write(`${line}\n`);
}

function tableHead(): string {
  const columns = [
    'Attack',
    'What it did',
    'Daemon CPU (s of s)',
    'Memory before, peak, after (MB)',
    'Neighbour p50 / p99 / max alone (ms)',
    'under attack (ms)',
    'Acknowledged',
    'Its points in InfluxDB at the latest, alone, under attack (s)',
    'in the warehouse (s)',
    'Newcomers greeted',
    'Health probes',
  ];
  return `| ${columns.join(' | ')} |\n|${columns.map(() => '---').join('|')}|\n`;
}

function row(report: FloodReport): string {
  const { attack, done, memory, quiet, attacked, newcomers, probes } = report;
  const { cpuSeconds, attackSeconds, arrivals } = report;
  const megabytes = [memory.before, memory.peak, memory.after].map((one) => Math.round(one / 1e6));
  const latency = ({ p50Ms, p99Ms, maxMs }: FloodReport['quiet']) =>
    [p50Ms, p99Ms, maxMs].map((ms) => ms.toFixed(ms < 10 ? 1 : 0)).join(' / ');
  const did = Object.entries(done).map(([what, count]) => `${count.toLocaleString('en')} ${what}`);
  const latest = (where: 'influxdb' | 'parquet') =>
    [arrivals.quiet, arrivals.attacked]
      .map(({ [where]: { maxMs, missing } }) =>
        missing === 0 ? (maxMs / 1000).toFixed(1) : `${missing} missing`,
      )
      .join(', ');
  const cells = [
    attack,
    did.join(', '),
    `${cpuSeconds.toFixed(1)} of ${attackSeconds.toFixed(1)}`,
    megabytes.join(', '),
    latency(quiet),
    latency(attacked),
    `${attacked.accepted} of ${attacked.batches}`,
    latest('influxdb'),
    latest('parquet'),
    `${newcomers.greeted} of ${newcomers.tried}`,
    `${probes.answered} of ${probes.sent}`,
  ];
  return `| ${cells.join(' | ')} |`;
}
