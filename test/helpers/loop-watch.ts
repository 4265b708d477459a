/**
 * The longest that one turn of this process's event loop has computed. By processor time, so that a
 * busy machine measures the same.
 */
export class LoopWatch {
  longestMs = 0;
  #isOver = false;
  #last = process.cpuUsage();

  constructor() {
    this.#next();
  }

  stop(): void {
    this.#isOver = true;
  }

  #next(): void {
    setImmediate(() => {
      const { user, system } = process.cpuUsage(this.#last);
      this.#last = process.cpuUsage();
      this.longestMs = Math.max(this.longestMs, (user + system) / 1000);
      if (!this.#isOver) this.#next();
    });
  }
}
