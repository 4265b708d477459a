/**
 * Reads the agent's configuration. A file of its own because it brings the schema and a YAML reader
 * along, which an agent without a configuration file does not need.
 */
import type { Environment } from '../config/environment.ts';
import { loadFormat } from '../config/load-config.ts';
import { AGENT_FORMAT, type AgentConfig } from './agent-schema.ts';

/**
 * The configuration of `path`, or the defaults where it is undefined, with the overrides of
 * `environment`; frozen. Throws OperatingError CONFIG_UNREADABLE or CONFIG_INVALID, the latter with
 * every problem in its message.
 */
export function loadAgentConfig(path: string | undefined, environment: Environment): AgentConfig {
  return loadFormat(AGENT_FORMAT, path, environment);
}
