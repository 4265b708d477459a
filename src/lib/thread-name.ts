/**
 * A name for the calling thread, so that `top -H` and /proc tell threads of one process apart.
 */
import fs from 'node:fs';

/** The kernel keeps this much of a name. */
const NAME_CHARS_MAX = 15;

/** Names the calling thread where the system is Linux; elsewhere nothing happens. */
export function nameThread(name: string): void {
  try {
    fs.writeFileSync('/proc/thread-self/comm', name.slice(0, NAME_CHARS_MAX));
  } catch {
    // A name is a comfort: without /proc there is none.
  }
}
