import { randomUUID } from "node:crypto";
import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { KeyedMutex } from "../lib/mutex.ts";
import type { Agents } from "../mesos/master/agents.ts";
import type { AppDefinition, AppUpdate } from "./definition/app.ts";
import { absoluteId, defineApp } from "./definition/define.ts";
import { checkVolumeNames } from "./definition/external-volume-rules.ts";
import { MOST_DEPLOYMENTS, TEXTS } from "./definition/texts.ts";
import { MarathonError, refuse, Violations } from "./definition/violations.ts";
import {
  type AppChange,
  type Deployment,
  hasCycle,
  isSame,
  onlyScaled,
  planDeployment,
} from "./scheduler/deployment.ts";
import { Deployments } from "./scheduler/deployments.ts";
import { Events } from "./scheduler/events.ts";
import { type Instance, taskIdOf } from "./scheduler/instance.ts";
import { Scheduler } from "./scheduler/scheduler.ts";
import { type AppRecord, addVersion, current, type Groups, newRecord, Store } from "./scheduler/store.ts";

/** Service ports are taken from here on (`local_port_min`). */
const FIRST_PORT = 10_000;

export interface MarathonOptions {
  readonly stateDir: string;
  readonly agents: Agents;
  /** The feature `external_volumes`. */
  readonly externalVolumes: boolean;
  /** host:port of Mesos' master. */
  readonly master?: string;
  readonly log: (message: string) => void;
}

/** What a write has begun. */
export interface Begun {
  readonly version: string;
  readonly deploymentId: string;
}

/** How a write is made. */
export interface ChangeOptions {
  /** Take the place of deployments that are under way. */
  readonly force: boolean;
  /** Stage 10: throws when what is to be created is there. */
  readonly absent?: () => void;
  /** Instances that end with it. */
  readonly kill?: readonly { readonly id: string; readonly instance: Instance }[];
  /** The groups that there shall be. */
  readonly groups?: (now: Groups, version: string) => Groups;
  /** It is on disk; nobody has been told yet. */
  readonly made?: () => void;
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
  readonly deployments: Deployments;
  readonly #options: MarathonOptions;
  readonly #writes = new KeyedMutex();
  /** Service ports that are taken, while a write is under way. */
  #ports: Set<number> | undefined;
  #lastVersion = "";

