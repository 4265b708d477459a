/**
 * Live clients over a tail, with sinks that count what reached them and can stop reading.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { encodeSeriesTable } from '../../../src/codec/series-table.ts';
import type { SeriesTable } from '../../../src/domain/telemetry.ts';
import type { Caller } from '../../../src/gateway/access/access.ts';
import { RequestBudget } from '../../../src/gateway/access/budget.ts';
import type { Scope } from '../../../src/gateway/access/roles.ts';
import type { LiveSink } from '../../../src/gateway/live/live-client.ts';
import { EVERYTHING, type LiveFilter } from '../../../src/gateway/live/live-filter.ts';
import { LiveHub } from '../../../src/gateway/live/live-hub.ts';
import { parsePosition } from '../../../src/gateway/tail/position.ts';
import { Tail } from '../../../src/gateway/tail/tail.ts';
import { eventually } from '../../helpers/eventually.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';

const SOURCE = 'collector/0123456789abcdef';
let clock: FakeClock;
let tail: Tail;
let hub: LiveHub;

beforeEach(() => {
  clock = new FakeClock(0);
  openTail(16 * 1024 * 1024);
});

function openTail(maxBytes: number): void {
  tail = new Tail(maxBytes);
  tail.begin(SOURCE, 0);
  hub = new LiveHub(clock, tail, 1000);
  hub.start();
}

function table(...gpus: { uuid: string; namespace?: string }[]): SeriesTable {
  return encodeSeriesTable(
    gpus.map(({ uuid, namespace }, index) => ({
      name: 'DCGM_FI_DEV_POWER_USAGE',
      kind: 'gauge',
      unit: 'W',
      labels: [
        ['UUID', uuid] as const,
        ['gpu', String(index)] as const,
        ...(namespace === undefined ? [] : [['namespace', namespace] as const]),
      ],
    })),
  );
}

const ONE_GPU = table({ uuid: 'GPU-a' });
let value = 0;

/** One batch of one sample of each series, each with a value of its own. */
function feed(nodeId = 'gpu-001', of = ONE_GPU, source = SOURCE): number[] {
  const seq = (tail.head.get(source) ?? 0) + 1;
  const values = of.series.map(() => ++value);
  tail.append({
    source,
    seq,
    nodeId,
    receivedAtMs: seq,
    table: of,
    samples: {
      series: Uint32Array.from(values, (_, index) => index),
      timestampsMs: Float64Array.from(values, () => seq * 1000),
      values: Float64Array.from(values),
    },
  });
  return values;
}

interface Message {
  readonly type: string;
  readonly position: string;
  readonly skipped?: number;
  readonly rows?: readonly Record<string, unknown>[];
}

class TestSink implements LiveSink {
  readonly messages: Message[] = [];
  greetings = 0;
  unsentBytes = 0;
  closed: { code: number; reason: string } | undefined;

  send(type: string, _position: string, message: string): void {
    if (type === 'hello') this.greetings += 1;
    else this.messages.push(JSON.parse(message) as Message);
  }

  close(code: number, reason: string): void {
    this.closed = { code, reason };
  }

  get values(): unknown[] {
    return this.messages.flatMap(({ rows }) => rows ?? []).map((row) => row.value);
  }

  get position(): string {
    return this.messages.at(-1)?.position ?? '';
  }
}

function caller(scope: Scope = {}, ended = new AbortController().signal): Caller {
  return { id: 'test', role: 'reader', scope, budget: new RequestBudget(clock, 0, 10), ended };
}

function join(filter: Partial<LiveFilter> = {}, from?: string, who = caller()): TestSink {
  const sink = new TestSink();
  const position = from === undefined ? undefined : parsePosition(from);
  const request = { caller: who, filter: { ...EVERYTHING, ...filter }, from: position };
  hub.join(request, sink);
  return sink;
}

const turn = async (isDone: () => boolean) =>
  eventually('the hub has had its turn', () => {
    clock.advance(50);
    return isDone();
  });

