import type { SystemState, VolumeRecord } from "./model.ts";
import { type CapacityRequest, checkCapacity } from "./pool/capacity.ts";

type Promised = Pick<CapacityRequest, "sizeBytes" | "thick">;

export interface PromisesOptions {
  readonly state: () => SystemState;
  /** What the devices hold, both copies. */
  readonly usedBytes: () => number;
  readonly granularityBytes: number;
}

/** What volumes are promised: never more than the pool's policy allows (design.md, invariant 8), by calls that go on at once neither. */
export class Promises {
  readonly #options: PromisesOptions;
  /** What is promised and not yet, or never, in the MDM's tables. */
  readonly #pending = new Set<Promised>();

  constructor(options: PromisesOptions) {
    this.#options = options;
  }

  /** Runs a task that has the MDM record this promise. Throws no_capacity, invalid_argument, and what the task throws. */
  async during<T>({ sizeBytes, thick }: Promised, task: () => Promise<T>): Promise<T> {
    const { usedBytes, granularityBytes } = this.#options;
    checkCapacity(this.#state(), { sizeBytes, thick, usedBytes: usedBytes() }, granularityBytes);
    const promised = { sizeBytes, thick };
    this.#pending.add(promised);
    try {
      return await task();
    } finally {
      this.#pending.delete(promised);
    }
  }

  /** As if all that is pending were there. */
  #state(): SystemState {
    const state = this.#options.state();
    if (this.#pending.size === 0) return state;
    const pending = [...this.#pending].map((promised, i) => [`pending ${i}`, promised as VolumeRecord] as const);
    return { ...state, volumes: new Map([...state.volumes, ...pending]) };
  }
}
