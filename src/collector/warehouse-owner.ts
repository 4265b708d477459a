/**
 * One daemon per collector id and warehouse. The lock is a file in the warehouse, where others may
 * remove it by mistake, so it is checked regularly and taken again when it is gone.
 */
import type { Logger } from 'pino';
import { type DirectoryLock, lockDirectory } from '../lib/directory-lock.ts';
import { errorMessage, OperatingError } from '../lib/errors.ts';
import { nodeFileSystem } from '../lib/filesystem.ts';
import { ownerDirectory } from '../warehouse/warehouse.ts';

export class WarehouseOwner {
  readonly #directory: string;
  readonly #logger: Logger;
  readonly #onLost: (error: OperatingError) => void;
  #lock: DirectoryLock;
  #keeping: Promise<void> | undefined;
  #isReleased = false;

  private constructor(
    { directory, lock }: { directory: string; lock: DirectoryLock },
    logger: Logger,
    onLost: (error: OperatingError) => void,
  ) {
    this.#directory = directory;
    this.#lock = lock;
    this.#logger = logger;
    this.#onLost = onLost;
  }

  /**
   * Throws OperatingError: WAREHOUSE_LOCKED where another daemon has it, WAREHOUSE_FAILED or
   * WAREHOUSE_LOCK_FAILED where the disk refuses the directory or the lock. `onLost` is called
   * where another one has it later on.
   */
  static async take(
    { root, collectorId }: { readonly root: string; readonly collectorId: string },
    logger: Logger,
    onLost: (error: OperatingError) => void,
  ): Promise<WarehouseOwner> {
    const directory = ownerDirectory(root, collectorId);
    return new WarehouseOwner({ directory, lock: await lockOwner(directory) }, logger, onLost);
  }

  /** Takes the lock again where its file is gone. Call it often: a second daemon may start now. */
  check(): void {
    if (this.#isReleased || this.#lock.isHeld()) return;
    this.#keeping ??= this.#takeAgain().finally(() => {
      this.#keeping = undefined;
    });
  }

  async release(): Promise<void> {
    this.#isReleased = true;
    await this.#keeping;
    await this.#lock.release();
  }

  async #takeAgain(): Promise<void> {
    try {
      const lost = this.#lock;
      this.#lock = await lockOwner(this.#directory);
      await lost.release();
      this.#logger.warn({ directory: this.#directory }, 'took the lost warehouse lock again');
    } catch (error) {
      if (isTaken(error)) this.#onLost(error);
      else this.#logger.error({ err: error }, 'cannot take the lost warehouse lock again');
    }
  }
}

/** Whether another daemon has it. */
function isTaken(error: unknown): error is OperatingError {
  return error instanceof OperatingError && error.code === 'WAREHOUSE_LOCKED';
}

async function lockOwner(directory: string): Promise<DirectoryLock> {
  try {
    nodeFileSystem.makeDirectory(directory);
  } catch (error) {
    const why = errorMessage(error);
    throw new OperatingError('WAREHOUSE_FAILED', `cannot create ${directory}: ${why}`);
  }
  return lockDirectory(directory, 'warehouse');
}