describe('a live client', () => {
  it('gets what comes after it came, with everything that names a row', async () => {
    feed();
    const sink = join();
    await turn(() => sink.greetings === 1);
    const [expected] = feed();
    await turn(() => sink.messages.length > 0);
    expect(sink.greetings).toBe(1);
    expect(sink.messages).toEqual([
      {
        type: 'samples',
        position: `${SOURCE}:2`,
        rows: [
          {
            node: 'gpu-001',
            metric: 'DCGM_FI_DEV_POWER_USAGE',
            unit: 'W',
            gpu_uuid: 'GPU-a',
            gpu_index: '0',
            ts: 2000,
            value: expected,
          },
        ],
      },
    ]);
  });

  it('that comes back gets what it missed, nothing twice and nothing left out', async () => {
    const all: number[] = [];
    const got: unknown[] = [];
    let position: string | undefined = `${SOURCE}:0`;
    for (let round = 0; round < 20; round += 1) {
      for (let batch = 0; batch < 10; batch += 1) all.push(...feed());
      const sink = join({}, position);
      // Cut at any place: what was sent is what the client has.
      await turn(() => sink.messages.length > 0);
      got.push(...sink.values);
      position = sink.position;
    }
    expect(got).toEqual(all);
  });

  it('is told of a gap when what it missed is gone', async () => {
    openTail(2000);
    feed();
    const first = join({}, `${SOURCE}:0`);
    await turn(() => first.messages.length > 0);
    const { position } = first;
    for (let batch = 0; batch < 20; batch += 1) feed();
    const second = join({}, position);
    await turn(() => second.values.length > 0);
    expect(second.messages[0]).toMatchObject({ type: 'gap', from: position });
    expect(second.values.at(-1)).toBe(value);
    expect(new Set(second.values).size).toBe(second.values.length);
  });

  it('that comes back before the feed has begun waits for it', async () => {
    tail = new Tail(16 * 1024 * 1024);
    hub = new LiveHub(clock, tail, 10);
    hub.start();
    const back = join({}, `${SOURCE}:2`);
    const newcomer = join();
    await turn(() => clock.monotonicMs() > 200);
    expect(back.greetings + back.messages.length).toBe(0);
    // The feed brings the past again, from the warehouse's cursor on.
    tail.begin(SOURCE, 0, 3);
    await turn(() => back.greetings + newcomer.greetings === 2);
    const [, , third] = [feed(), feed(), feed()];
    const fourth = feed();
    await turn(() => back.values.length === 2 && newcomer.values.length === 1);
    expect(back.values).toEqual([...(third ?? []), ...fourth]);
    expect(newcomer.values).toEqual(fourth);
    expect(back.messages.map(({ type }) => type)).not.toContain('gap');
  });

  it('that was away for long gets all of it, not a summary', async () => {
    openTail(64 * 1024 * 1024);
    const all = Array.from({ length: 30_000 }, () => feed()).flat();
    const sink = join({}, `${SOURCE}:0`);
    await turn(() => sink.values.length === all.length);
    expect(sink.values).toEqual(all);
  });

  it('with a position of a journal that is gone is told of a gap', async () => {
    const sink = join({}, 'collector/fedcba9876543210:7');
    feed();
    await turn(() => sink.values.length > 0);
    expect(sink.messages.map(({ type }) => type)).toEqual(['gap', 'samples']);
  });

  it('goes on where a restored journal has another name', async () => {
    const sink = join();
    const before = feed();
    await turn(() => sink.values.length === 1);
    tail.begin('collector/restored', 1);
    const after = feed('gpu-001', ONE_GPU, 'collector/restored');
    await turn(() => sink.values.length === 2);
    expect(sink.values).toEqual([...before, ...after]);
    const again = join({}, sink.position);
    const last = feed('gpu-001', ONE_GPU, 'collector/restored');
    await turn(() => again.values.length > 0);
    expect(again.values).toEqual(last);
  });

  it('sees the nodes, GPUs, metrics and namespaces that it asked for', async () => {
    const of = table(
      { uuid: 'GPU-a', namespace: 'team-a' },
      { uuid: 'GPU-b', namespace: 'team-b' },
    );
    const wanted = [
      [{ nodes: ['gpu-001'] }, 2],
      [{ nodes: ['gpu-009'] }, 0],
      [{ gpus: ['GPU-b'] }, 1],
      [{ gpus: ['1'] }, 1],
      [{ gpus: ['gpu-001:0', 'GPU-b'] }, 2],
      [{ gpus: ['gpu-002:0'] }, 0],
      [{ metrics: ['power'] }, 2],
      [{ metrics: ['DCGM_FI_DEV_BOARD_POWER_WATTS'] }, 2],
      [{ metrics: ['temperature'] }, 0],
      [{ namespaces: ['team-b'] }, 1],
    ] as const;
    const sinks = wanted.map(([filter]) => join(filter));
    const everything = join();
    feed('gpu-001', of);
    await turn(() => everything.values.length === 2);
    expect(sinks.map((sink) => sink.values.length)).toEqual(wanted.map(([, count]) => count));
  });

  it('sees nothing outside its scope, whatever it asks for', async () => {
    const of = table({ uuid: 'GPU-a', namespace: 'team-a' }, { uuid: 'GPU-b' });
    const scoped = join({}, undefined, caller({ namespaces: ['team-a'] }));
    const foreign = join({ gpus: ['GPU-a'] }, undefined, caller({ namespaces: ['team-b'] }));
    const elsewhere = join({}, undefined, caller({ nodes: ['gpu-002'] }));
    const [first] = feed('gpu-001', of);
    await turn(() => scoped.values.length > 0);
    expect(scoped.values).toEqual([first]);
    expect(foreign.messages).toEqual([]);
    expect(elsewhere.messages).toEqual([]);
  });

  it('ends when its key ends', async () => {
    const end = new AbortController();
    const sink = join({}, undefined, caller({}, end.signal));
    end.abort();
    expect(sink.closed).toMatchObject({ code: 4401 });
    expect(hub.size).toBe(0);
  });
});

