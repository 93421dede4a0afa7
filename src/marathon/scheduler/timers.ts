/** What setTimeout can wait for. */
const LONGEST_MS = 2 ** 31 - 1;

/** Things to be done later, one a key: a new one takes the place of the old one. */
export class Timers {
  readonly #timers = new Map<string, NodeJS.Timeout>();
  #closed = false;

  later(key: string, ms: number, task: () => void): void {
    this.drop(key);
    if (this.#closed) return;
    const run = () => {
      this.#timers.delete(key);
      if (ms > LONGEST_MS) this.later(key, ms - LONGEST_MS, task);
      else task();
    };
    this.#timers.set(key, setTimeout(run, Math.min(ms, LONGEST_MS)));
  }

  has(key: string): boolean {
    return this.#timers.has(key);
  }

  drop(key: string): void {
    clearTimeout(this.#timers.get(key));
    this.#timers.delete(key);
  }

  close(): void {
    this.#closed = true;
    for (const key of [...this.#timers.keys()]) this.drop(key);
  }
}
