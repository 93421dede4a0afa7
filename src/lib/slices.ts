import { setTimeout as pause, setImmediate as yieldNow } from "node:timers/promises";

/** What others may have to wait for: those who asked for something, and what goes on behind their backs. */
const SLICE_MS = 10;
const BACKGROUND_MS = 3;

/** Cuts a long computation into slices, so that requests are answered in between. */
export class Slices {
  readonly #background: boolean;
  #began = performance.now();

  /** `background`: half of the time is left to others, whoever they are. */
  constructor({ background = false } = {}) {
    this.#background = background;
  }

  /** Between two units of work: lets others run when a slice is over. */
  async next(): Promise<void> {
    if (performance.now() - this.#began < (this.#background ? BACKGROUND_MS : SLICE_MS)) return;
    await (this.#background ? pause(BACKGROUND_MS) : yieldNow());
    this.#began = performance.now();
  }
}
