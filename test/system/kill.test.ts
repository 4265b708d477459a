import { afterEach, expect, test } from 'vitest';
import type { SendResult, TelemetryClient } from '../../src/client/client.ts';
import { sleep, systemClock } from '../../src/lib/clock.ts';
import { countedSamples } from '../helpers/counted-samples.ts';
import { Scenario } from '../helpers/scenario.ts';

const SERIES = 40;
const NODES = ['gpu-001', 'gpu-002', 'gpu-003', 'gpu-004'];
const KILLS = 3;
const BATCHES_BETWEEN_KILLS = 150;

let scenario: Scenario;
afterEach(() => scenario.close());

/**
 * Sends batches without pause until told to stop; what it knows afterwards is what it was promised.
 */
class Sender {
  readonly acked = new Set<number>();
  sent = 0;
  #stopping = false;
  readonly #done: Promise<void>;

  constructor(client: TelemetryClient, startMs: number) {
    this.#done = this.#run(client, startMs);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#done;
  }

  async #run(client: TelemetryClient, startMs: number): Promise<void> {
    const samples = countedSamples(SERIES, startMs);
    const results: Promise<void>[] = [];
    while (!this.#stopping) {
      const timestampMs = startMs + this.sent;
      this.sent += 1;
      results.push(
        client.send(samples.table, samples.next()).then((r) => this.#keep(r, timestampMs)),
      );
      await sleep(systemClock, 2);
    }
    await Promise.all(results);
  }

  #keep(result: SendResult, timestampMs: number): void {
    if (result.status === 'accepted' || result.status === 'duplicate') this.acked.add(timestampMs);
  }
}

test('after SIGKILL and restart every acknowledged sample is in the warehouse exactly once', async () => {
  scenario = await Scenario.open({ parquet: { rotation_interval_secs: 2 } });
  const startMs = systemClock.nowMs() - 600_000;
  let daemon = await scenario.startDaemon();
  const clients = await Promise.all(NODES.map((node) => scenario.openClient(node)));
  const senders = clients.map((client) => new Sender(client, startMs));

  for (let kill = 1; kill <= KILLS; kill += 1) {
    const goal = kill * BATCHES_BETWEEN_KILLS;
    await daemon.waitFor(`${goal} acknowledged batches of each node`, () =>
      senders.every((sender) => sender.acked.size >= goal),
    );
    await daemon.kill();
    daemon = await scenario.startDaemon();
  }
  const goal = (KILLS + 1) * BATCHES_BETWEEN_KILLS;
  await daemon.waitFor('every node to send on', () => senders.every((s) => s.acked.size >= goal));
  await Promise.all(senders.map((sender) => sender.stop()));
  expect((await daemon.metrics()).ledger(['parquet'])).toMatchObject({
    admission: 0,
    unaccounted: [0],
  });
  expect(await daemon.stop()).toEqual({ code: 0, signal: null });

  const rows = await scenario.warehouse.rows(`
    SELECT node_id AS node, epoch_ms(ts)::DOUBLE AS ms, count(*)::INT AS rows,
           count(DISTINCT metric)::INT AS metrics, sum(value)::DOUBLE AS total
    FROM m GROUP BY ALL`);
  for (const [index, node] of NODES.entries()) {
    const sender = senders[index] as Sender;
    const stored = rows.filter((row) => row.node === node);
    const storedTimes = new Set(stored.map((row) => Number(row.ms)));
    expect([...sender.acked].filter((ms) => !storedTimes.has(ms))).toEqual([]);
    for (const row of stored) {
      const round = Number(row.ms) - startMs;
      const total = SERIES * (round * SERIES) + (SERIES * (SERIES - 1)) / 2;
      expect(row).toMatchObject({ rows: SERIES, metrics: SERIES, total });
      expect(round).toBeLessThan(sender.sent);
    }
  }
});
