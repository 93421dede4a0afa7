import type { AppChange, Deployment } from "./deployment.ts";
import type { Events, Plan } from "./events.ts";
import { isLive, isReady } from "./instance.ts";
import { isInactive } from "./selection.ts";
import { current, definitionOf, type Store } from "./store.ts";

export interface DeploymentsOptions {
  readonly store: Store;
  readonly events: Events;
  /** An application's turn has come. */
  readonly look: (appId: string) => void;
  readonly log: (message: string) => void;
}

/** The deployments under way: who has to wait for whom, and when a step has come true (spec/marathon.md 6.4). */
export class Deployments {
  readonly #options: DeploymentsOptions;

  constructor(options: DeploymentsOptions) {
    this.#options = options;
  }

  get all(): readonly Deployment[] {
    return this.#options.store.deployments;
  }

  of(appId: string): Deployment[] {
    return this.all.filter(({ before }) => appId in before);
  }

  /** Those that a change would have to take the place of. */
  locking(changes: readonly Pick<AppChange, "id">[]): Deployment[] {
    return this.all.filter(({ before }) => changes.some(({ id }) => id in before));
  }

  /** Says what has begun. */
  announce(deployment: Deployment): void {
    const { events } = this.#options;
    events.emit("group_change_success", { groupId: "/", version: deployment.version });
    this.#tellStep(deployment);
    if (deployment.steps.length === 0)
      events.emit("deployment_success", { id: deployment.id, plan: planOf(deployment) });
  }

  /** Says what is not carried on. */
  announceFailure(deployment: Deployment, reason: string): void {
    const { events } = this.#options;
    const step = deployment.steps[deployment.step];
    if (step !== undefined) events.emit("deployment_step_failure", { plan: planOf(deployment), currentStep: step });
    events.emit("deployment_failed", { id: deployment.id, plan: planOf(deployment), reason });
  }

  /** Whether none makes the application wait for others. */
  mayChange(appId: string): boolean {
    return this.of(appId).every((deployment) => {
      const own = deployment.steps.findIndex(({ actions }) =>
        actions.some(({ app, action }) => app === appId && action !== "StartApplication"),
      );
      return own <= deployment.step;
    });
  }

  /** Ends steps that have come true, and begins the next ones. */
  advance(deployments: readonly Deployment[]): void {
    const { store, events, look, log } = this.#options;
    for (const deployment of deployments) {
      const step = deployment.steps[deployment.step];
      if (
        !this.all.includes(deployment) ||
        step?.actions.every(({ action, app }) => this.#isDone(action, app)) === false
      )
        continue;
      if (step !== undefined) events.emit("deployment_step_success", { plan: planOf(deployment), currentStep: step });
      deployment.step++;
      const next = deployment.steps[deployment.step];
      if (next === undefined) {
        store.deployments = store.deployments.filter((one) => one !== deployment);
        events.emit("deployment_success", { id: deployment.id, plan: planOf(deployment) });
      } else this.#tellStep(deployment);
      void store.saveDeployments().catch((error) => log(String(error)));
      for (const { app } of next?.actions ?? []) look(app);
      if (next !== undefined) this.advance([deployment]);
    }
  }

  #tellStep(deployment: Deployment): void {
    const currentStep = deployment.steps[deployment.step] ?? { actions: [] };
    this.#options.events.emit("deployment_info", { plan: planOf(deployment), currentStep });
  }

  #isDone(action: string, appId: string): boolean {
    const record = this.#options.store.apps.get(appId);
    if (action === "StartApplication") return true;
    if (action === "StopApplication" || record === undefined) return record === undefined;
    const { app, lastConfigChangeAt } = current(record);
    // One that is lost for good is not waited for; another one is there in its place.
    const there = record.instances.filter((instance) => !isInactive(app, instance));
    return (
      there.length === app.instances &&
      there.every(
        (one) =>
          isLive(one) && !one.killing && one.version >= lastConfigChangeAt && isReady(one, definitionOf(record, one)),
      )
    );
  }
}

/** A deployment as the events have it; how much of it is told is for each listener to say. */
const planOf = ({ id, steps, version, before }: Deployment): Plan => ({ id, steps, version, before });
