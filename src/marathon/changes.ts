import { isDeepStrictEqual } from "node:util";
import { KeyedMutex } from "../lib/mutex.ts";
import type { AppDefinition, AppUpdate } from "./definition/app.ts";
import { absoluteId, defineApp } from "./definition/define.ts";
import { checkVolumeNames } from "./definition/external-volume-rules.ts";
import { MOST_DEPLOYMENTS, TEXTS } from "./definition/texts.ts";
import { MarathonError, refuse, Violations } from "./definition/violations.ts";
import {
  type AppChange,
  type Deployment,
  groupsWithout,
  hasCycle,
  isSame,
  planDeployment,
} from "./scheduler/deployment.ts";
import type { Deployments } from "./scheduler/deployments.ts";
import type { Events } from "./scheduler/events.ts";
import type { Instance } from "./scheduler/instance.ts";
import { recordChange } from "./scheduler/record-change.ts";
import { type AppRecord, current, type Groups, type Store } from "./scheduler/store.ts";

/** Service ports are taken from here on (`local_port_min`). */
const FIRST_PORT = 10_000;

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

export interface ChangesOptions {
  readonly store: Store;
  readonly events: Events;
  readonly deployments: Deployments;
  /** The feature `external_volumes`. */
  readonly externalVolumes: boolean;
  readonly kill: (appId: string, instance: Instance) => void;
  readonly look: (appId: string) => void;
  readonly log: (message: string) => void;
}

/**
 * Writes, one at a time: each is checked against all applications, put on disk as a whole, and then carried out by others
 * (spec/marathon.md 2).
 */
export class Changes {
  readonly #options: ChangesOptions;
  readonly #writes = new KeyedMutex();
  /** Service ports that are taken, while a write is under way. */
  #ports: Set<number> | undefined;
  #lastVersion = "";

  constructor(options: ChangesOptions) {
    this.#options = options;
    for (const record of options.store.apps.values())
      if (current(record).version > this.#lastVersion) this.#lastVersion = current(record).version;
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
  make(define: () => Omit<AppChange, "before">[], options: ChangeOptions): Promise<Begun> {
    const { force, absent, kill = [], made } = options;
    const { store, deployments } = this.#options;
    return this.#writes.run("", async () => {
      const changes = this.#withBefore(this.#defined(define));
      if (deployments.all.length >= MOST_DEPLOYMENTS) throw new MarathonError(403, TEXTS.tree.tooMany);
      absent?.();
      const version = this.#newVersion();
      const groups = options.groups?.(store.groups, version) ?? store.groups;
      this.#checkTree(changes, groups);
      const locking = deployments.locking(changes);
      const real = changes.filter(({ before, after, restart }) => restart === true || !isSame(before, after));
      const deployment = planDeployment(real, version, groups, store.groups);
      if (locking.length > 0 && !force) this.#refuseLocked(deployment, locking);
      await store.begin({ begun: deployment.steps.length > 0 ? [deployment] : [], replaced: locking, groups });
      for (const one of locking) deployments.announceFailure(one, "The deployment was cancelled by another one");
      for (const change of real) recordChange(store, change, version);
      for (const { id, instance } of kill) this.#options.kill(id, instance);
      await Promise.all(real.map(({ id }) => this.#save(id)));
      made?.();
      deployments.announce(deployment);
      for (const change of real) this.#announceChecks(change, version);
      queueMicrotask(() => real.map(({ id }) => this.#options.look(id)));
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
      const record = this.#options.store.apps.get(change.id);
      return { ...change, before: record === undefined || record.removed ? null : current(record).app };
    });
  }

  /** Goes back to what was before a deployment; `force` only drops it. Throws 404. */
  async cancel(id: string, { force }: { force: boolean }): Promise<Begun | undefined> {
    const deployment = this.#options.deployments.all.find((one) => one.id === id);
    if (deployment === undefined) throw new MarathonError(404, `DeploymentPlan ${id} does not exist`);
    if (!force)
      return this.make(() => Object.entries(deployment.before).map(([app, after]) => ({ id: app, after })), {
        force: true,
        groups: (now) => groupsWithout(deployment, now),
      });
    await this.#writes.run("", () => this.#options.store.begin({ replaced: [deployment] }));
    this.#options.deployments.announceFailure(deployment, "The deployment was cancelled");
    for (const app of Object.keys(deployment.before)) this.#options.look(app);
    return undefined;
  }

  #checkTree(changes: readonly AppChange[], groups: Groups): void {
    const after = new Map(this.#apps().map((record) => [current(record).app.id, current(record).app]));
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
    return new Set(this.#apps().flatMap((record) => portsOf(current(record).app)));
  }

  #refuseLocked(refused: Deployment, locking: readonly Deployment[]): never {
    const reason = TEXTS.tree.locked;
    this.#options.events.emit("group_change_failed", { groupId: "/", version: refused.version, reason });
    this.#options.deployments.announceFailure({ ...refused, step: refused.steps.length }, reason);
    throw new MarathonError(409, TEXTS.tree.lockedHelp, { deployments: locking.map(({ id }) => ({ id })) });
  }

  /** The change is made: a record that cannot be written now is in its deployment. */
  async #save(id: string): Promise<void> {
    await this.#options.store.saveApp(id).catch((error) => this.#options.log(`${id}: ${String(error)}`));
  }

  #announceChecks({ id, before, after }: AppChange, version: string): void {
    const [old, checks] = [before?.healthChecks ?? [], after?.healthChecks ?? []];
    const missing = (some: typeof old, others: typeof old) =>
      some.filter((one) => !others.some((other) => isDeepStrictEqual(one, other)));
    for (const _gone of missing(old, checks)) this.#options.events.emit("remove_health_check_event", { appId: id });
    for (const healthCheck of missing(checks, old))
      this.#options.events.emit("add_health_check_event", { appId: id, version, healthCheck });
  }

  /** Of what was there already. */
  #versionOf(changes: readonly AppChange[], fresh: string): string {
    const record = this.#options.store.apps.get(changes[0]?.id ?? "");
    return record === undefined ? fresh : current(record).version;
  }

  /** Now, and never twice. */
  #newVersion(): string {
    const last = this.#lastVersion === "" ? 0 : Date.parse(this.#lastVersion) + 1;
    this.#lastVersion = new Date(Math.max(Date.now(), last)).toISOString();
    return this.#lastVersion;
  }

  /** Those that are not being removed. */
  #apps(): AppRecord[] {
    return [...this.#options.store.apps.values()].filter(({ removed }) => !removed);
  }
}

const portsOf = ({ portDefinitions = [], container }: AppDefinition): number[] => [
  ...portDefinitions.map(({ port }) => port),
  ...(container?.portMappings ?? []).map(({ servicePort }) => servicePort),
];
