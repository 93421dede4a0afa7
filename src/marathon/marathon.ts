import { randomUUID } from "node:crypto";
import path from "node:path";
import type { Agents } from "../mesos/master/agents.ts";
import { type Begun, Changes } from "./changes.ts";
import { MarathonError } from "./definition/violations.ts";
import { Deployments } from "./scheduler/deployments.ts";
import { Events } from "./scheduler/events.ts";
import { type Instance, taskIdOf, taskOf } from "./scheduler/instance.ts";
import { redo } from "./scheduler/record-change.ts";
import { Scheduler } from "./scheduler/scheduler.ts";
import { type AppRecord, current, Store } from "./scheduler/store.ts";

export interface MarathonOptions {
  readonly stateDir: string;
  readonly agents: Agents;
  /** The feature `external_volumes`. */
  readonly externalVolumes: boolean;
  /** host:port of Mesos' master. */
  readonly master?: string;
  /** As long as a task may take to start (`task_launch_timeout`); Marathon's 300 s unless told. */
  readonly launchTimeoutMs?: number;
  readonly log: (message: string) => void;
}

/**
 * The stand-in for Marathon: applications, their versions, and the deployments that bring them about. Changes are made by one
 * part, carried out by the scheduler, and what is seen of them is in the store.
 */
export class Marathon {
  readonly events = new Events();
  readonly agents: Agents;
  readonly store: Store;
  readonly scheduler: Scheduler;
  readonly deployments: Deployments;
  readonly changes: Changes;
  readonly #options: MarathonOptions;

  /** Throws when what is on disk cannot be understood. */
  constructor(options: MarathonOptions) {
    const { agents, stateDir, externalVolumes, launchTimeoutMs = 300_000, log } = options;
    this.#options = options;
    this.agents = agents;
    this.store = new Store(path.join(stateDir, "marathon"), `${randomUUID()}-0000`);
    const { store, events } = this;
    this.deployments = new Deployments({ store, events, look: (appId) => this.scheduler.look(appId), log });
    for (const id of redo(store)) void store.saveApp(id).catch((error) => log(`${id}: ${String(error)}`));
    this.scheduler = new Scheduler({
      store,
      agents,
      events,
      mayChange: (appId) => this.deployments.mayChange(appId),
      progressed: (appId) => queueMicrotask(() => this.deployments.advance(this.deployments.of(appId))),
      launchTimeoutMs,
      log,
    });
    this.changes = new Changes({
      store,
      events,
      deployments: this.deployments,
      externalVolumes,
      kill: (appId, instance) => this.scheduler.kill(appId, instance),
      look: (appId) => this.scheduler.look(appId),
      log,
    });
  }

  async start(): Promise<void> {
    await this.agents.start({
      task: (agent, task) => this.scheduler.status(agent, task),
      known: (agent, taskIds) => this.scheduler.known(agent, taskIds),
      left: (agent, state) => this.scheduler.left(agent, state),
      lookAgain: () => this.scheduler.lookAtAll(),
    });
    this.#register();
    const agents = this.agents.list();
    this.scheduler.onlyOn(new Set(agents.map(({ name }) => name)));
    // They may have left while nobody listened.
    for (const { name, state } of agents) if (state !== "running") this.scheduler.left(name, state);
    this.scheduler.lookAtAll();
    this.deployments.advance(this.deployments.all);
  }

  /** Somebody has asked for another leader; there is none but us. */
  abdicate(): void {
    this.events.emit("scheduler_disconnected_event", {});
    this.events.emit("scheduler_reregistered_event", { master: this.#options.master ?? "" });
  }

  #register(): void {
    const { master = "" } = this.#options;
    const { frameworkId, isNew } = this.store;
    if (isNew) this.events.emit("scheduler_registered_event", { frameworkId, master });
    else this.events.emit("scheduler_reregistered_event", { master });
  }

  async close(options: { drain: boolean }): Promise<void> {
    this.scheduler.close();
    await this.agents.close(options);
    await this.store.idle();
  }

  /** Applications that are not being removed, by id. */
  apps(): AppRecord[] {
    return [...this.store.apps.values()].filter(({ removed }) => !removed);
  }

  find(id: string): AppRecord | undefined {
    const record = this.store.apps.get(id);
    return record?.removed === true ? undefined : record;
  }

  /** Throws 404. */
  app(id: string): AppRecord {
    const record = this.find(id);
    if (record === undefined) throw new MarathonError(404, `App '${id}' does not exist`);
    return record;
  }

  /** Ends tasks. With `scale` there are as many fewer from then on. */
  async killTasks(
    targets: readonly { id: string; instance: Instance }[],
    { scale, force }: { scale: boolean; force: boolean },
  ): Promise<Begun | undefined> {
    if (!scale) {
      for (const { id, instance } of targets) this.scheduler.kill(id, instance);
      for (const { id } of targets) this.scheduler.look(id);
      return undefined;
    }
    const counts = new Map<string, number>();
    for (const { id } of targets) counts.set(id, (counts.get(id) ?? 0) + 1);
    const fewer = () =>
      [...counts].map(([id, count]) => {
        const { app } = current(this.app(id));
        return { id, after: { ...app, instances: Math.max(0, app.instances - count) } };
      });
    return this.changes.make(fewer, { force, kill: targets });
  }

  /** The instance of a task id; undefined when there is none. */
  findTask(taskId: string): { id: string; instance: Instance } | undefined {
    for (const [id, { instances }] of this.store.apps)
      for (const instance of instances)
        if (taskIdOf(taskOf(instance) ?? instance) === taskId || instance.id === taskId) return { id, instance };
    return undefined;
  }
}
