/**
 * The exit codes of the process. A test compares the table of docs/cli.md with this one.
 */

import { HANG_EXIT_CODE } from '../../observability/hang-watch.ts';

export const EXIT_CODES = [
  { name: 'ok', code: 0, meaning: 'Done, or stopped as asked.' },
  { name: 'failed', code: 1, meaning: 'An operating error: the message says what to fix.' },
  { name: 'usage', code: 2, meaning: 'The command line was not understood.' },
  { name: 'config', code: 3, meaning: 'The configuration cannot be read or is not valid.' },
  { name: 'certificates', code: 4, meaning: 'check-config: a certificate or key is unusable.' },
  { name: 'directories', code: 5, meaning: 'check-config: a directory is unusable.' },
  { name: 'sinks', code: 6, meaning: 'check-config: InfluxDB is out of reach or refuses writes.' },
  { name: 'port', code: 7, meaning: 'check-config: an address or port cannot be bound.' },
  { name: 'bug', code: 70, meaning: 'A fault of the program itself; please report its log.' },
  {
    name: 'hang',
    code: HANG_EXIT_CODE,
    meaning: 'The main thread stood still for too long; its stack is in the log.',
  },
  { name: 'interrupted', code: 130, meaning: 'A second SIGINT: ended at once, without draining.' },
  { name: 'terminated', code: 143, meaning: 'A second SIGTERM: ended at once, without draining.' },
] as const;

export type ExitName = (typeof EXIT_CODES)[number]['name'];

/** The number of an outcome. */
export function exitCode(name: ExitName): number {
  return EXIT_CODES.find((entry) => entry.name === name)?.code ?? 70;
}
