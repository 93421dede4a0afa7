interface Running {
  readonly unit: string;
  readonly abort: AbortController;
  readonly done: Promise<void>;
}

/**
 * Keeps repairs off units (repairer.ts) that somebody attaches, detaches or removes: two engines must never have one layer open.
 * One repair at a time; whoever wants the unit has it broken off, which is harmless: it is the same crash-proof logic.
 */
export class RepairTurns {
  /** How many are at a unit. */
  readonly #held = new Map<string, number>();
  #running: Running | undefined;
  #taken: (unit: string) => void = () => undefined;

  /** Sets who is told when somebody takes a unit: from then on it is not what a repair has left. */
  onTaken(taken: (unit: string) => void): void {
    this.#taken = taken;
  }

  isHeld(unit: string): boolean {
    return this.#held.has(unit);
  }

  isRepaired(unit: string): boolean {
    return this.#running?.unit === unit;
  }

  /** Breaks off whatever runs. */
  stop(): void {
    this.#running?.abort.abort();
  }

  /** Runs the task when a repair of the unit that was under way has ended; none begins before the task ends. */
  async without<T>(unit: string, task: () => Promise<T>): Promise<T> {
    this.#held.set(unit, (this.#held.get(unit) ?? 0) + 1);
    this.#taken(unit);
    try {
      if (this.#running?.unit === unit) {
        this.#running.abort.abort();
        await this.#running.done;
      }
      return await task();
    } finally {
      const holders = (this.#held.get(unit) ?? 1) - 1;
      if (holders > 0) this.#held.set(unit, holders);
      else this.#held.delete(unit);
    }
  }

  /**
   * Runs a repair of a unit that nobody holds; undefined: it was broken off. Throws what the repair throws. The caller has
   * looked whether the unit is held, and has waited for nothing since.
   */
  async run<T>(unit: string, repair: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    const abort = new AbortController();
    const result = repair(abort.signal);
    const done = result.then(
      () => undefined,
      () => undefined,
    );
    this.#running = { unit, abort, done };
    try {
      const answer = await result;
      return abort.signal.aborted ? undefined : answer;
    } catch (error) {
      if (abort.signal.aborted) return undefined;
      throw error;
    } finally {
      this.#running = undefined;
    }
  }
}
