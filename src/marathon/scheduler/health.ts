import { probeHealth, probeTcp } from "../../lib/probe.ts";
import type { AppDefinition, HealthCheck } from "../definition/app.ts";
import { type HealthResult, type Instance, isHealthy, isRunning } from "./instance.ts";
import { portsOf } from "./ports.ts";

/** The first look comes soon, whatever the interval (spec/marathon.md 6.7). */
const FIRST_MS = 5_000;

/** What the scheduler does with what is found. */
export interface HealthListener {
  /** After every check that failed. */
  readonly failed: (appId: string, instance: Instance, check: HealthCheck) => void;
  /** An instance as a whole has become well or ill. */
  readonly changed: (appId: string, instance: Instance, alive: boolean) => void;
  /** There were too many failures. */
  readonly kill: (appId: string, instance: Instance, why: string) => void;
}

/** Those that the agents make, in the task's own context; the others are made here. */
export const isMesosCheck = ({ protocol }: HealthCheck): boolean =>
  protocol === "COMMAND" || protocol.startsWith("MESOS_");

/**
 * Health of tasks that run: makes Marathon's own checks, HTTP and TCP, and takes down what agents tell of theirs. The agents
 * are simulated hosts of this machine, so a task's ports are asked on the loopback address.
 */
export class Health {
  readonly #listener: HealthListener;
  readonly #ends = new Map<string, () => void>();

  constructor(listener: HealthListener) {
    this.#listener = listener;
  }

  /** The instance has changed: begins to look after it, or ends. */
  follow(appId: string, app: AppDefinition, instance: Instance): void {
    if (!isRunning(instance)) {
      this.forget(instance);
      return;
    }
    if (this.#ends.has(instance.id)) return;
    const timers = new Set<NodeJS.Timeout>();
    this.#ends.set(instance.id, () => timers.forEach(clearInterval));
    for (const [index, check] of app.healthChecks.entries()) {
      if (isMesosCheck(check)) continue;
      const look = async () => {
        const failure = await ask(check, app, instance);
        if (this.#ends.has(instance.id) && isRunning(instance)) this.#note(appId, app, instance, index, failure);
      };
      const interval = Math.max(1, check.intervalSeconds) * 1000;
      timers.add(setInterval(() => void look(), interval));
      timers.add(setTimeout(() => void look(), Math.min(interval, FIRST_MS)));
    }
  }

  /** What an agent has found; it kills by itself. */
  told(appId: string, app: AppDefinition, instance: Instance, healthy: boolean, why: string): void {
    const index = app.healthChecks.findIndex(isMesosCheck);
    if (index >= 0) this.#take(appId, app, instance, index, healthy ? undefined : why);
  }

  forget(instance: Pick<Instance, "id">): void {
    this.#ends.get(instance.id)?.();
    this.#ends.delete(instance.id);
  }

  close(): void {
    for (const id of [...this.#ends.keys()]) this.forget({ id });
  }

  #note(appId: string, app: AppDefinition, instance: Instance, index: number, failure: string | undefined): void {
    const check = app.healthChecks[index] as HealthCheck;
    const { firstSuccess, consecutiveFailures = 0 } = instance.health?.[index] ?? {};
    const age = Date.now() - Date.parse(instance.startedAt ?? instance.createdAt);
    if (failure !== undefined && firstSuccess === undefined && age <= check.gracePeriodSeconds * 1000) return;
    this.#take(appId, app, instance, index, failure);
    // The test is of the count before: so many failures are forgiven, the next one is not.
    if (
      failure !== undefined &&
      check.maxConsecutiveFailures > 0 &&
      consecutiveFailures >= check.maxConsecutiveFailures
    )
      this.#listener.kill(appId, instance, failure);
  }

  #take(appId: string, app: AppDefinition, instance: Instance, index: number, failure: string | undefined): void {
    const check = app.healthChecks[index] as HealthCheck;
    const before = isHealthy(instance, app);
    const known: HealthResult | undefined = instance.health?.[index];
    const at = new Date().toISOString();
    const result: HealthResult =
      failure === undefined
        ? { ...known, alive: true, consecutiveFailures: 0, firstSuccess: known?.firstSuccess ?? at, lastSuccess: at }
        : {
            ...known,
            alive: false,
            consecutiveFailures: (known?.consecutiveFailures ?? 0) + 1,
            lastFailure: at,
            lastFailureCause: failure,
          };
    instance.health = { ...instance.health, [index]: result };
    if (failure !== undefined) this.#listener.failed(appId, instance, check);
    const after = isHealthy(instance, app);
    if (after !== before || (failure !== undefined && known === undefined))
      this.#listener.changed(appId, instance, after);
  }
}

/** Answers what is wrong, undefined when all is well. */
function ask(check: HealthCheck, app: AppDefinition, instance: Instance): Promise<string | undefined> {
  const port = check.port ?? portsOf(app, instance)[check.portIndex ?? 0]?.hostPort;
  const timeoutMs = Math.max(1, check.timeoutSeconds) * 1000;
  if (port === undefined) return Promise.resolve("the task has no such port");
  if (check.protocol.endsWith("TCP")) return probeTcp(port, timeoutMs);
  return probeHealth({ port, path: check.path ?? "/", tls: check.protocol.endsWith("HTTPS"), timeoutMs });
}
