/**
 * The vectors of docs/protocol/vectors are as the contract makes them, and this collector answers
 * them as they say. UPDATE_DOCS=1 writes the files.
 */
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { describe, expect, test } from 'vitest';
import { decodeCollectorMessage } from '../../src/codec/collector-message.ts';
import { FrameBuffers } from '../../src/codec/frame-buffers.ts';
import { FrameSplitter } from '../../src/codec/framing.ts';
import { decodeSeriesTable } from '../../src/codec/series-table.ts';
import { Admission } from '../../src/collector/admission/admission.ts';
import { BackpressureGate } from '../../src/collector/admission/backpressure-gate.ts';
import { SeriesLimiter } from '../../src/collector/admission/series-limiter.ts';
import { Ingest } from '../../src/collector/ingest/ingest.ts';
import { NodeActivity } from '../../src/collector/ingest/node-activity.ts';
import { createIngestMetrics } from '../../src/collector/ingest/ingest-metrics.ts';
import { Session, type SessionTotals } from '../../src/collector/listener/session.ts';
import type { PeerIdentity } from '../../src/domain/telemetry.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import type { QuicConnection } from '../../src/transport/quic-endpoint.ts';
import { eventually } from '../helpers/eventually.ts';
import { expectGenerated } from '../helpers/generated-file.ts';
import { openJournal } from '../helpers/journal-bench.ts';
import { connectionVectors, tableVectors, VECTOR_NOW_MS } from '../helpers/protocol-vectors.ts';
import { tempDir } from '../helpers/temp-dir.ts';
import { testLimits } from '../helpers/test-limits.ts';
import { TEST_LIMITS } from '../helpers/wire-batch.ts';

const FOLDER = 'docs/protocol/vectors';
const MAX_BATCH_BYTES = 1_048_576;
const PEER: PeerIdentity = {
  nodeIds: ['gpu-001'],
  fingerprint256: 'AB:CD',
  serialNumber: '01',
  validToMs: Number.MAX_SAFE_INTEGER,
};
const CLOCK: Clock = { ...systemClock, nowMs: () => VECTOR_NOW_MS };

async function openIngest(): Promise<Ingest> {
  const journal = await openJournal(tempDir());
  const limits = testLimits();
  const gate = new BackpressureGate({ maxBatches: 100, maxBytes: 1_000_000 });
  const producer = journal.producer.bind(journal);
  const series = new SeriesLimiter(CLOCK, limits, () => {});
  const admission = new Admission({ clock: CLOCK, limits, delegates: [], producer, gate, series });
  const metrics = createIngestMetrics(new Registry());
  const logger = pino({ enabled: false });
  return new Ingest(
    { clock: CLOCK, logger, metrics, admission, gate, journal, activity: new NodeActivity() },
    {
      collectorId: 'c',
      maxBatchBytes: MAX_BATCH_BYTES,
      decodeLimits: TEST_LIMITS,
      sequenceWindow: 1024,
      epochsPerNode: 8,
    },
  );
}

/** One connection as far as a session sees it: what was written, and how it was closed. */
function fakeConnection() {
  const acks: object[] = [];
  const closes: number[] = [];
  const splitter = new FrameSplitter(1 << 20);
  const connection = {
    queuedBytes: 0,
    streamKind: () => 'bidi',
    pauseReading() {},
    resumeReading() {},
    write(_stream: number, bytes: Uint8Array) {
      splitter.push(bytes, (frame) => {
        const message = decodeCollectorMessage(frame);
        if ('hello' in message) return;
        const { epoch, sequence, status, accepted, rejected, rejections } = message.ack;
        const reasons = rejections.map(({ reason }) => reason);
        const counts = { accepted, rejected, reasons, frame: message.frame };
        acks.push({ epoch, sequence, status: status.toUpperCase(), ...counts });
      });
    },
    close: (code: number) => closes.push(code),
  } as unknown as QuicConnection;
  return { connection, acks, closes };
}

describe('the vectors of the protocol', () => {
  test('are as the contract makes them', () => {
    expectGenerated(`${FOLDER}/tables.json`, `${JSON.stringify(tableVectors(), null, 2)}\n`);
    const connections = JSON.stringify(connectionVectors(), null, 2);
    expectGenerated(`${FOLDER}/connections.json`, `${connections}\n`);
  });

  test.each(tableVectors())('the table "$name" has its id', ({ bytes, id }) => {
    expect(decodeSeriesTable(Buffer.from(bytes, 'hex')).id).toBe(id);
  });

  test.each(connectionVectors())('"$name" is answered as written', async (vector) => {
    const door = (await openIngest()).open(PEER);
    const { connection, acks, closes } = fakeConnection();
    const totals = { streamBytes: 0, unfinishedFrameBytes: 0 } as SessionTotals;
    const session = new Session(connection, door, totals, {
      transport: 'quic',
      peer: PEER,
      maxFrameBytes: MAX_BATCH_BYTES,
      frameBuffers: new FrameBuffers(),
      monotonicMs: () => 0,
    });
    let answered = 0;
    for (const [index, { hex, ack }] of vector.frames.entries()) {
      const isLast = index === vector.frames.length - 1;
      session.onData(0, Buffer.from(hex, 'hex'), isLast && vector.end === 'fin');
      if (ack === null) continue;
      answered += 1;
      await eventually('the answer', () => acks.length === answered);
      expect(acks.at(-1)).toEqual({ ...ack, frame: index + 1 });
    }
    if (vector.end === 'reset') session.onReset(0);
    expect(closes).toEqual(vector.closes === null ? [] : [vector.closes]);
    expect(acks).toHaveLength(answered);
  });
});
