import type { HealthCheck } from "../definition/app.ts";
import { Health } from "./health.ts";
import { type Instance, taskIdOf } from "./instance.ts";
import { Readiness, type ReadinessResult } from "./readiness.ts";
import { definitionOf, type Store } from "./store.ts";

export interface ChecksOptions {
  readonly store: Store;
  /** After every health check that failed. */
  readonly failed: (appId: string, instance: Instance, check: HealthCheck) => void;
  /** An instance as a whole has become well or ill. */
  readonly changed: (appId: string, instance: Instance, alive: boolean) => void;
  /** There were too many failures. */
  readonly kill: (appId: string, instance: Instance, why: string) => void;
  readonly ready: (appId: string) => void;
}

/** What is known of the instances that run beside that they do: health and readiness, each by its own definition. */
export class Checks {
  readonly #store: Store;
  readonly #health: Health;
  readonly #readiness: Readiness;

  constructor({ store, ready, ...listener }: ChecksOptions) {
    this.#store = store;
    this.#health = new Health(listener);
    this.#readiness = new Readiness(ready);
  }

  close(): void {
    this.#health.close();
    this.#readiness.close();
  }

  /** Looks after a task that runs, also after a start of the daemon; ends that for one that does not. */
  follow(appId: string, instance: Instance): void {
    const record = this.#store.apps.get(appId);
    if (record === undefined) return;
    const app = definitionOf(record, instance);
    this.#health.follow(appId, app, instance);
    this.#readiness.follow(appId, app, instance);
  }

  /** What an agent has found. */
  told(appId: string, instance: Instance, healthy: boolean, why: string): void {
    const record = this.#store.apps.get(appId);
    if (record !== undefined) this.#health.told(appId, definitionOf(record, instance), instance, healthy, why);
  }

  forget(instance: Pick<Instance, "id">): void {
    this.#health.forget(instance);
    this.#readiness.forget(instance);
  }

  /** What the last readiness checks of an application's instances have shown. */
  readinessOf(appId: string): ReadinessResult[] {
    return (this.#store.apps.get(appId)?.instances ?? []).flatMap((instance) => {
      const result = this.#readiness.result(instance);
      return result === undefined ? [] : [{ ...result, taskId: taskIdOf(instance) }];
    });
  }
}
