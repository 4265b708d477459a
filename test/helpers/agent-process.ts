/** The real agent as a child process of a scenario, judged by its log, its summary and its exit. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { packageFile } from '../../src/lib/package-root.ts';
import type { QuicAddress } from '../../src/transport/quic-endpoint.ts';
import type { LogLine } from '../../trials/harness/daemon-process.ts';
import type { Scenario } from './scenario.ts';

/** What became of the samples, as the agent's last line tells it. */
export interface AgentSummary {
  readonly samples: number;
  readonly acked: number;
  readonly duplicate: number;
}

export interface AgentProcessOptions {
  /** Default: the daemon of the scenario. */
  readonly remote?: QuicAddress;
  readonly env?: NodeJS.ProcessEnv;
}

const FIGURES = /^([\d,]+) samples in [\d,]+ batches, ([\d,]+) acked, ([\d,]+) duplicate/m;

export class AgentProcess {
  readonly log: LogLine[] = [];
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown[]>;
  #output = '';

  /** Starts an agent under the certificate of `nodeId`; `words` say what it sends and how. */
  static async start(
    scenario: Scenario,
    nodeId: string,
    words: readonly string[],
    { remote = scenario.deployment.listen, env = {} }: AgentProcessOptions = {},
  ): Promise<AgentProcess> {
    const credentials = await scenario.deployment.nodeCredentials(nodeId);
    const pem = (name: string, text: string) => {
      const target = path.join(scenario.deployment.dir, `${nodeId}-${name}.pem`);
      fs.writeFileSync(target, text, { mode: 0o600 });
      return target;
    };
    const options = [
      ['--server', `${remote.host}:${remote.port}`, '--server-name', 'localhost'],
      ['--cert', pem('cert', credentials.certPem)],
      ['--key', pem('key', credentials.keyPem)],
      ['--ca', pem('ca', credentials.caPem)],
    ];
    const agent = new AgentProcess([...options.flat(), ...words], env);
    scenario.onClose(() => {
      agent.#child.kill('SIGKILL');
    });
    return agent;
  }

  private constructor(words: readonly string[], env: NodeJS.ProcessEnv) {
    const program = packageFile('dist/src/agent/main.js');
    this.#child = spawn(process.execPath, [program, ...words], { env: { ...process.env, ...env } });
    this.#exited = once(this.#child, 'exit');
    this.#child.stdout?.on('data', (text) => {
      this.#output += text;
    });
    if (this.#child.stderr === null) return;
    readline.createInterface(this.#child.stderr).on('line', (line) => {
      if (line.startsWith('{')) this.log.push(JSON.parse(line) as LogLine);
      else this.#output += `${line}\n`;
    });
  }

  /** Lines with this message, and with these fields. */
  lines(msg: string, fields: Readonly<Record<string, unknown>> = {}): LogLine[] {
    const wanted = Object.entries({ msg, ...fields });
    return this.log.filter((line) => wanted.every(([name, value]) => line[name] === value));
  }

  stop(): void {
    this.#child.kill('SIGTERM');
  }

  /** Once it has ended. Throws where it did not end well. */
  async summary(): Promise<AgentSummary> {
    const [code, signal] = await this.#exited;
    const found = FIGURES.exec(this.#output)?.slice(1);
    if (code !== 0 || found === undefined) {
      throw new Error(`the agent ended with ${code ?? signal}: ${this.#output}`);
    }
    const [samples = 0, acked = 0, duplicate = 0] = found.map((text) =>
      Number(text.replaceAll(',', '')),
    );
    return { samples, acked, duplicate };
  }
}
