/**
 * The node agent put together: sources → loop → client. Knows no signals; main.ts turns them into
 * calls of `stop` and `reload`.
 */
import os from 'node:os';
import type { Logger } from 'pino';
import { TelemetryClient } from '../client/client.ts';
import { agentTransport } from '../client/client-endpoints.ts';
import { type ClientStats, summarize } from '../client/client-stats.ts';
import { readCredentials } from '../client/credential-files.ts';
import type { Source } from '../client/reading.ts';
import type { Clock } from '../lib/clock.ts';
import { errorMessage, OperatingError } from '../lib/errors.ts';
import { programVersion } from '../lib/program-version.ts';
import type { QuicStack } from '../transport/quic-endpoint.ts';
import { AgentLoop } from './agent-loop.ts';
import type { AgentSettings, ServerSettings } from './agent-settings.ts';
import { CredentialWatch } from './credential-watch.ts';
import { openSource } from './sources/open-source.ts';

const DRAIN_DEADLINE_MS = 10_000;
/** The client's default. */
const IDLE_TIMEOUT_MS = 15_000;

export interface AgentDeps {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What only an agent that sends needs. */
export interface SendingAgentDeps extends AgentDeps {
  readonly stack: QuicStack;
  /** For when `stack` does not get through. */
  readonly fallbackStack?: QuicStack;
}

/** What a finished run leaves behind. */
export interface AgentOutcome {
  readonly stats: ClientStats;
  /** For a person: what became of everything that was collected. */
  readonly summary: string;
  /** Every sample was acknowledged: nothing was dropped, rejected or left. */
  readonly isComplete: boolean;
}

/** The agent as a process: its client, its sources, its way to an end. */
export class Agent {
  readonly #client: TelemetryClient;
  readonly #sources: readonly Source[];
  readonly #loop: AgentLoop;
  readonly #credentials: CredentialWatch;
  readonly #spoolMaxBytes: number;
  #http: { close(): Promise<void> } | undefined;

  /**
   * Reads the certificates and opens sources, spool and the HTTP side. Rejects with an
   * OperatingError.
   */
  static async start(
    deps: SendingAgentDeps,
    settings: AgentSettings,
    server: ServerSettings,
  ): Promise<Agent> {
    const credentials = readCredentials(server);
    const sources = await openSources(settings, deps);
    const { nodeId, spoolBytes, spoolDir } = settings;
    const { remote, serverName, transportFallbackMs, transportRetryMs } = server;
    const spool = { maxBytes: spoolBytes, ...(spoolDir === undefined ? {} : { dir: spoolDir }) };
    let client: TelemetryClient | undefined;
    try {
      const options = { remote, serverName, credentials, nodeId, spool };
      const transports = { transportFallbackMs, transportRetryMs };
      client = await TelemetryClient.open({ ...options, ...transports }, deps);
      const agent = new Agent(deps, settings, server, { client, sources });
      await agent.#listen(settings);
      return agent;
    } catch (error) {
      await closeAll(sources);
      await client?.close();
      throw error;
    }
  }

  private constructor(
    deps: SendingAgentDeps,
    settings: AgentSettings,
    server: ServerSettings,
    parts: { client: TelemetryClient; sources: readonly Source[] },
  ) {
    const { spoolBytes, throttle } = settings;
    this.#client = parts.client;
    this.#sources = parts.sources;
    this.#spoolMaxBytes = spoolBytes;
    this.#loop = new AgentLoop({ ...deps, client: parts.client }, parts.sources, {
      intervalMs: settings.intervalMs,
      nodeKey: settings.nodeId === '' ? os.hostname() : settings.nodeId,
      maxBatchSamples: settings.maxBatchSamples,
      throttle: { ...throttle, maxBytes: spoolBytes },
      ...(settings.rounds === undefined ? {} : { rounds: settings.rounds }),
    });
    this.#credentials = new CredentialWatch(server, deps, (credentials) => {
      deps.stack.checkCredentials(agentTransport(IDLE_TIMEOUT_MS), credentials);
      parts.client.useCredentials(credentials);
    });
  }

  /** Works until the rounds are over or `stop`, sends what is left, and closes everything. */
  async run(): Promise<AgentOutcome> {
    try {
      await this.#loop.run();
      await this.#client.drain(DRAIN_DEADLINE_MS);
    } finally {
      this.#credentials.close();
      await closeAll(this.#sources);
      await this.#client.close();
      await this.#http?.close();
    }
    const { stats } = this.#client;
    const lost = stats.droppedSamples + stats.rejectedSamples + stats.spooledSamples;
    return { stats, summary: summarize(stats), isComplete: lost === 0 };
  }

  /** Ends the rounds; `run` then sends what is left. Idempotent. */
  stop(): void {
    this.#loop.stop();
  }

  /** Reads the certificate files again; files that cannot work leave the old ones in use. */
  reload(): void {
    this.#credentials.reload();
  }

  async #listen({ metrics }: AgentSettings): Promise<void> {
    if (metrics === undefined) return;
    const { openAgentHttp } = await import('./agent-http.ts');
    this.#http = await openAgentHttp(metrics, programVersion(), () => ({
      client: this.#client.stats,
      isConnected: this.#client.isConnected,
      spoolMaxBytes: this.#spoolMaxBytes,
      ...this.#loop.figures,
    }));
  }
}

/**
 * Opens each kind of source that is asked for. Rejects with an OperatingError, with none left open.
 */
export async function openSources(settings: AgentSettings, deps: AgentDeps): Promise<Source[]> {
  const sources: Source[] = [];
  for (const kind of settings.sources) {
    try {
      sources.push(await openSource(kind, settings.sourceOptions, deps));
    } catch (error) {
      await closeAll(sources);
      if (error instanceof OperatingError) throw error;
      const message = `cannot open source ${kind}: ${errorMessage(error)}`;
      throw new OperatingError('BAD_SOURCE', message, { cause: error });
    }
  }
  return sources;
}

async function closeAll(sources: readonly Source[]): Promise<void> {
  await Promise.allSettled(sources.map((source) => source.close()));
}
