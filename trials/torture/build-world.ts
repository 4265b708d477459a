/**
 * Sets up a run: certificates, disks, the InfluxDB side, the network, the agents, and the daemon's
 * supervisor. Nothing runs yet afterwards.
 */
import fs from 'node:fs';
import path from 'node:path';
import { Deployment, type Settings } from '../harness/deployment.ts';
import { FeedReading } from '../harness/feed-reading.ts';
import { SeededRandom } from '../../src/agent/sources/seeded-random.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { packageFile } from '../../src/lib/package-root.ts';
import { Complaints } from './complaints.ts';
import { type Build, DaemonSupervisor, type EndedDaemon } from './daemon-supervisor.ts';
import { Disks } from './disks.ts';
import type { FaultBook } from './fault-book.ts';
import { NetworkProxy } from './network-proxy.ts';
import { Obligations } from './obligations.ts';
import type { TortureOptions } from './options.ts';
import { baseOf, nodeName } from './samples.ts';
import { SinkServer } from './sink-server.ts';
import { SinkStore } from './sink-store.ts';
import { SpoolAgent } from './spool-agent.ts';
import { TortureAgent } from './torture-agent.ts';
import type { TortureWorld } from './torture-world.ts';

const AGENTS = 3;
const SPOOL_NODE = AGENTS + 1;
const BATCH_INTERVAL_MS = 40;
const MIB = 1024 * 1024;
/** A clock that is wrong by more than this may make all samples too old or too new. */
const CLOCK_BEARABLE_MS = 60 * 60_000;
/** Longer than any backlog of the run, shorter than the longest jump of the daemon's clock. */
const RETENTION_DAYS = 30;

export interface WorldDeps {
  readonly dir: string;
  readonly book: FaultBook;
  readonly build: Build;
  readonly clock: Clock;
  readonly print: (text: string) => void;
}

export async function buildWorld(
  { seed, families, load, transport }: TortureOptions,
  { dir, book, build, clock, print }: WorldDeps,
): Promise<TortureWorld> {
  const complaints = new Complaints(clock);
  const needsDisks = families.has('disk') || families.has('power');
  const disks = needsDisks ? mountDisks(dir, print) : undefined;
  const outputDir = path.join(disks?.warehouse.dir ?? dir, 'warehouse');
  const journalDir = path.join(disks?.journal.dir ?? dir, 'journal-root', 'journal');
  const baseMs = baseOf(clock.nowMs());
  const sink = await SinkServer.start(new SinkStore(baseMs), baseMs, clock);
  const deployment = await Deployment.create(dir, {
    ...settings(seed, outputDir, journalDir, sink.url),
    feed: { enabled: families.has('feed'), socket_path: feedSocket(dir) },
  });
  const obligations = obligationsUnder(book);
  const supervisor = new DaemonSupervisor(deployment, build, {
    clock,
    events: {
      recovered: (fault, ms) => book.recovered(fault, ms),
      ended: (ended) => {
        complainOfEnd(ended, complaints);
        // Both of its connections forget what has no answer: what one of them was told must hold.
        void agents.at(-1)?.twins();
      },
    },
  });
  obligations.onAck(() => supervisor.acknowledged());
  const random = new SeededRandom(`${seed}/network`);
  const network = await NetworkProxy.open(deployment.listen, random, clock);
  const sending = { load, transport };
  const agents = await makeAgents(deployment, network, obligations, baseMs, clock, sending);
  const feedReading = families.has('feed') ? openReading(dir) : undefined;
  const spoolDir = path.join(dir, 'spool');
  const spoolAgent = new SpoolAgent(
    packageFile('dist/trials/torture/spool-agent-process.js'),
    {
      node: SPOOL_NODE,
      baseMs,
      remote: network.address,
      credentials: await deployment.nodeCredentials(nodeName(SPOOL_NODE)),
      transport,
      intervalMs: BATCH_INTERVAL_MS / load,
      spoolDir,
    },
    { clock, obligations },
  );
  return {
    ...{ clock, deployment, supervisor, obligations, book, agents, spoolAgent },
    ...{ feedReading, network, sink, disks },
    complaints,
    print,
    baseMs,
    dir,
    journalDir,
    outputDir,
    spoolDir,
    rolledBack: { forgotten: 0, gone: 0 },
    deadLetterDir: path.join(path.dirname(journalDir), 'dead-letter'),
    async close() {
      await supervisor.kill();
      await Promise.all(agents.map((agent) => agent.close()));
      await spoolAgent.close();
      await feedReading?.kill();
      await network.close();
      await sink.close();
      disks?.unmount();
    },
  };
}

/** The path of a socket is short, so it does not lie on one of the disks. */
function feedSocket(dir: string): string {
  return path.join(dir, 'feed.sock');
}

function openReading(dir: string): FeedReading {
  return new FeedReading(feedSocket(dir), path.join(dir, 'feed.jsonl'));
}

/** A batch may be refused as a whole while the daemon's clock is far off. */
function obligationsUnder(book: FaultBook): Obligations {
  const obligations = new Obligations();
  obligations.mayRefuseTimes = (fromMs, toMs) => {
    const { minMs, maxMs } = book.clockError(fromMs, toMs);
    return minMs < -CLOCK_BEARABLE_MS || maxMs > CLOCK_BEARABLE_MS;
  };
  return obligations;
}

/** Some differ from seed to seed, so that tight budgets are tried as well as none. */
function settings(
  seed: number,
  outputDir: string,
  journalDir: string,
  influxUrl: string,
): Settings {
  fs.mkdirSync(outputDir, { recursive: true });
  fs.mkdirSync(journalDir, { recursive: true });
  return {
    journal: {
      dir: journalDir,
      min_free_bytes: seed % 3 === 0 ? 8 * MIB : 0,
      max_bytes: (seed % 2 === 0 ? 16 : 1024) * MIB,
    },
    parquet: {
      output_dir: outputDir,
      rotation_interval_secs: 2,
      row_group_rows: seed % 2 === 0 ? 1000 : 5000,
      retention_days: RETENTION_DAYS,
    },
    influxdb: { url: influxUrl, org: 'o', bucket: 'b', token: 't', timeout_secs: 3 },
    // The stack that has panics among its faults.
    server: { shutdown_timeout_secs: 10, quic_stack: 'quinn' },
  };
}

function mountDisks(dir: string, print: (text: string) => void): Disks | undefined {
  const disks = Disks.mount(dir);
  if (disks instanceof Disks) return disks;
  print(`skipped: full and read-only disks, and power cuts: ${disks.why}\n`);
  return undefined;
}

async function makeAgents(
  deployment: Deployment,
  network: NetworkProxy,
  obligations: Obligations,
  baseMs: number,
  clock: Clock,
  { load, transport }: Pick<TortureOptions, 'load' | 'transport'>,
): Promise<TortureAgent[]> {
  const agents: TortureAgent[] = [];
  for (let node = 1; node <= AGENTS; node += 1) {
    const credentials = await deployment.nodeCredentials(nodeName(node));
    const options = { node, baseMs, remote: network.address, credentials, transport };
    agents.push(
      new TortureAgent(
        { ...options, intervalMs: BATCH_INTERVAL_MS / load },
        { clock, obligations },
      ),
    );
  }
  return agents;
}

/** A daemon that nobody ended has crashed. */
function complainOfEnd({ atMs, exit, fault }: EndedDaemon, complaints: Complaints): void {
  if (fault !== undefined) return;
  const time = new Date(atMs).toISOString();
  complaints.push(`the daemon ended by itself at ${time} with ${exit.code ?? exit.signal}`);
}
