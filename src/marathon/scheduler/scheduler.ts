import type { Agents, AgentView } from "../../mesos/master/agents.ts";
import { type AgentTask, isTerminal, type TaskStatus } from "../../mesos/task.ts";
import { NO_BACKOFF } from "./backoff.ts";
import { Checks } from "./checks.ts";
import { noteEnd, noteHealthKill } from "./ends.ts";
import type { Events } from "./events.ts";
import { type Instance, isEnded, isLive, newInstance } from "./instance.ts";
import { Launcher } from "./launcher.ts";
import { Losses } from "./losses.ts";
import { Placement } from "./placement.ts";
import type { ReadinessResult } from "./readiness.ts";
import { decide } from "./selection.ts";
import { StartLimit } from "./start-limit.ts";
import { type AppRecord, current, type Store } from "./store.ts";
import { TaskEvents } from "./task-events.ts";
import { Tasks } from "./tasks.ts";
import { Timers } from "./timers.ts";
import type { Waiting } from "./waiting.ts";

/** After a record could not be written. */
const SAVE_AGAIN_MS = 1000;

export interface SchedulerOptions {
  readonly store: Store;
  readonly agents: Pick<Agents, "list" | "launch" | "kill">;
  readonly events: Events;
  /** Whether a deployment lets the application go to its new definition yet. */
  readonly mayChange: (appId: string) => boolean;
  /** Something has changed that a deployment may wait for. */
  readonly progressed: (appId: string) => void;
  /** As long as a task may take to start. */
  readonly launchTimeoutMs: number;
  readonly log: (message: string) => void;
}

