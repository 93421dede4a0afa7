import { randomUUID } from "node:crypto";
import path from "node:path";
import { KeyedMutex } from "../lib/mutex.ts";
import type { Agents } from "../mesos/master/agents.ts";
import type { AppDefinition, AppUpdate } from "./definition/app.ts";
import { absoluteId, defineApp } from "./definition/define.ts";
import { checkVolumeNames } from "./definition/external-volume-rules.ts";
import { MarathonError, refuse, Violations } from "./definition/violations.ts";
import { type AppChange, type Deployment, isSame, onlyScaled, planDeployment } from "./scheduler/deployment.ts";
import { Events, type Plan } from "./scheduler/events.ts";
import { type Instance, isLive, isReady, taskIdOf } from "./scheduler/instance.ts";
import { Scheduler } from "./scheduler/scheduler.ts";
import { type AppRecord, addVersion, current, newRecord, Store } from "./scheduler/store.ts";

const MOST_DEPLOYMENTS = 100;
/** Service ports are taken from here on (`local_port_min`). */
const FIRST_PORT = 10_000;

export interface MarathonOptions {
  readonly stateDir: string;
  readonly agents: Agents;
  /** The feature `external_volumes`. */
  readonly externalVolumes: boolean;
  /** As long as a task may take to start (`task_launch_timeout`); Marathon's 300 s unless told. */
  readonly launchTimeoutMs?: number;
  readonly log: (message: string) => void;
}

/** What a write has begun. */
export interface Begun {
  readonly version: string;
  readonly deploymentId: string;
}

/**
 * The stand-in for Marathon: applications, their versions, and the deployments that bring them about. Every write is checked
 * against all applications, put on disk, and then carried out by the scheduler.
 */
export class Marathon {
  readonly events = new Events();
  readonly agents: Agents;
  readonly store: Store;
  readonly scheduler: Scheduler;
  readonly #options: MarathonOptions;
  readonly #writes = new KeyedMutex();
  /** Service ports of the write under way. */
  readonly #handedOut = new Set<number>();
  #lastVersion = "";

