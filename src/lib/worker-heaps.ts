/**
 * How the engine sizes the heaps of worker threads.
 *
 * A fresh heap is collected whole again and again while it is small. The writers live on
 * short-lived buffers, which count as well: at a few hundred MB a second that was ten full
 * collections a second between them, each with helper threads that took as much CPU as the InfluxDB
 * writer itself.
 */
import v8 from 'node:v8';

/** Megabytes that old objects and buffers may take before the first full collection. */
const FIRST_COLLECTION_MB = 96;

/** Holds for threads that are started afterwards. Changes no limit, only when collecting begins. */
export function letWorkerHeapsGrow(): void {
  v8.setFlagsFromString(`--initial-old-space-size=${FIRST_COLLECTION_MB}`);
}
