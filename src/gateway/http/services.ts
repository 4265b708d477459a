/**
 * What the paths of the API answer from.
 */
import type { Clock } from '../../lib/clock.ts';
import type { Access } from '../access/access.ts';
import type { Fleet } from '../fleet/fleet.ts';
import type { NodeStates } from '../fleet/node-states.ts';
import type { LiveHub } from '../live/live-hub.ts';
import { formatPosition } from '../tail/position.ts';
import type { Tail } from '../tail/tail.ts';
import type { Coverage, Meta } from './answer.ts';
import type { Scope } from '../access/roles.ts';

/** The parts of the gateway that the API shows. */
export interface Services {
  readonly clock: Clock;
  readonly access: Access;
  readonly fleet: Fleet;
  readonly nodes: NodeStates;
  readonly tail: Tail;
  readonly live: LiveHub;
  /** The feed is connected and has brought everything that the collector holds. */
  readonly isLive: () => boolean;
}

/** `meta` of an answer with these rows, begun at `startedMs` (monotonic). */
export function describeAnswer(
  services: Services,
  scope: Scope,
  answer: {
    readonly startedMs: number;
    readonly rows: number;
    readonly total?: number | undefined;
    readonly nextCursor: string | undefined;
  },
): Meta {
  const { clock, tail } = services;
  const { startedMs, rows, total, nextCursor } = answer;
  return {
    rows,
    ...(total === undefined ? {} : { total }),
    truncated: nextCursor !== undefined,
    ...(nextCursor === undefined ? {} : { next_cursor: nextCursor }),
    elapsed_ms: Math.round((clock.monotonicMs() - startedMs) * 1000) / 1000,
    position: formatPosition(tail.head),
    coverage: describeCoverage(services, scope),
  };
}

function describeCoverage(services: Services, scope: Scope): Coverage {
  const { clock, tail, fleet, nodes, isLive } = services;
  const nowMs = clock.nowMs();
  const { heldFromMs } = tail;
  return {
    from: heldFromMs === undefined ? null : new Date(heldFromMs).toISOString(),
    to: new Date(nowMs).toISOString(),
    live: isLive(),
    untracked_samples: fleet.series.untrackedSamples,
    nodes_silent: nodes.silent(nowMs, scope),
  };
}
