/**
 * What the benchmarks of the whole daemon share: the real daemon as a child, a discarding InfluxDB
 * as another, Parquet on disk, and load generators, each in a directory that is removed at the end.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DaemonProcess, type Exit } from '../trials/harness/daemon-process.ts';
import { Deployment, type Settings } from '../trials/harness/deployment.ts';
import type { MetricsPage } from '../trials/harness/metrics-page.ts';
import type { QuicCredentials } from '../src/transport/quic-endpoint.ts';
import { Child } from './child.ts';
import {
  FLEET_SHAPE,
  type LoadConnected,
  type LoadReport,
  type LoadTask,
  loadNodeId,
} from './load-task.ts';
import { pause } from './pause.ts';
import { type ThreadCpu, threadCpu } from './thread-cpu.ts';

/** The identity that may send for every node. */
export const DELEGATE = 'bench-gateway';
const POLL_MS = 20;
const OWN_CERTIFICATES_MAX = 1000;

export interface RigOptions {
  /** Settings beside those that a fleet of this size needs. */
  readonly settings?: Settings;
  /** false: no InfluxDB writer. */
  readonly influx?: boolean;
}

export interface DiscardedTotals {
  readonly requests: number;
  readonly bytes: number;
}

export class Rig {
  readonly deployment: Deployment;
  readonly #influx: Child;
  readonly #influxPort: number;
  readonly #dir: string;
  readonly #loads: Child[] = [];
  #daemon: DaemonProcess | undefined;
  #tasks = 0;

  private constructor(dir: string, deployment: Deployment, influx: Child, port: number) {
    this.#dir = dir;
    this.deployment = deployment;
    this.#influx = influx;
    this.#influxPort = port;
  }

  static async open(options: RigOptions = {}): Promise<Rig> {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telemetry-bench-'));
    const influx = Child.ofBench('discarding-influx');
    const port = await influx.line<number>();
    const deployment = await Deployment.create(dir);
    const rig = new Rig(dir, deployment, influx, port);
    rig.configure(options);
    return rig;
  }

  /** Writes the daemon's settings anew; limits are those of a fleet of ten thousand nodes. */
  configure({ settings = {}, influx = true }: RigOptions): void {
    const url = `http://127.0.0.1:${this.#influxPort}`;
    const base: Record<string, Record<string, unknown>> = {
      server: { max_connections: 20_000, max_connections_per_node: 10_000 },
      security: { delegates: [DELEGATE] },
      limits: {
        max_cardinality: 10_000_000,
        max_batch_size: 10_000,
        // A few senders stand for thousands of nodes: budgets of one are not what is measured.
        node_expanded_bytes_per_second: 0,
        node_table_bytes_per_minute: 0,
      },
      ...(influx && { influxdb: { url, org: 'bench', bucket: 'bench', token: 'bench' } }),
    };
    for (const [section, values] of Object.entries(settings)) {
      base[section] = { ...base[section], ...values };
    }
    this.deployment.configure(base);
  }

  get daemon(): DaemonProcess {
    if (this.#daemon === undefined) throw new Error('the daemon is not running');
    return this.#daemon;
  }

  async start(env: NodeJS.ProcessEnv = {}): Promise<DaemonProcess> {
    this.#daemon = await DaemonProcess.start(this.deployment, env);
    return this.#daemon;
  }

  /** SIGTERM; resolves with the CPU of its threads as last seen before they ended. */
  async stop(): Promise<{ readonly exit: Exit; readonly cpu: ThreadCpu }> {
    const { daemon } = this;
    let cpu = threadCpu(daemon.pid);
    let isGone = false;
    const stopping = daemon.stop().finally(() => {
      isGone = true;
    });
    while (!isGone) {
      const now = threadCpu(daemon.pid);
      // Threads end one by one: each counts with the last that was seen of it.
      cpu = new Map([...cpu, ...[...now].filter(([role, s]) => s >= (cpu.get(role) ?? 0))]);
      await Promise.race([pause(POLL_MS), stopping]);
    }
    this.#daemon = undefined;
    return { exit: await stopping, cpu };
  }

  /** Credentials of the first `count` nodes. */
  credentials(count: number): Promise<QuicCredentials[]> {
    return Promise.all(
      Array.from({ length: count }, (_, index) =>
        this.deployment.nodeCredentials(loadNodeId(index)),
      ),
    );
  }

  /** Making certificates takes long: past a thousand nodes a delegate sends for all of them. */
  async #credentialsFor(nodes: number): Promise<QuicCredentials[]> {
    if (nodes <= OWN_CERTIFICATES_MAX) return this.credentials(nodes);
    return [await this.deployment.nodeCredentials(DELEGATE)];
  }

  /** Starts a load generator and waits until all its connections stand. */
  async load(task: Partial<LoadTask> & Pick<LoadTask, 'nodes'>): Promise<Load> {
    const credentials = task.credentials ?? (await this.#credentialsFor(task.nodes));
    const whole: LoadTask = {
      remote: this.deployment.listen,
      credentials,
      firstNode: 0,
      connections: task.nodes,
      shape: FLEET_SHAPE,
      pace: { kind: 'full speed', inFlight: 2 },
      seconds: 10,
      maxUdpPayloadBytes: 1350,
      ...task,
    };
    this.#tasks += 1;
    const file = path.join(this.#dir, `load-${this.#tasks}.json`);
    fs.writeFileSync(file, JSON.stringify(whole));
    const child = Child.ofBench('load-generator', [file]);
    this.#loads.push(child);
    return new Load(child, await child.line<LoadConnected>());
  }

  /** What the discarding InfluxDB has received so far. */
  async discarded(): Promise<DiscardedTotals> {
    const response = await fetch(`http://127.0.0.1:${this.#influxPort}/figures`);
    return (await response.json()) as DiscardedTotals;
  }

  get influxUrl(): string {
    return `http://127.0.0.1:${this.#influxPort}`;
  }

  get warehouseDir(): string {
    return this.deployment.warehouseDir;
  }

  /** Polls /metrics until `isDone`; returns the page that was. */
  async until(
    what: string,
    isDone: (page: MetricsPage) => boolean,
    deadlineMs = 120_000,
  ): Promise<MetricsPage> {
    let page = await this.daemon.metrics();
    await this.daemon.waitFor(
      what,
      async () => {
        page = await this.daemon.metrics();
        return isDone(page);
      },
      deadlineMs,
    );
    return page;
  }

  /** Ends everything and removes the directory. */
  async close(): Promise<void> {
    for (const load of this.#loads) await load.end();
    await this.#daemon?.kill();
    await this.#influx.end();
    fs.rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** A load generator whose connections stand. */
export class Load {
  readonly connected: LoadConnected;
  readonly #child: Child;

  constructor(child: Child, connected: LoadConnected) {
    this.#child = child;
    this.connected = connected;
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Lets it send; resolves once everything sent is acknowledged. The connections stay. */
  async run(): Promise<LoadReport> {
    this.#child.tell('go');
    return this.#child.line<LoadReport>();
  }

  /** Closes its connections. */
  async end(): Promise<void> {
    this.#child.tell('end');
    await this.#child.gone();
  }
}
