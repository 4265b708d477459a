/**
 * One attack on the real daemon with a neighbour beside it, and the figures of all three.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { DaemonProcess } from '../harness/daemon-process.ts';
import { Deployment } from '../harness/deployment.ts';
import type { MetricsPage } from '../harness/metrics-page.ts';
import { packageFile } from '../../src/lib/package-root.ts';
import type { QuicCredentials, QuicStack } from '../../src/transport/quic-endpoint.ts';
import { quinnStack } from '../../src/transport/quinn/quinn-endpoint.ts';
import { tlsStack } from '../../src/transport/tls/tls-endpoint.ts';
import { type Attack, type AttackFigures, type AttackTask, NEWCOMER, pause } from './attack.ts';
import { type ArrivalFigures, Arrivals } from './arrivals.ts';
import { connectPeer } from './attacks/peer.ts';
import { Neighbour, type NeighbourFigures } from './neighbour.ts';

const SAMPLE_EVERY_MS = 100;
const PROBE_EVERY_MS = 200;
const PROBE_TIMEOUT_MS = 2000;
const NEWCOMER_EVERY_MS = 400;
/** Short, so that a file that comes late shows. */
const ROTATION_SECS = 2;
const NEWCOMER_TIMEOUT_MS = 2000;
/** The attacking process has this long to end by itself. */
const ATTACKER_GRACE_MS = 60_000;

export interface FloodOptions {
  /** How long the neighbour is alone, to compare with; how long the attack lasts; the aftermath. */
  readonly quietSeconds: number;
  readonly seconds: number;
  readonly settleSeconds: number;
  /** The daemon's main.js, to attack another build than this checkout's own. */
  readonly program?: string;
}

export interface FloodReport {
  readonly attack: string;
  readonly done: AttackFigures;
  /** Of the daemon, in bytes. */
  readonly memory: { readonly before: number; readonly peak: number; readonly after: number };
  /** Processor time of the daemon during the attack, and how long that lasted. */
  readonly cpuSeconds: number;
  readonly attackSeconds: number;
  readonly quiet: NeighbourFigures;
  readonly attacked: NeighbourFigures;
  /** Until the neighbour's points were in the destinations, alone and under attack. */
  readonly arrivals: { readonly quiet: ArrivalFigures; readonly attacked: ArrivalFigures };
  readonly neighbourReconnects: number;
  /**
   * Nodes that connected for the first time during the attack and were greeted within two seconds.
   */
  readonly newcomers: { readonly greeted: number; readonly tried: number };
  /**
   * Probes of /healthz during the attack that were answered 200 within two seconds, of how many.
   */
  readonly probes: { readonly answered: number; readonly sent: number };
  /** The daemon's own counters afterwards. */
  readonly metrics: MetricsPage;
  /** Lines that the daemon logged as errors. */
  readonly errors: readonly string[];
}