  /** Throws when what is on disk cannot be understood. */
  constructor(options: MarathonOptions) {
    const { agents, stateDir, launchTimeoutMs = 300_000, log } = options;
    this.#options = options;
    this.agents = agents;
    this.store = new Store(path.join(stateDir, "marathon"), `${randomUUID()}-0000`);
    this.scheduler = new Scheduler({
      store: this.store,
      agents,
      events: this.events,
      mayChange: (appId) => this.#mayChange(appId),
      progressed: (appId) => queueMicrotask(() => this.#advance(appId)),
      launchTimeoutMs,
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
    this.scheduler.onlyOn(new Set(this.agents.list().map(({ name }) => name)));
    this.scheduler.lookAtAll();
  }

  async close(options: { drain: boolean }): Promise<void> {
    this.scheduler.close();
    await this.agents.close(options);
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

  deploymentsOf(id: string): Deployment[] {
    return this.store.deployments.filter(({ before }) => id in before);
  }

  /** Stages 3 to 8 for one application. */
  define(id: string, update: AppUpdate, before: AppDefinition | undefined): AppDefinition {
    const taken = new Set(this.apps().flatMap((record) => portsOf(current(record).app)));
    const servicePort = () => {
      let port = FIRST_PORT;
      while (taken.has(port) || this.#handedOut.has(port)) port++;
      this.#handedOut.add(port);
      return port;
    };
    return defineApp(absoluteId(id), update, before, { externalVolumes: this.#options.externalVolumes, servicePort });
  }

  /**
   * Changes applications in one deployment; null removes one. `define` is called when no other write is under way. Throws
   * MarathonError: 403, 409, 422 and what `define` throws; nothing has changed then.
   */
  change(define: () => Omit<AppChange, "before">[], { force }: { force: boolean }): Promise<Begun> {
    return this.#writes.run("", async () => {
      if (this.store.deployments.length >= MOST_DEPLOYMENTS)
        throw new MarathonError(
          403,
          `Max number (${MOST_DEPLOYMENTS}) of running deployments is achieved. Wait for existing deployments to complete or cancel one using force=true parameter. You can increase max deployment number by using --max_running_deployments parameter`,
        );
      this.#handedOut.clear();
      const changes = this.withBefore(define());
      this.#checkTree(changes);
      this.#lock(changes, force);
      const version = this.#newVersion();
      const real = changes.filter(({ before, after, restart }) => restart === true || !isSame(before, after));
      for (const change of real) this.#record(change, version);
      const deployment = planDeployment(real, version);
      if (deployment.steps.length > 0) this.store.deployments.push(deployment);
      await this.store.saveDeployments();
      await Promise.all(real.map(({ id }) => this.store.saveApp(id)));
      this.#announce(deployment, real);
      return { version: real.length > 0 ? version : this.#versionOf(changes), deploymentId: deployment.id };
    });
  }

  /** Changes with what there is now. */
  withBefore(changes: readonly Omit<AppChange, "before">[]): AppChange[] {
    return changes.map((change) => {
      const record = this.find(change.id);
      return { ...change, before: record === undefined ? null : current(record).app };
    });
  }

  /** Goes back to what was before a deployment; `force` only drops it. Throws 404. */
  async cancel(id: string, { force }: { force: boolean }): Promise<Begun | undefined> {
    const deployment = this.store.deployments.find((one) => one.id === id);
    if (deployment === undefined) throw new MarathonError(404, `DeploymentPlan ${id} does not exist`);
    if (force) {
      this.#drop(deployment, "deployment_failed");
      await this.store.saveDeployments();
      return undefined;
    }
    return this.change(() => Object.entries(deployment.before).map(([app, after]) => ({ id: app, after })), {
      force: true,
    });
  }

  /** Ends tasks. With `scale` there are as many fewer from then on. */
  async killTasks(
    targets: readonly { id: string; instance: Instance }[],
    { scale, force }: { scale: boolean; force: boolean },
  ): Promise<Begun | undefined> {
    const kill = () => {
      for (const { id, instance } of targets) this.scheduler.kill(id, instance);
      for (const { id } of targets) this.scheduler.look(id);
    };
    if (!scale) {
      kill();
      return undefined;
    }
    const counts = new Map<string, number>();
    for (const { id } of targets) counts.set(id, (counts.get(id) ?? 0) + 1);
    const begun = await this.change(
      () =>
        [...counts].map(([id, count]) => {
          const { app } = current(this.app(id));
          return { id, after: { ...app, instances: Math.max(0, app.instances - count) } };
        }),
      { force },
    );
    kill();
    return begun;
  }

  /** The instance of a task id; undefined when there is none. */
  findTask(taskId: string): { id: string; instance: Instance } | undefined {
    for (const [id, { instances }] of this.store.apps)
      for (const instance of instances)
        if (taskIdOf(instance) === taskId || instance.id === taskId) return { id, instance };
    return undefined;
  }

  #checkTree(changes: readonly AppChange[]): void {
    const after = new Map(this.apps().map((record) => [current(record).app.id, current(record).app]));
    for (const { id, after: app } of changes) {
      if (app === null) after.delete(id);
      else after.set(id, app);
    }
    const found = new Violations();
    checkVolumeNames([...after.values()], found);
    for (const { id } of changes) checkCycle(id, after, found);
    refuse(found, "rules");
  }

  #lock(changes: readonly AppChange[], force: boolean): void {
    const locking = this.store.deployments.filter(({ before }) => changes.some(({ id }) => id in before));
    if (locking.length === 0) return;
    if (!force) {
      const reason = "App is locked by one or more deployments";
      this.events.emit("group_change_failed", { groupId: "/", version: this.#newVersion(), reason });
      throw new MarathonError(
        409,
        "App is locked by one or more deployments. Override with the option '?force=true'. View details at '/v2/deployments/<DEPLOYMENT_ID>'.",
        { deployments: locking.map(({ id }) => ({ id })) },
      );
    }
    for (const deployment of locking) this.#drop(deployment, "deployment_failed");
  }

  #drop(deployment: Deployment, event: "deployment_failed" | "deployment_success"): void {
    this.store.deployments = this.store.deployments.filter((one) => one !== deployment);
    this.events.emit(event, { id: deployment.id, plan: planOf(deployment) });
  }

  #record({ id, before, after, restart }: AppChange, version: string): void {
    const record = this.store.apps.get(id);
    if (after === null) {
      if (record !== undefined) record.removed = true;
      return;
    }
    const last = record === undefined ? undefined : current(record);
    const scaled = before !== null && restart !== true && onlyScaled(before, after);
    const next = {
      version,
      app: after,
      lastScalingAt: version,
      lastConfigChangeAt: scaled && last !== undefined ? last.lastConfigChangeAt : version,
    };
    for (const healthCheck of before?.healthChecks.length === 0 || before === null ? after.healthChecks : [])
      this.events.emit("add_health_check_event", { appId: id, version, healthCheck });
    if (record === undefined) this.store.apps.set(id, newRecord(next));
    else {
      addVersion(record, next);
      record.removed = false;
      if (!scaled) record.backoff = { delayMs: 0, until: 0 };
    }
  }

  #announce(deployment: Deployment, changes: readonly AppChange[]): void {
    this.events.emit("group_change_success", { groupId: "/", version: deployment.version });
    this.events.emit("deployment_info", {
      plan: planOf(deployment),
      currentStep: deployment.steps[0] ?? { actions: [] },
    });
    if (deployment.steps.length === 0)
      this.events.emit("deployment_success", { id: deployment.id, plan: planOf(deployment) });
    queueMicrotask(() => {
      for (const { id } of changes) this.scheduler.look(id);
    });
  }

  /** Whether no running deployment makes the application wait for others. */
  #mayChange(appId: string): boolean {
    return this.deploymentsOf(appId).every((deployment) => {
      const own = deployment.steps.findIndex(({ actions }) =>
        actions.some(({ app, action }) => app === appId && action !== "StartApplication"),
      );
      return own <= deployment.step;
    });
  }

  /** Ends steps of deployments that have come true, and begins the next ones. */
  #advance(appId: string): void {
    for (const deployment of this.deploymentsOf(appId)) {
      const step = deployment.steps[deployment.step];
      if (step === undefined || !step.actions.every(({ action, app }) => this.#isDone(action, app))) continue;
      this.events.emit("deployment_step_success", { plan: planOf(deployment), currentStep: step });
      deployment.step++;
      const next = deployment.steps[deployment.step];
      if (next === undefined) this.#drop(deployment, "deployment_success");
      void this.store.saveDeployments().catch((error) => this.#options.log(String(error)));
      for (const { app } of next?.actions ?? []) this.scheduler.look(app);
    }
  }

  #isDone(action: string, appId: string): boolean {
    const record = this.store.apps.get(appId);
    if (action === "StartApplication") return true;
    if (action === "StopApplication" || record === undefined) return record === undefined;
    const { app, lastConfigChangeAt } = current(record);
    const live = record.instances.filter(isLive);
    return (
      record.instances.length === app.instances &&
      live.length === app.instances &&
      live.every((one) => !one.killing && one.version >= lastConfigChangeAt && isReady(one, app))
    );
  }

  #versionOf(changes: readonly AppChange[]): string {
    const record = this.store.apps.get(changes[0]?.id ?? "");
    return record === undefined ? this.#newVersion() : current(record).version;
  }

  /** Now, and never twice. */
  #newVersion(): string {
    const last = this.#lastVersion === "" ? 0 : Date.parse(this.#lastVersion) + 1;
    this.#lastVersion = new Date(Math.max(Date.now(), last)).toISOString();
    return this.#lastVersion;
  }
}

const portsOf = ({ portDefinitions = [], container }: AppDefinition): number[] => [
  ...portDefinitions.map(({ port }) => port),
  ...(container?.portMappings ?? []).map(({ servicePort }) => servicePort),
];

function checkCycle(id: string, apps: ReadonlyMap<string, AppDefinition>, found: Violations): void {
  const visit = (at: string, path: readonly string[]): boolean =>
    (apps.get(at)?.dependencies ?? []).some(
      (next) => path.includes(next) || (path.length < apps.size && visit(next, [...path, next])),
    );
  if (visit(id, [id])) found.add("/", "Dependency graph has cyclic dependencies.");
}

/** A deployment as the events have it; how much of it is told is for each listener to say. */
const planOf = ({ id, steps, version, before }: Deployment): Plan => ({ id, steps, version, before });
