import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { RoomMetrics } from '../../src/observability/metrics.ts';

function room() {
  const registry = new Registry();
  const page = async () =>
    (await registry.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return { metrics: new RoomMetrics(registry, 'room_'), page };
}

test('gauges and totals show what their owner holds at each scrape', async () => {
  const { metrics, page } = room();
  const state = { size: 1, sent: 5 };
  metrics.gauge('size', 'Size.', () => state.size);
  metrics.total('sent_total', 'Sent.', () => state.sent);
  expect(await page()).toEqual(['room_size 1', 'room_sent_total 5']);
  Object.assign(state, { size: 0, sent: 7 });
  expect(await page()).toEqual(['room_size 0', 'room_sent_total 7']);
});

test('a label that is no longer named disappears', async () => {
  const { metrics, page } = room();
  const nodes = new Map([
    ['a', 1],
    ['b', 2],
  ]);
  const read = () => [...nodes].map(([node, value]) => [{ node }, value] as const);
  metrics.gaugeBy(['node'], 'depth', 'Depth.', read);
  metrics.totalBy(['node'], 'sent_total', 'Sent.', read);
  expect(await page()).toHaveLength(4);
  nodes.delete('a');
  expect(await page()).toEqual(['room_depth{node="b"} 2', 'room_sent_total{node="b"} 2']);
});

test('counters and histograms count what is said to them', async () => {
  const { metrics, page } = room();
  const batches = metrics.counter('batches_total', 'Batches.', ['status']);
  const seconds = metrics.histogram('ack_seconds', 'Acknowledgements.', [1, 2]);
  batches.inc({ status: 'ok' }, 2);
  seconds.observe(1.5);
  expect(await page()).toEqual([
    'room_batches_total{status="ok"} 2',
    'room_ack_seconds_bucket{le="1"} 0',
    'room_ack_seconds_bucket{le="2"} 1',
    'room_ack_seconds_bucket{le="+Inf"} 1',
    'room_ack_seconds_sum 1.5',
    'room_ack_seconds_count 1',
  ]);
});