/** Starts a daemon for the attack and stops it again. Throws where the daemon does not survive. */
export async function runFlood(attack: Attack, options: FloodOptions): Promise<FloodReport> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'collector-flood-'));
  const arrivals = await Arrivals.open();
  const deployment = await Deployment.create(dir, {
    influxdb: { url: arrivals.influxUrl, org: 'o', bucket: 'b', token: 't' },
    parquet: { rotation_interval_secs: ROTATION_SECS },
    ...attack.settings,
  });
  const daemon = await DaemonProcess.start(deployment, {}, options.program);
  try {
    arrivals.watch(deployment.warehouseDir);
    return await attackDaemon(daemon, arrivals, attack, options);
  } finally {
    await arrivals.close();
    await daemon.kill();
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

async function attackDaemon(
  daemon: DaemonProcess,
  arrivals: Arrivals,
  attack: Attack,
  options: FloodOptions,
): Promise<FloodReport> {
  const isOverTls = attack.overTls === true;
  const stack = isOverTls ? tlsStack : quinnStack;
  const neighbour = await Neighbour.open(daemon.deployment, stack, () => arrivals.sent());
  await neighbour.sendUntil(after(500));
  const warmRounds = arrivals.sentRounds;
  const quiet = await neighbour.sendUntil(after(options.quietSeconds * 1000));
  await arrivals.settled();
  const quietRounds = arrivals.sentRounds;
  const newcomer = await daemon.deployment.nodeCredentials(NEWCOMER);
  const watch = new DaemonWatch(daemon, newcomer, isOverTls ? { stack } : {});
  const task = await taskFor(attack, daemon.deployment, options.seconds);
  const before = watch.memoryBytes();
  const cpuBefore = watch.cpuSeconds();
  const beganMs = performance.now();
  let isOver = false;
  const attacking = runAttacker(task).finally(() => {
    isOver = true;
  });
  const attacked = await neighbour.sendUntil(() => isOver);
  const done = await attacking;
  const cpuSeconds = watch.cpuSeconds() - cpuBefore;
  const attackSeconds = (performance.now() - beganMs) / 1000;
  watch.stop();
  const settling = pause(options.settleSeconds * 1000);
  await arrivals.settled();
  await settling;
  const { peakBytes, probes, newcomers } = watch;
  const memory = { before, peak: peakBytes, after: watch.memoryBytes() };
  const metrics = await daemon.metrics();
  const neighbourReconnects = neighbour.reconnects;
  await neighbour.close();
  const errors = daemon.log
    .filter(({ level }) => level === 'error' || level === 'fatal')
    .map((line) => JSON.stringify(line));
  const { name } = attack;
  const figures = { attack: name, done, memory, quiet, attacked, neighbourReconnects };
  const times = {
    quiet: arrivals.figures(warmRounds, quietRounds),
    attacked: arrivals.figures(quietRounds, arrivals.sentRounds),
  };
  return {
    ...figures,
    arrivals: times,
    cpuSeconds,
    attackSeconds,
    newcomers,
    probes,
    metrics,
    errors,
  };
}

async function taskFor(
  attack: Attack,
  deployment: Deployment,
  seconds: number,
): Promise<AttackTask> {
  const own = Array.from({ length: attack.nodes }, (_, index) => `attacker-${index + 1}`);
  const nodes = attack.stolenFrom === undefined ? own : [attack.stolenFrom];
  const credentials = await Promise.all(nodes.map((node) => deployment.nodeCredentials(node)));
  const { listen: remote, metricsUrl } = deployment;
  return { attack: attack.name, remote, metricsUrl, credentials, seconds };
}

/** Runs the attack in a process of its own, so that its work is not the neighbour's delay. */
async function runAttacker(task: AttackTask): Promise<AttackFigures> {
  const child = spawn(process.execPath, [packageFile('dist/trials/flood/attacker.js')], {
    stdio: ['pipe', 'pipe', 'inherit'],
    timeout: task.seconds * 1000 + ATTACKER_GRACE_MS,
  });
  child.stdin.end(JSON.stringify(task));
  const output = await text(child.stdout);
  if (output === '') throw new Error(`the attacker of ${task.attack} ended without a word`);
  return JSON.parse(output) as AttackFigures;
}

/** Looks at the daemon from outside while it is attacked. */
class DaemonWatch {
  peakBytes = 0;
  readonly probes = { answered: 0, sent: 0 };
  readonly newcomers = { greeted: 0, tried: 0 };
  readonly #daemon: DaemonProcess;
  readonly #newcomer: QuicCredentials;
  /** The newcomers' transport, where it is not QUIC. */
  readonly #over: { readonly stack?: QuicStack };
  readonly #timers: readonly NodeJS.Timeout[];

  constructor(daemon: DaemonProcess, newcomer: QuicCredentials, over: { stack?: QuicStack }) {
    this.#over = over;
    this.#daemon = daemon;
    this.#newcomer = newcomer;
    this.#timers = [
      setInterval(() => void this.#tryToConnect(), NEWCOMER_EVERY_MS),
      setInterval(() => this.#sample(), SAMPLE_EVERY_MS),
      setInterval(() => void this.#probe(), PROBE_EVERY_MS),
    ];
  }

  /** Anonymous memory of the process: what it has allocated, without files that are mapped. */
  memoryBytes(): number {
    const status = fs.readFileSync(`/proc/${this.#daemon.pid}/status`, 'utf8');
    return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
  }

  /** Of all its threads since it began. The unit of /proc is a hundredth of a second on Linux. */
  cpuSeconds(): number {
    const stat = fs.readFileSync(`/proc/${this.#daemon.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  #sample(): void {
    this.peakBytes = Math.max(this.peakBytes, this.memoryBytes());
  }

  async #probe(): Promise<void> {
    this.probes.sent += 1;
    const { metricsUrl } = this.#daemon.deployment;
    const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS);
    const headers = { connection: 'close' };
    const answer = await fetch(`${metricsUrl}/healthz`, { signal, headers }).catch(() => undefined);
    if (answer?.status === 200) this.probes.answered += 1;
    await answer?.body?.cancel();
  }

  async #tryToConnect(): Promise<void> {
    this.newcomers.tried += 1;
    const { listen: remote } = this.#daemon.deployment;
    const peer = await connectPeer({ remote }, this.#newcomer, this.#over);
    await Promise.race([peer.greeted, peer.closed, pause(NEWCOMER_TIMEOUT_MS)]);
    if (peer.isGreeted) this.newcomers.greeted += 1;
    await peer.leave();
  }
}

function after(ms: number): () => boolean {
  const endMs = performance.now() + ms;
  return () => performance.now() >= endMs;
}
