/**
 * The process of the agent that crashes. Rounds are the sequences of its one epoch, so that after a
 * crash a number that is used again carries the same samples.
 */
import { pino } from 'pino';
import { TelemetryClient } from '../../src/client/client.ts';
import { DiskSpool } from '../../src/client/disk-spool.ts';
import { sleep, systemClock } from '../../src/lib/clock.ts';
import { nodeName, tortureBatch, tortureTable } from './samples.ts';
import type { FromSpoolAgent, SpoolAgentTask } from './spool-agent-messages.ts';
import { IMPATIENT } from './torture-agent.ts';

const SPOOL_BYTES = 64 * 1024 * 1024;
const WAITING_MAX = 60;
const DRAIN_DEADLINE_MS = 600_000;

const task = JSON.parse(process.argv[2] ?? '') as SpoolAgentTask;
const nodeId = nodeName(task.node);
const draining = new AbortController();
process.on('message', () => draining.abort());
process.on('disconnect', () => process.exit(0));

let round = await lookIntoSpool();
const client = await TelemetryClient.open(
  {
    remote: task.remote,
    serverName: 'localhost',
    credentials: task.credentials,
    nodeId,
    spool: { maxBytes: SPOOL_BYTES, dir: task.spoolDir },
    ...IMPATIENT,
  },
  { clock: systemClock, logger: pino({ enabled: false }) },
);
const table = tortureTable();
while (!draining.signal.aborted) {
  if (client.stats.pendingBatches < WAITING_MAX) {
    send(round);
    round += 1;
  }
  await sleep(systemClock, task.intervalMs, draining.signal);
}
if (await client.drain(DRAIN_DEADLINE_MS)) tell({ type: 'drained' });

/** Tells what lies in the spool, and returns the sequence that comes next. */
async function lookIntoSpool(): Promise<number> {
  const spool = await DiskSpool.open({
    dir: task.spoolDir,
    maxBytes: SPOOL_BYTES,
    newEpoch: systemClock.nowMs(),
    nodeId,
  });
  tell({ type: 'recovered', rounds: spool.recovered.map(({ sequence }) => sequence) });
  const { nextSequence } = spool;
  await spool.close();
  return nextSequence;
}

function send(sequence: number): void {
  tell({ type: 'sent', round: sequence });
  const samples = tortureBatch(task.baseMs, task.node, sequence, false);
  void client.send(table, samples).then((result) => {
    if (!('ack' in result)) return;
    const { status, accepted, rejected, message } = result.ack;
    tell({ type: 'answered', round: sequence, ack: { status, accepted, rejected, message } });
  });
}

function tell(message: FromSpoolAgent): void {
  process.send?.(message);
}
