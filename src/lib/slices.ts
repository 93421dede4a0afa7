import { setTimeout as pause, setImmediate as yieldNow } from "node:timers/promises";

/** What others may have to wait for. */
const SLICE_MS = 10;

/** Cuts a long computation into slices, so that requests are answered in between. */
export class Slices {
  readonly #rest: boolean;
  #began = performance.now();

  /** `background`: half of the time is left to others, whoever they are. */
  constructor({ background = false } = {}) {
    this.#rest = background;
  }

  /** Between two units of work: lets others run when a slice is over. */
  async next(): Promise<void> {
    if (performance.now() - this.#began < SLICE_MS) return;
    await (this.#rest ? pause(SLICE_MS) : yieldNow());
    this.#began = performance.now();
  }
}
