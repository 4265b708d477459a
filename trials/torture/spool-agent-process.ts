/**
 * The process of the agent that crashes. Each life has an epoch and rounds of its own, so that the
 * numbers of a batch that an earlier life left in the spool say which samples it holds.
 */
import { pino } from 'pino';
import { TelemetryClient } from '../../src/client/client.ts';
import { DiskSpool } from '../../src/client/disk-spool.ts';
import { stacksFor } from '../../src/client/transport-choice.ts';
import { sleep, systemClock } from '../../src/lib/clock.ts';
import { quinnStack } from '../../src/transport/quinn/quinn-endpoint.ts';
import { tlsStack } from '../../src/transport/tls/tls-endpoint.ts';
import { nodeName, PLAIN, tortureBatch, tortureTable } from './samples.ts';
import type { FromSpoolAgent, SpoolAgentLife, SpoolAgentTask } from './spool-agent-messages.ts';
import { IMPATIENT } from './torture-agent.ts';

const SPOOL_BYTES = 64 * 1024 * 1024;
const WAITING_MAX = 60;
const DRAIN_DEADLINE_MS = 600_000;

const task = JSON.parse(process.argv[2] ?? '') as SpoolAgentTask & SpoolAgentLife;
const nodeId = nodeName(task.node);
const deps = {
  clock: systemClock,
  logger: pino({ enabled: false }),
  ...stacksFor(task.transport, { quic: quinnStack, tls: tlsStack }),
};
const draining = new AbortController();
process.on('message', () => draining.abort());
process.on('disconnect', () => process.exit(0));

await lookIntoSpool();
let round = task.firstRound;
const client = await TelemetryClient.open(
  {
    remote: task.remote,
    serverName: 'localhost',
    credentials: task.credentials,
    nodeId,
    epoch: task.epoch,
    spool: { maxBytes: SPOOL_BYTES, dir: task.spoolDir },
    ...IMPATIENT,
  },
  deps,
);
const { table, order } = tortureTable();
while (!draining.signal.aborted) {
  if (client.stats.pendingBatches < WAITING_MAX) {
    send(round);
    round += 1;
  }
  await sleep(systemClock, task.intervalMs, draining.signal);
}
if (await client.drain(DRAIN_DEADLINE_MS)) tell({ type: 'drained' });

/** Tells what earlier lives left in the spool. */
async function lookIntoSpool(): Promise<void> {
  const { spoolDir: dir, epoch: newEpoch } = task;
  const spool = await DiskSpool.open({ dir, maxBytes: SPOOL_BYTES, newEpoch, nodeId }, deps);
  const batches = spool.recovered.map(({ epoch, sequence }) => ({ epoch, sequence }));
  tell({ type: 'recovered', batches });
  await spool.close();
}

function send(sentRound: number): void {
  tell({ type: 'sent', round: sentRound, atMs: systemClock.nowMs() });
  const samples = tortureBatch(task.baseMs, { node: task.node, round: sentRound }, PLAIN, order);
  void client.send(table, samples).then((result) => {
    if (!('ack' in result)) return;
    const { status, accepted, rejected, message } = result.ack;
    const ack = { status, accepted, rejected, message };
    tell({ type: 'answered', round: sentRound, ack, atMs: systemClock.nowMs() });
  });
}

function tell(message: FromSpoolAgent): void {
  process.send?.(message);
}
