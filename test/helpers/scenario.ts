/**
 * One scenario's world: a deployment in a temporary directory, the daemons and clients started in
 * it, and an end that leaves nothing behind.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { DaemonProcess } from '../../trials/harness/daemon-process.ts';
import { Deployment, type Settings } from '../../trials/harness/deployment.ts';
import { WarehouseQuery } from '../../trials/harness/warehouse-query.ts';
import { TelemetryClient } from '../../src/client/client.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { quinnStack } from '../../src/transport/quinn/quinn-endpoint.ts';
import type { QuicCredentials } from '../../src/transport/quic-endpoint.ts';

export class Scenario {
  readonly deployment: Deployment;
  readonly warehouse: WarehouseQuery;
  readonly #daemons: DaemonProcess[] = [];
  readonly #clients: TelemetryClient[] = [];
  readonly #cleanups: (() => void | Promise<void>)[] = [];

  private constructor(deployment: Deployment) {
    this.deployment = deployment;
    this.warehouse = new WarehouseQuery(deployment.warehouseDir);
  }

  static async open(settings: Settings = {}): Promise<Scenario> {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'collector-scenario-'));
    return new Scenario(await Deployment.create(dir, settings));
  }

  async startDaemon(env: NodeJS.ProcessEnv = {}): Promise<DaemonProcess> {
    const daemon = await DaemonProcess.start(this.deployment, env);
    this.#daemons.push(daemon);
    return daemon;
  }

  /**
   * A client of `nodeId` with its own certificate, or with `credentials`; impatient, as tests are.
   */
  async openClient(nodeId: string, credentials?: QuicCredentials): Promise<TelemetryClient> {
    const client = await TelemetryClient.open(
      {
        remote: this.deployment.listen,
        serverName: 'localhost',
        credentials: credentials ?? (await this.deployment.nodeCredentials(nodeId)),
        nodeId,
        spool: { maxBytes: 64 * 1024 * 1024 },
        idleTimeoutMs: 1500,
        keepaliveMs: 500,
        ackTimeoutMs: 3000,
        backoff: { initialMs: 20, maxMs: 250 },
      },
      {
        clock: systemClock,
        logger: pino({ enabled: false }),
        stack: quinnStack,
      },
    );
    this.#clients.push(client);
    return client;
  }

  onClose(cleanup: () => void | Promise<void>): void {
    this.#cleanups.push(cleanup);
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()));
    await Promise.all(this.#daemons.map((daemon) => daemon.kill()));
    for (const cleanup of this.#cleanups) await cleanup();
    fs.rmSync(this.deployment.dir, { recursive: true, force: true });
  }
}
