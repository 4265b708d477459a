/**
 * The node agent put together: sources → loop → client. Knows no signals; main.ts turns them into
 * calls of `stop` and `reload`.
 */
import os from 'node:os';
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.ts';
import { errorMessage, OperatingError } from '../lib/errors.ts';
import type { QuicStack } from '../transport/quic-endpoint.ts';
import type { AgentSettings, ServerSettings } from './agent-settings.ts';
import { AgentLoop } from './agent-loop.ts';
import { TelemetryClient } from '../client/client.ts';
import { type ClientStats, summarize } from '../client/client-stats.ts';
import { readCredentials } from '../client/credential-files.ts';
import type { Source } from '../client/reading.ts';
import { openSource } from './sources/open-source.ts';

const DRAIN_DEADLINE_MS = 10_000;

export interface AgentDeps {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What only an agent that sends needs. */
export interface SendingAgentDeps extends AgentDeps {
  readonly stack: QuicStack;
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
  readonly #logger: Logger;
  readonly #server: ServerSettings;
  readonly #client: TelemetryClient;
  readonly #sources: readonly Source[];
  readonly #loop: AgentLoop;

  /** Reads the certificates and opens sources and spool. Rejects with an OperatingError. */
  static async start(
    deps: SendingAgentDeps,
    settings: AgentSettings,
    server: ServerSettings,
  ): Promise<Agent> {
    const credentials = readCredentials(server);
    const sources = await openSources(settings, deps);
    const { nodeId, spoolBytes, spoolDir } = settings;
    const { remote, serverName } = server;
    const spool = { maxBytes: spoolBytes, ...(spoolDir === undefined ? {} : { dir: spoolDir }) };
    try {
      const options = { remote, serverName, credentials, nodeId, spool };
      const client = await TelemetryClient.open(options, deps);
      return new Agent(deps, settings, server, { client, sources });
    } catch (error) {
      await closeAll(sources);
      throw error;
    }
  }

  private constructor(
    deps: AgentDeps,
    settings: AgentSettings,
    server: ServerSettings,
    parts: { client: TelemetryClient; sources: readonly Source[] },
  ) {
    this.#logger = deps.logger;
    this.#server = server;
    this.#client = parts.client;
    this.#sources = parts.sources;
    this.#loop = new AgentLoop({ ...deps, client: parts.client }, parts.sources, {
      intervalMs: settings.intervalMs,
      nodeKey: settings.nodeId === '' ? os.hostname() : settings.nodeId,
      maxBatchSamples: settings.maxBatchSamples,
      ...(settings.rounds === undefined ? {} : { rounds: settings.rounds }),
    });
  }

  /** Works until the rounds are over or `stop`, sends what is left, and closes everything. */
  async run(): Promise<AgentOutcome> {
    try {
      await this.#loop.run();
      await this.#client.drain(DRAIN_DEADLINE_MS);
    } finally {
      await closeAll(this.#sources);
      await this.#client.close();
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
    try {
      this.#client.useCredentials(readCredentials(this.#server));
      this.#logger.info('certificate files were read again');
    } catch (error) {
      this.#logger.error({ err: error }, 'certificate files are not usable; the old ones stay');
    }
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