/**
 * Brings what runs to what is asked for, one application at a time: after every change of a definition, of a task, of an
 * agent, and when a delay is over. It remembers nothing of its own; all is in the store.
 */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #tasks: Tasks;
  readonly #timers = new Timers();
  readonly #placement: Placement;
  readonly #losses: Losses;
  readonly #tell: TaskEvents;
  readonly #launcher: Launcher;
  readonly #checks: Checks;
  readonly #startLimit: StartLimit;
  #closed = false;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    const { agents, store } = options;
    this.#tasks = new Tasks(store);
    this.#tell = new TaskEvents(options.events, agents);
    this.#placement = new Placement({
      agents,
      tasks: this.#tasks,
      timers: this.#timers,
      delayOver: (appId) => this.look(appId),
      placed: (appId, instance) => {
        this.#tell.condition(appId, instance, "Provisioned");
        this.#startLimit.follow(appId, instance);
        void this.#launcher.placed(appId, instance);
      },
    });
    this.#startLimit = new StartLimit({
      timers: this.#timers,
      limitMs: options.launchTimeoutMs,
      expired: (appId, instance) => {
        options.log(`${instance.id} has not started for ${options.launchTimeoutMs / 1000} s and is ended`);
        this.kill(appId, instance);
        this.look(appId);
      },
    });
    this.#losses = new Losses({
      timers: this.#timers,
      record: (appId) => store.apps.get(appId),
      inactive: (appId, instance) => {
        this.#tell.condition(appId, instance, "UnreachableInactive");
        this.look(appId);
      },
      expunge: (appId, instance) => this.#remove(appId, instance),
    });
    this.#launcher = new Launcher({
      store,
      agents,
      unplaced: (appId, instance) => this.#unplaced(appId, instance),
      log: options.log,
    });
    this.#checks = new Checks({
      store,
      failed: (appId, instance, check) => this.#tell.healthCheckFailed(appId, instance, check),
      changed: (appId, instance, alive) => {
        this.#tell.healthChanged(appId, instance, alive);
        void this.#save(appId);
        queueMicrotask(() => this.look(appId));
      },
      kill: (appId, instance, why) => this.#killUnhealthy(appId, instance, why),
      // On disk before a deployment ends by it: it is not asked again.
      ready: (appId) => void this.#save(appId).then(() => this.look(appId)),
    });
  }

  close(): void {
    this.#closed = true;
    this.#timers.close();
    this.#launcher.close();
    this.#checks.close();
  }

  waiting(appId: string): Waiting | undefined {
    return this.#placement.waiting(appId);
  }

  readinessOf(appId: string): ReadinessResult[] {
    return this.#checks.readinessOf(appId);
  }

  /** Looks at everything again: at the start, and when agents have come. */
  lookAtAll(): void {
    for (const appId of this.#options.store.apps.keys()) this.look(appId);
  }

  /** Something may be to do for this application. */
  look(appId: string): void {
    if (this.#closed) return;
    const record = this.#options.store.apps.get(appId);
    if (record === undefined) return;
    try {
      if (this.#options.mayChange(appId)) this.#reconcile(appId, record);
      this.#forgetRemoved(appId, record);
      this.#placement.place(appId, record);
    } catch (error) {
      // One application's trouble must not end the daemon, which serves the machine's volumes too.
      this.#options.log(`${appId}: ${error instanceof Error ? error.stack : error}`);
    }
    this.#options.progressed(appId);
  }

  resetDelay(appId: string): void {
    const record = this.#options.store.apps.get(appId);
    if (record !== undefined) record.backoff = NO_BACKOFF;
    this.look(appId);
  }

  /** Ends an instance; unless `goal` says otherwise another one takes its place. */
  kill(appId: string, instance: Instance, goal: Instance["goal"] = "Stopped"): void {
    instance.goal = goal;
    if (!isLive(instance) || instance.state === "TASK_UNREACHABLE") {
      this.#remove(appId, instance);
      return;
    }
    instance.killing = true;
    this.#launcher.kill(instance);
    this.#save(appId);
  }

  /** An agent tells of a task. */
  status(agent: string, { info, status }: AgentTask): void {
    const found = this.#tasks.find(info.taskId);
    if (found === undefined) {
      if (isTerminal(status.state)) {
        this.#tell.unknownEnded(status);
        return;
      }
      // Nobody waits for it any more: it was replaced while its agent was away.
      void this.#options.agents.kill(agent, info.taskId).catch(() => undefined);
      return;
    }
    const { appId, instance } = found;
    if (instance.agent !== agent || isEnded(instance)) return;
    // It may not have heard of it: nobody answered, or the daemon died in between.
    if (instance.killing && status.state !== "TASK_KILLING" && !isTerminal(status.state)) this.#launcher.kill(instance);
    const staged = status.state === "TASK_STAGING" && instance.stagedAt === undefined;
    if (instance.state !== status.state || staged) this.#update(appId, instance, status);
    else {
      // Nothing new but perhaps its health; or the daemon has been away.
      if (status.healthy !== undefined) this.#checks.told(appId, instance, status.healthy, status.message);
      this.#checks.follow(appId, instance);
      // Since this daemon's start.
      this.#startLimit.follow(appId, instance);
    }
  }

  /** All that an agent knows: instances that are thought to be there and are not are gone. */
  known(agent: string, taskIds: ReadonlySet<string>): void {
    for (const { taskId, appId, instance } of this.#tasks.on(agent)) {
      if (taskIds.has(taskId)) continue;
      if (instance.state === "TASK_STAGING" && instance.stagedAt === undefined) {
        // The daemon died before the agent heard of it.
        this.#launcher.launch(appId, instance);
        continue;
      }
      this.#update(appId, instance, statusNow(taskId, "TASK_GONE", `agent ${agent} does not know the task`));
    }
    this.lookAtAll();
  }

  /** There are no others any more: the configuration has changed, and their tasks ended with them. */
  onlyOn(agents: ReadonlySet<string>): void {
    for (const { taskId, appId, instance } of this.#tasks.living()) {
      if (instance.agent === undefined || agents.has(instance.agent)) continue;
      const message = `agent ${instance.agent} is not in the configuration any more`;
      this.#update(appId, instance, statusNow(taskId, "TASK_GONE", message));
    }
  }

  /** An agent has left: in order, or for good as far as anybody knows. What was lost before a start is waited for anew. */
  left(agent: string, state: AgentView["state"]): void {
    const message = state === "stopped" ? `Agent ${agent} removed: it was stopped` : `Agent ${agent} is unreachable`;
    for (const { taskId, appId, instance } of this.#tasks.on(agent)) {
      if (instance.state !== "TASK_UNREACHABLE")
        this.#update(appId, instance, statusNow(taskId, "TASK_UNREACHABLE", message));
      // It may have been replaced by now.
      if (this.#tasks.find(taskId)?.instance !== instance) continue;
      // Its end was asked for: nobody waits for an agent to come back with it.
      if (instance.killing || this.#options.store.apps.get(appId)?.removed) this.#remove(appId, instance);
      else this.#losses.follow(appId, instance);
    }
    this.lookAtAll();
  }

  #update(appId: string, instance: Instance, status: TaskStatus): void {
    const record = this.#options.store.apps.get(appId);
    if (record === undefined) return;
    instance.state = status.state;
    instance.message = status.message;
    if (status.addresses !== undefined) instance.addresses = status.addresses;
    if (!isTerminal(status.state)) instance.stagedAt ??= status.timestamp;
    if (status.state === "TASK_RUNNING") instance.startedAt ??= status.timestamp;
    if (status.state === "TASK_UNREACHABLE") instance.unreachableSince = status.timestamp;
    else {
      delete instance.unreachableSince;
      this.#losses.forget(instance);
    }
    this.#tasks.set(appId, instance);
    this.#tell.status(appId, instance, status);
    this.#checks.follow(appId, instance);
    if (isTerminal(status.state)) this.#ended(appId, record, instance, status);
    this.#save(appId);
    this.look(appId);
  }

  #ended(appId: string, record: AppRecord, instance: Instance, status: TaskStatus): void {
    noteEnd(record, instance, status, this.#tell.agentId(instance.agent));
    if (instance.killing || instance.goal === "Stopped") {
      this.#remove(appId, instance);
      return;
    }
    // The instance stays, its next task has the next number.
    const { version } = current(record);
    const { id, attempt, agent, state } = instance;
    const former = { state, ...(agent === undefined ? {} : { agent }) };
    const next = { ...newInstance(appId, version), id, attempt: attempt + 1, former };
    this.#tasks.delete(instance);
    record.instances = record.instances.map((other) => (other === instance ? next : other));
    this.#tasks.set(appId, next);
  }

  #remove(appId: string, instance: Instance): void {
    const record = this.#options.store.apps.get(appId);
    if (record === undefined) return;
    record.instances = record.instances.filter((other) => other !== instance);
    this.#tasks.delete(instance);
    this.#losses.forget(instance);
    this.#checks.forget(instance);
    this.#save(appId);
    queueMicrotask(() => this.look(appId));
  }

  /** An application that is being removed is gone when nothing of it is left. */
  #forgetRemoved(appId: string, record: AppRecord): void {
    if (!record.removed || record.instances.length > 0) return;
    this.#options.store.apps.delete(appId);
    this.#placement.forget(appId);
    this.#tell.appEnded(appId);
    this.#save(appId);
  }

  /** Decides which instances there shall be. */
  #reconcile(appId: string, record: AppRecord): void {
    const { version, lastConfigChangeAt } = current(record);
    for (const instance of record.instances)
      if (instance.state === "Scheduled" && instance.version < lastConfigChangeAt) instance.version = version;
    const { kill, start } = decide(record);
    for (const instance of kill) this.kill(appId, instance);
    for (let i = 0; i < start; i++) {
      const instance = newInstance(appId, version);
      record.instances.push(instance);
      this.#tasks.set(appId, instance);
    }
    if (start > 0) this.#save(appId);
  }

  /** It waits again, and is looked at when there may be room for its record. */
  #unplaced(appId: string, instance: Instance): void {
    if (instance.killing) {
      this.#remove(appId, instance);
      return;
    }
    Object.assign(instance, { state: "Scheduled", ports: [] } satisfies Partial<Instance>);
    delete instance.agent;
    this.#tasks.set(appId, instance);
    this.#timers.later(`${appId} delay`, SAVE_AGAIN_MS, () => this.look(appId));
  }

  #killUnhealthy(appId: string, instance: Instance, why: string): void {
    const record = this.#options.store.apps.get(appId);
    if (record !== undefined) noteHealthKill(record, instance, why, this.#tell.agentId(instance.agent));
    this.#tell.killedUnhealthy(appId, instance, why);
    this.kill(appId, instance);
    this.look(appId);
  }

  async #save(appId: string): Promise<void> {
    await this.#options.store.saveApp(appId).catch((error) => this.#options.log(`${appId}: ${String(error)}`));
  }
}

const statusNow = (taskId: string, state: TaskStatus["state"], message: string): TaskStatus => ({
  taskId,
  state,
  message,
  timestamp: new Date().toISOString(),
});
