/**
 * Agents of earlier builds speak through quiche, and so do collectors of these: both ends must work
 * with quinn at the other one.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { quicheStack } from '../../src/transport/quiche/quiche-endpoint.ts';
import { quinnStack } from '../../src/transport/quinn/quinn-endpoint.ts';
import { AgentBench } from '../helpers/agent-bench.ts';
import { eventually } from '../helpers/eventually.ts';
import { gaugeTable, samplesOf } from '../helpers/sample-batches.ts';

const TABLE = gaugeTable(500);
const NOW_MS = 1_700_000_000_000;
const BATCHES = 200;
const PAIRS = [
  { name: 'a client of an earlier build, a collector of this one', client: quicheStack },
  { name: 'a client of this build, a collector of an earlier one', collector: quicheStack },
];

let bench: AgentBench;
beforeEach(async () => {
  bench = await AgentBench.create();
});
afterEach(() => bench.close());

test.each(PAIRS)('$name: every batch arrives once, over two connections', async (pair) => {
  const { client: clientStack = quinnStack, collector: collectorStack = quinnStack } = pair;
  const stub = await bench.stub({ stack: collectorStack });
  const client = await bench.client(stub.address, {}, { stack: clientStack });
  const sends = Array.from({ length: BATCHES }, (_, index) =>
    client.send(TABLE, samplesOf(TABLE, index, NOW_MS)),
  );
  await eventually('half have arrived', () => stub.received.length > BATCHES / 2);
  stub.dropConnections();
  const results = await Promise.all(sends);
  expect(results.every(({ status }) => status === 'accepted')).toBe(true);
  expect(new Set(stub.sequences).size).toBe(BATCHES);
  expect(stub.connections).toBe(2);
});
