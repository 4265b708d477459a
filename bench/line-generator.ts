/**
 * The same fleet as the load generator's, for a peer: line protocol over HTTP, a request per node
 * and reading, as many requests at once as asked for. The first argument is a `LineTask` as JSON; a
 * line on standard input begins, a report is the last line.
 */
import { once } from 'node:events';
import http from 'node:http';
import { simulateColumns } from '../src/agent/sources/simulate-columns.ts';
import { encodeSeriesTable } from '../src/codec/series-table.ts';
import { systemClock } from '../src/lib/clock.ts';
import { LineChunk } from '../src/collector/writers/influx/line-chunk.ts';
import { pointRules } from '../src/collector/writers/influx/point.ts';
import { RecordEncoder } from '../src/collector/writers/influx/record-encoder.ts';
import { buildTablePlan } from '../src/collector/writers/influx/table-plan.ts';
import type { LineReport, LineTask } from './line-task.ts';
import { loadNodeId } from './load-task.ts';

const STEP_MS = 1000;
const MAX_REQUEST_BYTES = 8 * 1024 * 1024;

const task = JSON.parse(process.argv[2] ?? '') as LineTask;
const agent = new http.Agent({ keepAlive: true, maxSockets: task.requestsAtOnce });
const encoder = new RecordEncoder();
const totals = { samples: 0, requests: 0, bytes: 0 };

process.stdout.write('{}\n');
await once(process.stdin, 'data');
const startedMs = systemClock.monotonicMs();
const endMs = startedMs + task.seconds * 1000;
const nodes = Array.from({ length: task.nodes }, (_, index) => nodeLines(loadNodeId(index)));
let next = 0;
const sender = async () => {
  while (systemClock.monotonicMs() < endMs) {
    const node = nodes[next % nodes.length];
    next += 1;
    if (node !== undefined) await post(node());
  }
};
await Promise.all(Array.from({ length: task.requestsAtOnce }, sender));
const report: LineReport = { ...totals, seconds: (systemClock.monotonicMs() - startedMs) / 1000 };
process.stdout.write(`${JSON.stringify(report)}\n`);
process.exit(0);

/** Gives the lines of a node's next reading at each call. */
function nodeLines(nodeId: string): () => Uint8Array {
  let timeMs = systemClock.nowMs() - 7_200_000;
  const options = { nodeId, gpus: 8, extraMetrics: 35, jobChurn: false, faultsPerGpuHour: 0 };
  const simulation = simulateColumns(options, timeMs);
  const table = encodeSeriesTable(simulation.series);
  // All labels as tags: string fields would be counted as further metrics by the peer.
  const labels = new Set(simulation.series.flatMap((one) => one.labels.map(([key]) => key)));
  const rules = pointRules({
    measurement_gpu: 'gpu',
    measurement_node: 'node',
    tag_labels: [...labels],
  });
  const plan = buildTablePlan(table, rules);
  const count = table.series.length;
  const samples = {
    series: Uint32Array.from(table.series, (_, index) => index),
    timestampsMs: new Float64Array(count),
    values: new Float64Array(count),
  };
  const record = {
    ...{ seq: 1, nodeId, epoch: 1, sequence: 1, receivedAtMs: timeMs, tableId: table.id, bytes: 0 },
    samples,
  };
  return () => {
    timeMs += STEP_MS;
    simulation.advance(timeMs);
    simulation.fill(samples.values);
    samples.timestampsMs.fill(timeMs);
    const chunk = new LineChunk<undefined>();
    encoder.start(record, plan);
    encoder.encodeInto(chunk, MAX_REQUEST_BYTES, undefined);
    totals.samples += count;
    return Buffer.from(chunk.view(0, chunk.lines));
  };
}

function post(lines: Uint8Array): Promise<void> {
  totals.requests += 1;
  totals.bytes += lines.length;
  return new Promise((resolve, reject) => {
    const request = http.request(
      task.url,
      { method: 'POST', agent, headers: { 'content-length': lines.length } },
      (response) => {
        const { statusCode = 0 } = response;
        if (statusCode >= 300) reject(new Error(`the peer answered ${statusCode}`));
        response.resume().once('end', resolve);
      },
    );
    request.once('error', reject);
    request.end(lines);
  });
}
