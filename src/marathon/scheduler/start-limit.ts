import type { Instance } from "./instance.ts";
import type { Timers } from "./timers.ts";

export interface StartLimitOptions {
  readonly timers: Timers;
  /** As long as a task may take to start (`task_launch_timeout`). */
  readonly limitMs: number;
  readonly expired: (appId: string, instance: Instance) => void;
}

/** One that does not start is ended, and another one is tried (spec/marathon.md 6.7). */
export class StartLimit {
  readonly #options: StartLimitOptions;

  constructor(options: StartLimitOptions) {
    this.#options = options;
  }

  /** The task is to start, or is said to be starting; since this daemon heard of it for the first time. */
  follow(appId: string, instance: Instance): void {
    const { timers, limitMs, expired } = this.#options;
    const key = `${instance.id} ${instance.attempt} start`;
    if (!isStarting(instance) || timers.has(key)) return;
    const { attempt } = instance;
    timers.later(key, limitMs, () => {
      if (isStarting(instance) && !instance.killing && instance.attempt === attempt) expired(appId, instance);
    });
  }
}

const isStarting = ({ state }: Instance): boolean => state === "TASK_STAGING" || state === "TASK_STARTING";
