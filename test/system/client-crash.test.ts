import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { packageFile } from '../../src/lib/package-root.ts';
import type { QuicAddress } from '../../src/transport/quic-endpoint.ts';
import { AgentBench } from '../helpers/agent-bench.ts';
import { eventually } from '../helpers/eventually.ts';
import type { ReceivedBatch } from '../helpers/stub-collector.ts';
import { SERVER_NAME } from '../helpers/test-credentials.ts';

let dir: string;
let bench: AgentBench;
const children: ChildProcess[] = [];

beforeEach(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'spool-'));
  bench = await AgentBench.create();
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await bench.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

/** A built client in a process of its own, whose batches hold the values from `first` on. */
function startAgent(remote: QuicAddress, first: number): ChildProcess {
  const credentials = bench.agentCredentials;
  const settings = { remote, serverName: SERVER_NAME, credentials, dir, first };
  const program = packageFile('test/helpers/spooling-agent.mjs');
  const child = spawn(process.execPath, [program, JSON.stringify(settings)], { stdio: 'inherit' });
  children.push(child);
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}

/** The content of each number, and that it was the same each time it came. */
function valuesByNumber(received: readonly ReceivedBatch[]): Map<string, number> {
  const contents = new Map<string, Buffer>();
  const values = new Map<string, number>();
  for (const batch of received) {
    const number = `${batch.epoch}/${batch.sequence}`;
    const known = contents.get(number);
    if (known !== undefined) expect(batch.content.equals(known)).toBe(true);
    contents.set(number, batch.content);
    values.set(number, batch.values[0]!);
  }
  return values;
}

test('an agent killed again and again never uses a number for other content, and loses nothing it sent', async () => {
  const stub = await bench.stub();
  let acked = 0;
  const answered = new Set<string>();
  stub.answer = ({ epoch, sequence, values }) => {
    const number = `${epoch}/${sequence}`;
    // Some batches stay unanswered while this agent lives, so that the next one finds them.
    if (sequence % 3 === 0 && !answered.has(number) && values[0]! >= 1000 * stub.connections) {
      return { kind: 'silence' };
    }
    const kind = answered.has(number) ? 'duplicate' : 'accept';
    answered.add(number);
    acked += 1;
    return { kind };
  };
  for (let run = 1; run <= 4; run += 1) {
    const before = acked;
    const agent = startAgent(stub.address, 1000 * run);
    await eventually(`acks of run ${run}`, () => acked >= before + 30, 30_000);
    await kill(agent);
  }
  const values = valuesByNumber(stub.received);
  // Each run numbered its own batches in an epoch of its own.
  expect(new Set(stub.received.map((batch) => batch.epoch)).size).toBe(4);
  expect(new Set(values.values()).size).toBe(values.size);
  // What run 1 to 3 had on the wire without an answer was answered in a later run.
  const lastRun = stub.received.filter((batch) => batch.connection < 4);
  expect(lastRun.every((batch) => answered.has(`${batch.epoch}/${batch.sequence}`))).toBe(true);
});
