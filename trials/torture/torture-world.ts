/**
 * Everything that a run is made of, for the faults to work on.
 */
import type { Deployment } from '../harness/deployment.ts';
import type { FeedReading } from '../harness/feed-reading.ts';
import type { Clock } from '../../src/lib/clock.ts';
import type { Complaints } from './complaints.ts';
import type { DaemonSupervisor } from './daemon-supervisor.ts';
import type { Disks } from './disks.ts';
import type { FaultBook, InjectedFault } from './fault-book.ts';
import type { PlannedFault } from './fault-plan.ts';
import type { NetworkProxy } from './network-proxy.ts';
import type { Obligations } from './obligations.ts';
import type { RolledBack } from './oracle.ts';
import type { SinkServer } from './sink-server.ts';
import type { SpoolAgent } from './spool-agent.ts';
import type { TortureAgent } from './torture-agent.ts';

export interface TortureWorld {
  readonly clock: Clock;
  readonly deployment: Deployment;
  readonly supervisor: DaemonSupervisor;
  readonly obligations: Obligations;
  readonly book: FaultBook;
  readonly agents: readonly TortureAgent[];
  readonly spoolAgent: SpoolAgent | undefined;
  /** A reader of the feed; undefined where none was asked for. */
  readonly feedReading: FeedReading | undefined;
  readonly network: NetworkProxy;
  readonly sink: SinkServer | undefined;
  /** Undefined where disks of our own could not be mounted. */
  readonly disks: Disks | undefined;
  /** Things that went wrong while it ran; the oracle's findings come on top. */
  readonly complaints: Complaints;
  readonly print: (text: string) => void;
  /** The beginning of the hours that are sent, Unix ms. */
  readonly baseMs: number;
  /** Everything of the run lies in it. */
  readonly dir: string;
  readonly journalDir: string;
  readonly outputDir: string;
  readonly deadLetterDir: string;
  readonly spoolDir: string;
  /** What rollbacks did to the books so far. */
  rolledBack: RolledBack;
  /** Ends everything, by force. */
  close(): Promise<void>;
}

/** Does one fault from its beginning to its end. */
export type Inject = (
  world: TortureWorld,
  planned: PlannedFault,
  fault: InjectedFault,
  stop: AbortSignal,
) => Promise<void>;
