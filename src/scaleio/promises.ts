import type { SystemState } from "./model.ts";
import { type CapacityRequest, checkCapacity } from "./pool/capacity.ts";

export interface PromisesOptions {
  readonly state: () => SystemState;
  /** What thin volumes have written, both copies. */
  readonly thinBytes: () => Promise<number>;
  readonly granularityBytes: number;
}

/** What volumes are promised: never more than the pool's policy allows (design.md, invariant 8), by calls that go on at once neither. */
export class Promises {
  readonly #options: PromisesOptions;
  /** What is promised and not yet, or never, in the MDM's tables. */
  readonly #pending = new Set<CapacityRequest>();

  constructor(options: PromisesOptions) {
    this.#options = options;
  }

  /** Runs a task that has the MDM record this promise. Throws no_capacity, invalid_argument, and what the task throws. */
  async during<T>(request: CapacityRequest, task: () => Promise<T>): Promise<T> {
    const { state, thinBytes, granularityBytes } = this.#options;
    const written = await thinBytes();
    // Nothing is waited for between the look at the others and one's own promise.
    checkCapacity(state(), written, granularityBytes, request, this.#pending);
    this.#pending.add(request);
    try {
      return await task();
    } finally {
      this.#pending.delete(request);
    }
  }
}