describe('a slow client', () => {
  it('gets the last values and the number of what was left out, and costs no neighbour anything', async () => {
    openTail(64 * 1024 * 1024);
    const slow = join();
    const fast = join();
    await turn(() => slow.greetings === 1);
    slow.unsentBytes = 1024 * 1024;
    const all: number[] = [];
    for (let batch = 0; batch < 30_000; batch += 1) {
      all.push(...feed());
      if (batch % 1000 === 999) await turn(() => fast.values.length === all.length);
    }
    expect(fast.values).toEqual(all);
    expect(slow.messages).toEqual([]);
    slow.unsentBytes = 0;
    await turn(() => slow.values.length > 0);
    expect(slow.messages).toMatchObject([{ type: 'lag', skipped: 29_999 }, { type: 'samples' }]);
    expect(slow.values).toEqual([all.at(-1)]);
    const next = feed();
    await turn(() => slow.values.length === 2);
    expect(slow.values.slice(1)).toEqual(next);
  });

  it('that reads nothing is closed, and can come back', async () => {
    const sink = join();
    sink.unsentBytes = 1024 * 1024;
    await turn(() => sink.closed !== undefined);
    expect(sink.closed).toMatchObject({ code: 1013 });
    expect(clock.monotonicMs()).toBeGreaterThan(30_000);
    expect(hub.size).toBe(0);
  });

  it('leaves room for so many others', () => {
    hub = new LiveHub(clock, tail, 1);
    join();
    expect(hub.isFull).toBe(true);
  });
});

it('a stop ends every client', () => {
  const sinks = [join(), join()];
  hub.close();
  for (const sink of sinks) expect(sink.closed).toMatchObject({ code: 1001 });
});
