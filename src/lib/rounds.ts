/** How long it rests when there was nothing to do and nobody wakes it. */
const REST_MS = 500;

/** Does things again and again until it is stopped: at once when there was something to do, or when somebody has woken it. */
export class Rounds {
  readonly #signal: AbortSignal;
  readonly #failed: (error: unknown) => void;
  readonly #naps = new Set<() => void>();

  constructor(signal: AbortSignal, failed: (error: unknown) => void) {
    this.#signal = signal;
    this.#failed = failed;
  }

  /** `round` answers whether there was something to do. */
  async run(round: () => Promise<boolean>): Promise<void> {
    while (!this.#signal.aborted) {
      let worked = false;
      try {
        worked = await round();
      } catch (error) {
        this.#failed(error);
      }
      if (!worked) await this.#nap();
    }
  }

  /** Also when it is stopped. */
  wake(): void {
    for (const wake of [...this.#naps]) wake();
  }

  #nap(): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#naps.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, REST_MS);
      this.#naps.add(wake);
      if (this.#signal.aborted) wake();
    });
  }
}
