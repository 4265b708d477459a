/**
 * Waiting for something to become true, with a deadline that is generous because machines are slow
 * and that never passes in a good run.
 */
const POLL_MS = 2;

/** Resolves once `condition` holds; rejects naming `what` when it does not in time. */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  deadlineMs = 15_000,
): Promise<void> {
  const startedMs = performance.now();
  while (!(await condition())) {
    if (performance.now() - startedMs > deadlineMs) throw new Error(`did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
