/**
 * A child process that can be killed: the built client on a spool directory, sending one batch after
 * another until it is stopped. Arguments: one JSON object { remote, serverName, credentials, dir, first }.
 */

import { pino } from 'pino';
import { TelemetryClient } from '../../dist/src/client/client.js';
import { encodeSeriesTable } from '../../dist/src/codec/series-table.js';
import { systemClock } from '../../dist/src/lib/clock.js';
import { quinnStack } from '../../dist/src/transport/quinn/quinn-endpoint.js';

const { dir, first, ...options } = JSON.parse(process.argv[2]);
const client = await TelemetryClient.open(
  {
    ...options,
    nodeId: 'node-1',
    spool: { maxBytes: 64 * 1024 * 1024, dir },
    backoff: { initialMs: 10, maxMs: 100 },
  },
  { clock: systemClock, logger: pino({ level: 'silent' }), stack: quinnStack },
);
await client.connected();
const table = encodeSeriesTable([{ name: 'value', labels: [], kind: 'gauge', unit: '1' }]);
for (let value = first; ; value += 1) {
  const samples = {
    series: Uint32Array.of(0),
    timestampsMs: Float64Array.of(1_700_000_000_000),
    values: Float64Array.of(value),
  };
  void client.send(table, samples);
  await new Promise((resolve) => setTimeout(resolve, 1));
}
