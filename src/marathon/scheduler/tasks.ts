import { type Instance, isLive, taskIdOf } from "./instance.ts";
import { definitionOf, type Store } from "./store.ts";
import { Usages } from "./usage.ts";

/** An instance and whose it is. */
export interface Owned {
  readonly appId: string;
  readonly instance: Instance;
}

/** All instances by the ids of their tasks, and what they take on their agents. */
export class Tasks {
  readonly usages = new Usages();
  readonly #store: Store;
  readonly #owned = new Map<string, Owned>();

  constructor(store: Store) {
    this.#store = store;
    for (const [appId, { instances }] of store.apps) for (const instance of instances) this.set(appId, instance);
  }

  find(taskId: string): Owned | undefined {
    return this.#owned.get(taskId);
  }

  /** Those of an agent of which something may run. */
  on(agent: string): (Owned & { readonly taskId: string })[] {
    return this.living().filter(({ instance }) => instance.agent === agent);
  }

  living(): (Owned & { readonly taskId: string })[] {
    return [...this.#owned].flatMap(([taskId, owned]) => (isLive(owned.instance) ? [{ ...owned, taskId }] : []));
  }

  /** An instance is new, or has changed. */
  set(appId: string, instance: Instance): void {
    const taskId = taskIdOf(instance);
    this.#owned.set(taskId, { appId, instance });
    const record = this.#store.apps.get(appId);
    const { agent, ports } = instance;
    const takes = record !== undefined && agent !== undefined && isLive(instance);
    if (!takes) {
      this.usages.set(taskId, undefined);
      return;
    }
    const { cpus, mem, disk } = definitionOf(record, instance);
    this.usages.set(taskId, { agent, ports, cpus, mem, disk });
  }

  delete(instance: Pick<Instance, "id" | "attempt">): void {
    this.#owned.delete(taskIdOf(instance));
    this.usages.set(taskIdOf(instance), undefined);
  }
}
