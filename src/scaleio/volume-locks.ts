import { KeyedMutex } from "../lib/mutex.ts";
import type { Id } from "./model.ts";
import type { RepairTurns } from "./repair-turns.ts";

/** One at a time takes a volume up, down or apart. Several volumes are taken in order of their ids, so that no two wait for each other. */
export class VolumeLocks {
  readonly #locks = new KeyedMutex();
  readonly #turns: Pick<RepairTurns, "without">;

  constructor(turns: Pick<RepairTurns, "without">) {
    this.#turns = turns;
  }

  /** Nobody else takes these volumes up, down or apart meanwhile, nor repairs them. */
  alone<T>(ids: readonly Id[], task: () => Promise<T>): Promise<T> {
    return this.#locked(
      ids,
      ids.reduceRight<() => Promise<T>>((inner, id) => () => this.#turns.without(id, inner), task),
    );
  }

  /**
   * Nobody takes the volumes up, down or apart that these are when the task runs: there may be more of them than when it began to wait. Repairs go on.
   */
  async all<T>(idsNow: () => readonly Id[], task: () => Promise<T>): Promise<T> {
    for (;;) {
      const ids = idsNow();
      const done = await this.#locked(ids, async () =>
        idsNow().every((id) => ids.includes(id)) ? { result: await task() } : undefined,
      );
      if (done !== undefined) return done.result;
    }
  }

  #locked<T>(ids: readonly Id[], task: () => Promise<T>): Promise<T> {
    const inOrder = [...new Set(ids)].sort();
    return inOrder.reduceRight<() => Promise<T>>((inner, id) => () => this.#locks.run(id, inner), task)();
  }
}
