/**
 * Agents that crash, forget, repeat themselves, lose the time, change their tables and dig out what
 * is days old.
 */
import { sleep } from '../../../src/lib/clock.ts';
import type { Inject } from '../torture-world.ts';

const STRAY_ROUNDS = 5;
/** About as often as an agent sends. */
const SCATTER_INTERVAL_MS = 40;

export const injectAgentFault: Inject = async (world, planned, fault, stop) => {
  const { agents, spoolAgent, clock } = world;
  const { name, dice, lengthMs } = planned;
  const agent = agents[Math.floor(dice * agents.length)];
  if (agent === undefined) throw new Error('BUG: no agents');
  fault.note = `node ${agent.node}`;
  switch (name) {
    case 'agent: crashes and restarts with its spool':
      fault.note = '';
      await spoolAgent?.crash();
      break;
    case 'agent: forgets its epoch':
      await agent.newEpoch();
      break;
    case 'agent: sends an old epoch again':
      // The choice of the epoch is another than that of the agent.
      if (!(await agent.resendOld((dice * 7919) % 1))) fault.note += ', which has none';
      break;
    case 'agent: sends over two connections at once':
      await agent.twins();
      await sleep(clock, lengthMs, stop);
      await agent.newEpoch();
      break;
    case 'agent: has a clock that jumps':
      agent.clockJump(STRAY_ROUNDS);
      break;
    case 'tables: another with each batch':
      agent.changeTables(true);
      await sleep(clock, lengthMs, stop);
      agent.changeTables(false);
      break;
    case 'hours: a batch of as many hours as samples':
      agent.scatter(Math.ceil(lengthMs / SCATTER_INTERVAL_MS));
      await sleep(clock, lengthMs, stop);
      break;
    default:
      throw new Error(`BUG: no such fault: ${name}`);
  }
};
