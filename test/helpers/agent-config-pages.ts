/**
 * What the pages of the agent's configuration say beside its keys.
 */
import { AGENT_FORMAT } from '../../src/agent/agent-schema.ts';
import type { ConfigPages } from './render-config-docs.ts';

const INTRODUCTION = `# Configuration of the agent

\`telemetry-agent agent.yaml\` reads one YAML file. \`agent.example.yaml\` has every key at its default.
This page is made from \`src/agent/agent-schema.ts\`.

- An option on the command line wins over a variable, a variable over the file, the file over the
  default. The option of a key stands in parentheses at its end. \`--once\`, \`--count\` and \`--dry-run\` are options
  alone.
- An unknown key is an error, and so is a value out of its bounds. All mistakes are reported at
  once, each with its line.
- \`\${NAME}\` in a text stands for a variable of the environment, or for the systemd credential of
  that name (\`LoadCredential=\`); it must be set. \`$\${\` is a plain \`\${\`.
- Every key can be overridden by a variable, \`TELEMETRY_AGENT_SECTION__KEY\`: \`THROTTLE_ENABLED\`,
  \`THROTTLE_MAX_QUEUE_DEPTH\` and \`THROTTLE_RATE\` of other pipelines are here
  \`TELEMETRY_AGENT_THROTTLE__ENABLED\`, \`TELEMETRY_AGENT_THROTTLE__MAX_QUEUE_DEPTH\` and
  \`TELEMETRY_AGENT_THROTTLE__RATE\`.
- An agent that is given options alone loads neither the schema nor a YAML reader, and takes 20 MB
  less memory.
`;

export const AGENT_PAGES: ConfigPages = {
  keys: AGENT_FORMAT,
  exampleHead:
    'Every setting of the telemetry agent at its default; only what differs needs to be written. ' +
    'Needed are server.addr, the three files of security, and collect.sources. Texts may refer ' +
    'to variables of the environment. See docs/agent-configuration.md.',
  introduction: INTRODUCTION,
  publicKeys: [],
  exampleValues: {},
};
