import type { Agents } from "../../mesos/master/agents.ts";
import type { Instance } from "./instance.ts";
import { freeOffers, match } from "./offers.ts";
import { type AppRecord, current } from "./store.ts";
import type { Tasks } from "./tasks.ts";
import type { Timers } from "./timers.ts";
import { Waiting } from "./waiting.ts";

export interface PlacementOptions {
  readonly agents: Pick<Agents, "list">;
  readonly tasks: Tasks;
  readonly timers: Timers;
  /** The delay after a failure is over. */
  readonly delayOver: (appId: string) => void;
  /** An instance has an agent and ports. */
  readonly placed: (appId: string, instance: Instance) => void;
}

/** The launch queue: finds places for instances that wait for one, and says why others have none. */
export class Placement {
  readonly #options: PlacementOptions;
  readonly #waiting = new Map<string, Waiting>();

  constructor(options: PlacementOptions) {
    this.#options = options;
  }

  waiting(appId: string): Waiting | undefined {
    return this.#waiting.get(appId);
  }

  forget(appId: string): void {
    this.#waiting.delete(appId);
    this.#options.timers.drop(`${appId} delay`);
  }

  place(appId: string, record: AppRecord): void {
    const scheduled = record.instances.filter(({ state }) => state === "Scheduled");
    if (scheduled.length === 0) {
      this.forget(appId);
      return;
    }
    const { agents, tasks, timers, delayOver, placed } = this.#options;
    const waiting = this.#waiting.get(appId) ?? new Waiting();
    this.#waiting.set(appId, waiting);
    const left = record.backoff.until - Date.now();
    if (left > 0) {
      timers.later(`${appId} delay`, left, () => delayOver(appId));
      return;
    }
    const { app } = current(record);
    const all = agents.list();
    for (const instance of scheduled) {
      const others = record.instances
        .flatMap((other) => all.find(({ name }) => name === other.agent) ?? [])
        .map((agent) => ({ agent }));
      const taken = waiting.choose(freeOffers(all, tasks.usages), (offer) => match(app, offer, others));
      if (taken === undefined) return;
      instance.agent = taken.offer.agent.name;
      instance.ports = taken.ports;
      instance.state = "TASK_STAGING";
      tasks.set(appId, instance);
      placed(appId, instance);
    }
    this.forget(appId);
  }
}
