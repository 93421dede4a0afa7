import type { Instance } from "./instance.ts";
import { type AppRecord, current } from "./store.ts";
import type { Timers } from "./timers.ts";

export interface LossesOptions {
  readonly timers: Timers;
  readonly record: (appId: string) => AppRecord | undefined;
  /** Another one may take its place. */
  readonly inactive: (appId: string, instance: Instance) => void;
  /** It is not waited for any more. */
  readonly expunge: (appId: string, instance: Instance) => void;
}

/** Instances on lost agents: the two times of an application's strategy (spec/marathon.md 8), also over a start of the daemon. */
export class Losses {
  readonly #options: LossesOptions;

  constructor(options: LossesOptions) {
    this.#options = options;
  }

  /** An instance is lost, since `unreachableSince`. */
  follow(appId: string, instance: Instance): void {
    const record = this.#options.record(appId);
    const strategy = record === undefined ? "disabled" : current(record).app.unreachableStrategy;
    if (strategy === "disabled" || instance.unreachableSince === undefined) return;
    const since = Date.parse(instance.unreachableSince);
    const { inactive, expunge } = this.#options;
    this.#at(`${instance.id} inactive`, since + strategy.inactiveAfterSeconds * 1000, instance, () =>
      inactive(appId, instance),
    );
    this.#at(`${instance.id} expunge`, since + strategy.expungeAfterSeconds * 1000, instance, () =>
      expunge(appId, instance),
    );
  }

  /** It is back, or gone. */
  forget({ id }: Pick<Instance, "id">): void {
    for (const what of ["inactive", "expunge"]) this.#options.timers.drop(`${id} ${what}`);
  }

  #at(key: string, time: number, instance: Instance, task: () => void): void {
    const left = time - Date.now();
    // Timers may be early.
    if (left > 0) this.#options.timers.later(key, left, () => this.#at(key, time, instance, task));
    else if (instance.state === "TASK_UNREACHABLE") task();
  }
}
