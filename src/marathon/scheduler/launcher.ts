import type { Agents } from "../../mesos/master/agents.ts";
import { type Instance, taskIdOf } from "./instance.ts";
import { definitionOf, type Store } from "./store.ts";
import { taskInfo } from "./task-info.ts";

export interface LauncherOptions {
  readonly store: Store;
  readonly agents: Pick<Agents, "launch" | "kill">;
  /** It could not be put on record, so it has no place any more. */
  readonly unplaced: (appId: string, instance: Instance) => void;
  readonly log: (message: string) => void;
}

/** Asks agents to run and to end tasks. One that does not answer is asked again when it does, and tells what it knows. */
export class Launcher {
  readonly #options: LauncherOptions;
  #closed = false;

  constructor(options: LauncherOptions) {
    this.#options = options;
  }

  close(): void {
    this.#closed = true;
  }

  /** A task is on record before its agent hears of it. */
  async placed(appId: string, instance: Instance): Promise<void> {
    const { store, log, unplaced } = this.#options;
    try {
      await store.saveApp(appId);
      this.launch(appId, instance);
    } catch (error) {
      log(`${appId} is not started: ${String(error)}`);
      unplaced(appId, instance);
    }
  }

  launch(appId: string, instance: Instance): void {
    const { store, agents, log } = this.#options;
    const record = store.apps.get(appId);
    const { agent, version } = instance;
    if (record === undefined || agent === undefined || this.#closed) return;
    const info = taskInfo(definitionOf(record, instance), version, instance, store.frameworkId);
    agents.launch(agent, info).catch((error) => log(`${appId}: agent ${agent}: ${String(error)}`));
  }

  kill(instance: Instance): void {
    if (instance.agent === undefined) return;
    this.#options.agents.kill(instance.agent, taskIdOf(instance)).catch(() => undefined);
  }
}
