#!/usr/bin/env node
/**
 * `telemetry-agent`: arguments, signals and exit code; nothing else.
 */
import { type Logger, pino } from 'pino';
import { stacksFor } from '../client/transport-choice.ts';
import { systemClock } from '../lib/clock.ts';
import { errorMessage, OperatingError } from '../lib/errors.ts';
import { createLogger } from '../observability/logger.ts';
import { quinnStack } from '../transport/quinn/quinn-endpoint.ts';
import { tlsStack } from '../transport/tls/tls-endpoint.ts';
import { processEnvironment } from '../config/environment.ts';
import { parseAgentCommand } from './agent-command.ts';
import type { AgentSettings } from './agent-settings.ts';
import { dryRun } from './dry-run.ts';
import { Agent, openSources } from './run-agent.ts';

const EXIT_OPERATING_ERROR = 1;
const EXIT_USAGE = 2;
const EXIT_INCOMPLETE = 3;
const STDERR = 2;
/** What is wrong with what was asked for, and not with the surroundings. */
const USAGE_CODES: ReadonlySet<string> = new Set([
  ...['SOURCE_OPTIONS', 'CONFIG_UNREADABLE', 'CONFIG_INVALID'],
]);

process.exitCode = await main();

async function main(): Promise<number> {
  const release = holdProcess();
  try {
    const command = await parseAgentCommand(process.argv.slice(2), processEnvironment());
    if (command.kind === 'done') return command.exitCode;
    return await runCommand(command.settings);
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    process.stderr.write(`error: ${errorMessage(error)}\n`);
    return USAGE_CODES.has(error.code) ? EXIT_USAGE : EXIT_OPERATING_ERROR;
  } finally {
    release();
  }
}

async function runCommand(settings: AgentSettings): Promise<number> {
  if (settings.server === undefined) return runDry(settings);
  const stacks = stacksFor(settings.server.transport, { quic: quinnStack, tls: tlsStack });
  const deps = { clock: systemClock, logger: openLogger(settings), ...stacks };
  const agent = await Agent.start(deps, settings, settings.server);
  obeySignals(agent);
  const outcome = await agent.run();
  process.stdout.write(`${outcome.summary}\n`);
  return outcome.isComplete ? 0 : EXIT_INCOMPLETE;
}

async function runDry(settings: AgentSettings): Promise<number> {
  const sources = await openSources(settings, {
    clock: systemClock,
    logger: openLogger(settings),
  });
  try {
    process.stdout.write(await dryRun(sources));
    return 0;
  } catch (error) {
    process.stderr.write(`error: cannot collect: ${errorMessage(error)}\n`);
    return EXIT_OPERATING_ERROR;
  } finally {
    await Promise.allSettled(sources.map((source) => source.close()));
  }
}

function obeySignals(agent: Agent): void {
  let isStopping = false;
  const stop = (signal: NodeJS.Signals) => {
    if (isStopping) process.exit(signal === 'SIGINT' ? 130 : 143);
    isStopping = true;
    agent.stop();
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.on('SIGHUP', () => agent.reload());
}

/** Logs go to standard error; standard output has the summary or the table. */
function openLogger({ logLevel, logFormat }: AgentSettings): Logger {
  const destination = pino.destination({ dest: STDERR, sync: true });
  return createLogger({ level: logLevel, format: logFormat }, destination);
}

/** Timers of the clock do not keep a process alive; between two rounds nothing else might. */
function holdProcess(): () => void {
  const { port1 } = new MessageChannel();
  port1.ref();
  return () => port1.close();
}
