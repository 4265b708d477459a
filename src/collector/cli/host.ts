/**
 * What a command needs of the process that runs it.
 */
import type { Environment } from '../../config/environment.ts';

export interface Host {
  /** Standard output. */
  readonly out: (text: string) => void;
  /** Standard error. */
  readonly err: (text: string) => void;
  readonly environment: Environment;
  /** Signals are not handled before this is called, so other commands end on Ctrl-C as usual. */
  readonly watchSignals: (handlers: SignalHandlers) => void;
}

export interface SignalHandlers {
  /** The first SIGTERM or SIGINT; a second one ends the process at once. */
  readonly stop: (signal: string) => void;
  /** SIGHUP. */
  readonly reload: () => void;
  /** An uncaught exception; the process ends right after this returns. */
  readonly fatal: (error: unknown) => void;
}
