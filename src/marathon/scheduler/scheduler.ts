import type { Agents, AgentView } from "../../mesos/master/agents.ts";
import { type AgentTask, isTerminal, type TaskStatus } from "../../mesos/task.ts";
import type { AppDefinition } from "../definition/app.ts";
import { afterFailure, NO_BACKOFF } from "./backoff.ts";
import type { Events } from "./events.ts";
import { Health } from "./health.ts";
import { type Instance, isEnded, isLive, isReady, newInstance, taskIdOf } from "./instance.ts";
import { freeOffers, match, type Usage } from "./offers.ts";
import { Readiness, type ReadinessResult } from "./readiness.ts";
import { firstToGo, isInactive } from "./selection.ts";
import { type AppRecord, current, type Store } from "./store.ts";
import { TaskEvents } from "./task-events.ts";
import { taskInfo } from "./task-info.ts";
import { upgradeSteps } from "./upgrade.ts";
import { Waiting } from "./waiting.ts";

/** Ends that make the next start wait (spec/marathon.md 6.7), and those that are remembered as failures (6.3). */
const BACKED_OFF = new Set(["TASK_FINISHED", "TASK_FAILED", "TASK_ERROR", "TASK_GONE"]);
const FAILURES = new Set(["TASK_FAILED", "TASK_ERROR", "TASK_LOST", "TASK_GONE"]);

