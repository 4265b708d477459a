/**
 * The real gateway as a child process, asked over HTTP.
 */
import { packageFile } from '../../src/lib/package-root.ts';
import { DaemonProcess, type Exit } from './daemon-process.ts';
import type { Deployment } from './deployment.ts';

/** An answer of the API. */
export interface GatewayAnswer {
  readonly data: readonly Record<string, unknown>[];
  readonly meta: Record<string, unknown>;
}

export class GatewayProcess {
  /** Where the API is. */
  readonly url: string;
  readonly #process: DaemonProcess;

  private constructor(process: DaemonProcess, url: string) {
    this.#process = process;
    this.url = url;
  }

  /** Starts it with the deployment's configuration and waits until it follows the collector. */
  static async start(deployment: Deployment): Promise<GatewayProcess> {
    const program = packageFile('dist/src/gateway/main.js');
    const child = DaemonProcess.launch(deployment, { program });
    await child.waitFor('the gateway to be ready', () => child.hasLogged('ready'));
    const url = String(child.log.find(({ msg }) => msg === 'ready')?.url);
    const gateway = new GatewayProcess(child, url);
    await child.waitFor('the gateway to follow the collector', async () => {
      const response = await fetch(`${url}/readyz`);
      return response.ok;
    });
    return gateway;
  }

  async get(path: string): Promise<GatewayAnswer> {
    const response = await fetch(`${this.url}${path}`);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as GatewayAnswer;
  }

  /** SIGTERM, and wait until it has gone. */
  stop(): Promise<Exit> {
    return this.#process.stop();
  }

  /** SIGKILL, and wait until it has gone. */
  kill(): Promise<Exit> {
    return this.#process.kill();
  }
}
