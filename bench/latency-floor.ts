/**
 * What this machine takes for datagrams there, two synced writes and a datagram back, at the pace
 * of the latency benchmark: the part of a latency that no collector could save here.
 */
import dgram from 'node:dgram';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createLatencyHistogram } from '../src/client/client-stats.ts';
import { systemClock } from '../src/lib/clock.ts';
import { Child } from './child.ts';
import { pause } from './pause.ts';
import { onSchedule } from './schedule.ts';

const DATAGRAMS = 5;
const DATAGRAM_BYTES = 1150;
const LAST_ANSWERS_MS = 500;

/** Quantiles in ms over `seconds` of `perSecond` batches. */
export async function measureFloor(perSecond: number, seconds: number) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telemetry-bench-floor-'));
  const echo = Child.ofBench('synced-echo', [path.join(dir, 'data')]);
  const socket = dgram.createSocket('udp4');
  try {
    const port = await echo.line<number>();
    const latency = createLatencyHistogram();
    const unanswered: number[] = [];
    socket.on('message', () => {
      const dueMs = unanswered.shift() ?? Number.NaN;
      latency.record(Math.max(1, Math.round((systemClock.monotonicMs() - dueMs) * 1000)));
    });
    const datagram = Buffer.alloc(DATAGRAM_BYTES);
    await onSchedule(perSecond, seconds, (_, dueMs) => {
      unanswered.push(dueMs);
      for (let sent = 0; sent < DATAGRAMS; sent += 1) socket.send(datagram, port, '127.0.0.1');
    });
    await pause(LAST_ANSWERS_MS);
    const at = (percentile: number) => latency.percentile(percentile) / 1000;
    return { p50: at(50), p99: at(99), p999: at(99.9) };
  } finally {
    socket.close();
    await echo.end();
    fs.rmSync(dir, { recursive: true, force: true });
  }
}