/** More than all agents together remember. */
const MOST_TOLD_ENDS = 100_000;

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
  readonly #waiting = new Map<string, Waiting>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #tell: TaskEvents;
  readonly #health: Health;
  readonly #readiness: Readiness;
  /** Task id to instance, for statuses. */
  readonly #byTask = new Map<string, { appId: string; instance: Instance }>();
  /** Tasks whose end has been told of: agents tell it again after every start of theirs. */
  readonly #toldEnds = new Set<string>();
  readonly #startedAt = new Date().toISOString();
  #closed = false;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#tell = new TaskEvents(options.events, options.agents);
    this.#health = new Health({
      failed: (appId, instance, check) => this.#tell.healthCheckFailed(appId, instance, check),
      changed: (appId, instance, alive) => {
        this.#tell.healthChanged(appId, instance, alive);
        void this.#save(appId);
        queueMicrotask(() => this.look(appId));
      },
      kill: (appId, instance, why) => this.#killUnhealthy(appId, instance, why),
    });
    this.#readiness = new Readiness((appId) => {
      // On disk before a deployment ends by it: it is not asked again.
      void this.#save(appId).then(() => this.look(appId));
    });
    for (const [appId, { instances }] of options.store.apps)
      for (const instance of instances) this.#index(appId, instance);
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#health.close();
    this.#readiness.close();
  }

  waiting(appId: string): Waiting | undefined {
    return this.#waiting.get(appId);
  }

  /** What the last readiness checks of an application's instances have shown. */
  readinessOf(appId: string): ReadinessResult[] {
    return (this.#options.store.apps.get(appId)?.instances ?? []).flatMap((instance) => {
      const result = this.#readiness.result(instance);
      return result === undefined ? [] : [{ ...result, taskId: taskIdOf(instance) }];
    });
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
      this.#place(appId, record);
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
    if (!isLive(instance)) {
      this.#remove(appId, instance);
      return;
    }
    if (instance.state === "TASK_UNREACHABLE") {
      this.#remove(appId, instance);
      return;
    }
    instance.killing = true;
    this.#tellAgent(instance);
    this.#save(appId);
  }

  /** An agent tells of a task. */
  status(agent: string, { info, status }: AgentTask): void {
    const found = this.#byTask.get(info.taskId);
    if (found === undefined) {
      if (isTerminal(status.state)) {
        this.#unknownEnded(info, status);
        return;
      }
      // Nobody waits for it any more: it was replaced while its agent was away.
      void this.#options.agents.kill(agent, info.taskId).catch(() => undefined);
      return;
    }
    const { appId, instance } = found;
    if (instance.agent !== agent || isEnded(instance)) return;
    // It may not have heard of it: nobody answered, or the daemon died in between.
    if (instance.killing && status.state !== "TASK_KILLING" && !isTerminal(status.state)) this.#tellAgent(instance);
    const staged = status.state === "TASK_STAGING" && instance.stagedAt === undefined;
    if (instance.state !== status.state || staged) this.#update(appId, instance, status);
    else this.#same(appId, instance, status);
  }

  /** All that an agent knows: instances that are thought to be there and are not are gone. */
  known(agent: string, taskIds: ReadonlySet<string>): void {
    for (const [taskId, { appId, instance }] of this.#byTask) {
      if (instance.agent !== agent || !isLive(instance) || taskIds.has(taskId)) continue;
      if (instance.state === "TASK_STAGING" && instance.stagedAt === undefined) {
        // The daemon died before the agent heard of it.
        this.#launch(appId, instance);
        continue;
      }
      this.#update(appId, instance, statusNow(taskId, "TASK_GONE", `agent ${agent} does not know the task`));
    }
    this.lookAtAll();
  }

  /** There are no others any more: the configuration has changed, and their tasks ended with them. */
  onlyOn(agents: ReadonlySet<string>): void {
    for (const [taskId, { appId, instance }] of [...this.#byTask]) {
      if (instance.agent === undefined || agents.has(instance.agent) || !isLive(instance)) continue;
      const message = `agent ${instance.agent} is not in the configuration any more`;
      this.#update(appId, instance, statusNow(taskId, "TASK_GONE", message));
    }
  }

  /** An agent has left: in order, or for good as far as anybody knows. */
  left(agent: string, state: AgentView["state"]): void {
    for (const [taskId, { appId, instance }] of [...this.#byTask]) {
      if (instance.agent !== agent || !isLive(instance) || instance.state === "TASK_UNREACHABLE") continue;
      const message = state === "stopped" ? `Agent ${agent} removed: it was stopped` : `Agent ${agent} is unreachable`;
      this.#update(appId, instance, statusNow(taskId, "TASK_UNREACHABLE", message));
      this.#unreachable(appId, instance);
    }
    this.lookAtAll();
  }

  /** What the strategy says of an instance on a lost agent (spec/marathon.md 8). */
  #unreachable(appId: string, instance: Instance): void {
    const record = this.#options.store.apps.get(appId);
    // Its end was asked for: nobody waits for an agent to come back with it.
    if (instance.killing || record?.removed === true) {
      this.#remove(appId, instance);
      return;
    }
    const strategy = record === undefined ? "disabled" : current(record).app.unreachableStrategy;
    if (strategy === "disabled") return;
    instance.unreachableSince = new Date().toISOString();
    if (strategy.expungeAfterSeconds === 0) {
      this.#remove(appId, instance);
      return;
    }
    this.#later(`${instance.id} expunge`, strategy.expungeAfterSeconds * 1000, () => {
      if (instance.state === "TASK_UNREACHABLE") this.#remove(appId, instance);
    });
    this.#later(`${instance.id} inactive`, strategy.inactiveAfterSeconds * 1000, () => this.look(appId));
  }

  #update(appId: string, instance: Instance, status: TaskStatus): void {
    const record = this.#options.store.apps.get(appId);
    if (record === undefined) return;
    instance.state = status.state;
    instance.message = status.message;
    if (status.state === "TASK_STAGING") instance.stagedAt ??= status.timestamp;
    if (status.state === "TASK_RUNNING") instance.startedAt ??= status.timestamp;
    this.#tell.status(appId, instance, status);
    const { app } = current(record);
    this.#follow(appId, app, instance);
    if (isTerminal(status.state)) {
      this.#noteEnd(status.taskId);
      this.#ended(appId, record, instance, status);
    }
    this.#save(appId);
    this.look(appId);
  }

  #ended(appId: string, record: AppRecord, instance: Instance, status: TaskStatus): void {
    const { app } = current(record);
    if (FAILURES.has(status.state))
      record.lastTaskFailure = {
        appId,
        host: instance.agent ?? "",
        message: status.message,
        slaveId: this.#tell.agentId(instance.agent),
        state: status.state,
        taskId: taskIdOf(instance),
        timestamp: status.timestamp,
        version: instance.version,
      };
    if (BACKED_OFF.has(status.state) && !instance.killing)
      record.backoff = afterFailure(record.backoff, app, Date.now());
    if (instance.killing || instance.goal === "Stopped") {
      this.#remove(appId, instance);
      return;
    }
    // The instance stays, its next task has the next number.
    this.#byTask.delete(taskIdOf(instance));
    record.instances = record.instances.map((other) =>
      other === instance
        ? { ...newInstance(appId, current(record).version), id: instance.id, attempt: instance.attempt + 1 }
        : other,
    );
    for (const one of record.instances) this.#index(appId, one);
  }

  #remove(appId: string, instance: Instance): void {
    const record = this.#options.store.apps.get(appId);
    if (record === undefined) return;
    record.instances = record.instances.filter((other) => other !== instance);
    this.#byTask.delete(taskIdOf(instance));
    this.#health.forget(instance);
    this.#readiness.forget(instance);
    if (record.removed && record.instances.length === 0) {
      this.#options.store.apps.delete(appId);
      this.#waiting.delete(appId);
      this.#tell.appEnded(appId);
      this.#options.progressed(appId);
    }
    this.#save(appId);
    queueMicrotask(() => this.look(appId));
  }

  /** Decides which instances there shall be. */
  #reconcile(appId: string, record: AppRecord): void {
    const { app, version, lastConfigChangeAt } = current(record);
    const wanted = record.removed ? 0 : app.instances;
    for (const instance of record.instances)
      if (instance.state === "Scheduled" && instance.version < lastConfigChangeAt) instance.version = version;
    const going = record.instances.filter(({ killing, goal }) => !killing && goal === "Running");
    const isOld = ({ version: own }: Instance) => own < lastConfigChangeAt;
    const fresh = going.filter((instance) => !isOld(instance) && !isInactive(app, instance));
    const old = record.instances.filter((instance) => isOld(instance) && isLive(instance));
    const { kill, start } = upgradeSteps(
      {
        wanted,
        old: old.length,
        oldReady: old.filter((instance) => !instance.killing && isReady(instance, app)).length,
        fresh: fresh.length,
        newReady: fresh.filter((instance) => isReady(instance, app)).length,
      },
      app.upgradeStrategy,
    );
    const victims = [
      ...firstToGo(
        old.filter(({ killing }) => !killing),
        wanted === 0 ? old.length : kill,
        app,
      ),
      ...firstToGo(fresh, fresh.length - wanted, app),
    ];
    for (const instance of victims) this.kill(appId, instance);
    const stillThere = record.instances.filter((one) => isLive(one) && (one.killing || isOld(one))).length;
    const room = old.length > 0 ? start : wanted - fresh.length;
    // What is being killed has its resources, and perhaps its volume, for a moment yet: kill first means wait for it.
    const exclusive = app.upgradeStrategy.minimumHealthCapacity === 0 && app.upgradeStrategy.maximumOverCapacity === 0;
    const free = exclusive ? Math.max(0, wanted - fresh.length - stillThere) : room;
    for (let i = 0; i < Math.min(room, free); i++) {
      const instance = newInstance(appId, version);
      record.instances.push(instance);
      this.#index(appId, instance);
      this.#save(appId);
    }
  }

  /** Finds places for instances that wait for one. */
  #place(appId: string, record: AppRecord): void {
    const scheduled = record.instances.filter(({ state }) => state === "Scheduled");
    if (scheduled.length === 0) {
      this.#waiting.delete(appId);
      return;
    }
    const waiting = this.#waiting.get(appId) ?? new Waiting();
    this.#waiting.set(appId, waiting);
    const left = record.backoff.until - Date.now();
    if (left > 0) {
      this.#later(`${appId} delay`, left, () => this.look(appId));
      return;
    }
    const { app } = current(record);
    const agents = this.#options.agents.list();
    for (const instance of scheduled) {
      const placed = record.instances
        .flatMap(({ agent }) => agents.find(({ name }) => name === agent) ?? [])
        .map((agent) => ({ agent }));
      const offers = freeOffers(agents, this.#usages());
      const taken = waiting.choose(offers, (offer) => match(app, offer, placed));
      if (taken === undefined) return;
      instance.agent = taken.offer.agent.name;
      instance.ports = taken.ports;
      instance.state = "TASK_STAGING";
      this.#tell.provisioned(appId, instance);
      this.#limitStart(appId, instance);
      this.#save(appId)
        .then(() => this.#launch(appId, instance))
        .catch((error) => this.#options.log(`${appId}: ${error instanceof Error ? error.stack : error}`));
    }
    this.#waiting.delete(appId);
  }

  /** One that does not start is ended, and another one is tried (spec/marathon.md 6.7). */
  #limitStart(appId: string, instance: Instance): void {
    const taskId = taskIdOf(instance);
    this.#later(`${instance.id} start`, this.#options.launchTimeoutMs, () => {
      const { state, killing } = this.#byTask.get(taskId)?.instance ?? {};
      if (killing || (state !== "TASK_STAGING" && state !== "TASK_STARTING")) return;
      this.#options.log(`${taskId} has not started for ${this.#options.launchTimeoutMs / 1000} s and is ended`);
      this.kill(appId, instance);
      this.look(appId);
    });
  }

  #launch(appId: string, instance: Instance): void {
    const record = this.#options.store.apps.get(appId);
    const version = record?.versions.find((one) => one.version === instance.version) ?? record?.versions[0];
    if (version === undefined || instance.agent === undefined || this.#closed) return;
    const info = taskInfo(version.app, version.version, instance, this.#options.store.frameworkId);
    // One that does not answer is asked again when it does (known).
    this.#options.agents
      .launch(instance.agent, info)
      .catch((error) => this.#options.log(`${appId}: agent ${instance.agent}: ${String(error)}`));
  }

  /** What live instances take on their agents. */
  #usages(): Usage[] {
    return [...this.#byTask.values()].flatMap(({ appId, instance }) => {
      const record = this.#options.store.apps.get(appId);
      if (record === undefined || instance.agent === undefined || !isLive(instance)) return [];
      return [{ agent: instance.agent, ports: instance.ports, app: current(record).app }];
    });
  }

  /** Nothing new but perhaps its health; or the daemon has been away. */
  #same(appId: string, instance: Instance, { healthy, message, state }: TaskStatus): void {
    const record = this.#options.store.apps.get(appId);
    if (record === undefined) return;
    const { app } = current(record);
    if (healthy !== undefined) this.#health.told(appId, app, instance, healthy, message);
    this.#follow(appId, app, instance);
    // Since this daemon's start.
    if (state === "TASK_STAGING" && !this.#timers.has(`${instance.id} start`)) this.#limitStart(appId, instance);
  }

  /** Looks after a task that runs, also after a start of the daemon; ends that for one that does not. */
  #follow(appId: string, app: AppDefinition, instance: Instance): void {
    this.#health.follow(appId, app, instance);
    this.#readiness.follow(appId, app, instance);
  }

  #killUnhealthy(appId: string, instance: Instance, why: string): void {
    this.#tell.killedUnhealthy(appId, instance, why);
    this.kill(appId, instance);
    this.look(appId);
  }

  /** One that was replaced while its agent was away has ended. */
  #unknownEnded({ taskId }: AgentTask["info"], { state, timestamp }: TaskStatus): void {
    if (this.#toldEnds.has(taskId) || timestamp < this.#startedAt) return;
    this.#noteEnd(taskId);
    this.#tell.unknownEnded(taskId, state);
  }

  #noteEnd(taskId: string): void {
    this.#toldEnds.add(taskId);
    const [oldest] = this.#toldEnds;
    if (this.#toldEnds.size > MOST_TOLD_ENDS) this.#toldEnds.delete(oldest as string);
  }

  #tellAgent(instance: Instance): void {
    if (instance.agent === undefined) return;
    this.#options.agents.kill(instance.agent, taskIdOf(instance)).catch(() => undefined);
  }

  #index(appId: string, instance: Instance): void {
    this.#byTask.set(taskIdOf(instance), { appId, instance });
  }

  async #save(appId: string): Promise<void> {
    await this.#options.store.saveApp(appId).catch((error) => this.#options.log(`${appId}: ${String(error)}`));
  }

  #later(key: string, ms: number, task: () => void): void {
    clearTimeout(this.#timers.get(key));
    const run = () => {
      this.#timers.delete(key);
      if (!this.#closed) task();
    };
    this.#timers.set(key, setTimeout(run, ms));
  }
}

const statusNow = (taskId: string, state: TaskStatus["state"], message: string): TaskStatus => ({
  taskId,
  state,
  message,
  timestamp: new Date().toISOString(),
});