  /** Throws when what is on disk cannot be understood. */
  constructor(options: MarathonOptions) {
    const { agents, stateDir, log } = options;
    this.#options = options;
    this.agents = agents;
    this.store = new Store(path.join(stateDir, "marathon"), `${randomUUID()}-0000`);
    const { store, events } = this;
    this.deployments = new Deployments({ store, events, look: (appId) => this.scheduler.look(appId), log });
    const redone = this.#redo();
    for (const record of store.apps.values())
      if (current(record).version > this.#lastVersion) this.#lastVersion = current(record).version;
    this.scheduler = new Scheduler({
      store,
      agents,
      events,
      mayChange: (appId) => this.deployments.mayChange(appId),
      progressed: (appId) => queueMicrotask(() => this.deployments.advance(this.deployments.of(appId))),
      log,
    });
    for (const id of redone) void store.saveApp(id).catch((error) => log(`${id}: ${String(error)}`));
  }

  async start(): Promise<void> {
    await this.agents.start({
      task: (agent, task) => this.scheduler.status(agent, task),
      known: (agent, taskIds) => this.scheduler.known(agent, taskIds),
      left: (agent, state) => this.scheduler.left(agent, state),
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

  /** Stages 3 to 8 for one application. */
  define(id: string, update: AppUpdate, before: AppDefinition | undefined): AppDefinition {
    const taken = this.#ports ?? this.#takenPorts();
    let next = FIRST_PORT;
    const servicePort = () => {
      while (taken.has(next)) next++;
      taken.add(next);
      return next;
    };
    return defineApp(absoluteId(id), update, before, { externalVolumes: this.#options.externalVolumes, servicePort });
  }

  /**
   * Changes applications in one deployment; null removes one. `define` is called when no other write is under way. Throws
   * MarathonError: 403, 409, 422 and what `define` throws, and when it cannot be put on disk; nothing has changed then.
   */
  change(define: () => Omit<AppChange, "before">[], options: ChangeOptions): Promise<Begun> {
    const { force, absent, kill = [], made } = options;
    return this.#writes.run("", async () => {
      const changes = this.#withBefore(this.#defined(define));
      if (this.deployments.all.length >= MOST_DEPLOYMENTS) throw new MarathonError(403, TEXTS.tree.tooMany);
      absent?.();
      const version = this.#newVersion();
      const groups = options.groups?.(this.store.groups, version) ?? this.store.groups;
      this.#checkTree(changes, groups);
      const locking = this.deployments.locking(changes);
      const real = changes.filter(({ before, after, restart }) => restart === true || !isSame(before, after));
      const deployment = planDeployment(real, version, groups);
      if (locking.length > 0 && !force) this.#refuseLocked(deployment, locking);
      await this.store.begin({ begun: deployment.steps.length > 0 ? [deployment] : [], replaced: locking, groups });
      for (const one of locking) this.deployments.announceFailure(one, "The deployment was cancelled by another one");
      for (const change of real) this.#record(change, version);
      for (const { id, instance } of kill) this.scheduler.kill(id, instance);
      await Promise.all(real.map(({ id }) => this.#save(id)));
      made?.();
      this.deployments.announce(deployment);
      for (const change of real) this.#announceChecks(change, version);
      queueMicrotask(() => real.map(({ id }) => this.scheduler.look(id)));
      return { version: real.length > 0 ? version : this.#versionOf(changes, version), deploymentId: deployment.id };
    });
  }

  /** The steps that a change would have, when nothing speaks against it. Throws 422. */
  plan(define: () => Omit<AppChange, "before">[], groups: Groups): Deployment["steps"] {
    const changes = this.#withBefore(this.#defined(define));
    this.#checkTree(changes, groups);
    return planDeployment(changes, "", groups).steps;
  }

  /** Changes with what there is now. */
  #withBefore(changes: readonly Omit<AppChange, "before">[]): AppChange[] {
    return changes.map((change) => {
      const record = this.find(change.id);
      return { ...change, before: record === undefined ? null : current(record).app };
    });
  }

  /** Goes back to what was before a deployment; `force` only drops it. Throws 404. */
  async cancel(id: string, { force }: { force: boolean }): Promise<Begun | undefined> {
    const deployment = this.deployments.all.find((one) => one.id === id);
    if (deployment === undefined) throw new MarathonError(404, `DeploymentPlan ${id} does not exist`);
    if (!force)
      return this.change(() => Object.entries(deployment.before).map(([app, after]) => ({ id: app, after })), {
        force: true,
      });
    await this.#writes.run("", () => this.store.begin({ replaced: [deployment] }));
    this.deployments.announceFailure(deployment, "The deployment was cancelled");
    for (const app of Object.keys(deployment.before)) this.scheduler.look(app);
    return undefined;
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
    return this.change(fewer, { force, kill: targets });
  }

  /** The instance of a task id; undefined when there is none. */
  findTask(taskId: string): { id: string; instance: Instance } | undefined {
    for (const [id, { instances }] of this.store.apps)
      for (const instance of instances)
        if (taskIdOf(instance) === taskId || instance.id === taskId) return { id, instance };
    return undefined;
  }

  #checkTree(changes: readonly AppChange[], groups: Groups): void {
    const after = new Map(this.apps().map((record) => [current(record).app.id, current(record).app]));
    for (const { id, after: app } of changes) {
      if (app === null) after.delete(id);
      else after.set(id, app);
    }
    const found = new Violations();
    checkVolumeNames([...after.values()], found);
    if (
      hasCycle(
        changes.map(({ id }) => id),
        after,
        groups,
      )
    )
      found.add("/", TEXTS.tree.cycle);
    refuse(found, "rules");
  }

  /** The service ports of all applications are looked up once for all that one write defines. */
  #defined<T>(define: () => T): T {
    this.#ports = this.#takenPorts();
    try {
      return define();
    } finally {
      this.#ports = undefined;
    }
  }

  #takenPorts(): Set<number> {
    return new Set(this.apps().flatMap((record) => portsOf(current(record).app)));
  }

  #refuseLocked(refused: Deployment, locking: readonly Deployment[]): never {
    const reason = TEXTS.tree.locked;
    this.events.emit("group_change_failed", { groupId: "/", version: refused.version, reason });
    this.deployments.announceFailure({ ...refused, step: refused.steps.length }, reason);
    throw new MarathonError(409, TEXTS.tree.lockedHelp, { deployments: locking.map(({ id }) => ({ id })) });
  }

  /** Carries out what deployments say that a former process has begun and not put into its applications' records. */
  #redo(): string[] {
    return this.store.deployments.flatMap(({ version, before, after = {}, restart = false }) =>
      Object.entries(after).flatMap(([id, app]) => {
        const record = this.store.apps.get(id);
        const isThere =
          app === null
            ? record === undefined || record.removed
            : record !== undefined && !record.removed && current(record).version >= version;
        if (isThere) return [];
        this.#record({ id, before: before[id] ?? null, after: app, restart }, version);
        return [id];
      }),
    );
  }

  /** The change is made: a record that cannot be written now is in its deployment. */
  async #save(id: string): Promise<void> {
    await this.store.saveApp(id).catch((error) => this.#options.log(`${id}: ${String(error)}`));
  }

  #announceChecks({ id, before, after }: AppChange, version: string): void {
    const [old, checks] = [before?.healthChecks ?? [], after?.healthChecks ?? []];
    const missing = (some: typeof old, others: typeof old) =>
      some.filter((one) => !others.some((other) => isDeepStrictEqual(one, other)));
    for (const _gone of missing(old, checks)) this.events.emit("remove_health_check_event", { appId: id });
    for (const healthCheck of missing(checks, old))
      this.events.emit("add_health_check_event", { appId: id, version, healthCheck });
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
    if (record === undefined) this.store.apps.set(id, newRecord(next));
    else {
      addVersion(record, next);
      record.removed = false;
      if (!scaled) record.backoff = { delayMs: 0, until: 0 };
    }
  }

  /** Of what was there already. */
  #versionOf(changes: readonly AppChange[], fresh: string): string {
    const record = this.store.apps.get(changes[0]?.id ?? "");
    return record === undefined ? fresh : current(record).version;
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
