/**
 * Work that many may ask for at once and that is the same for all of them.
 */

/**
 * A function that runs `work` one at a time: callers that ask while it runs share the next run with
 * all the others, and so never gets an outcome that is older than the question.
 */
export function coalesce<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<unknown> | undefined;
  let next: Promise<T> | undefined;
  const run = () => {
    next = undefined;
    const started = work();
    running = started
      .catch(() => {})
      .finally(() => {
        running = undefined;
      });
    return started;
  };
  return () => {
    if (running === undefined) return run();
    next ??= running.then(run);
    return next;
  };
}
