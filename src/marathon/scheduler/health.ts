import http from "node:http";
import net from "node:net";
import type { AgentView } from "../../mesos/master/agents.ts";
import type { AppDefinition, HealthCheck } from "../definition/app.ts";
import { type Instance, isRunning } from "./instance.ts";

/** The first look comes soon, whatever the interval (spec/marathon.md 6.7). */
const FIRST_MS = 5_000;

/** Called after every check; `kill` is the reason when the task is to be killed. */
type Checked = (appId: string, instance: Instance, kill: string | undefined) => void;

/**
 * Health checks over HTTP and TCP of tasks that run. The agents are simulated hosts of this machine, so a task's ports are
 * asked on the loopback address; MESOS_ forms are the same here.
 */
export class Health {
  readonly #checked: Checked;
  readonly #timers = new Map<string, NodeJS.Timeout[]>();

  constructor(checked: Checked) {
    this.#checked = checked;
  }

  /** The instance has changed: begins to look after it, or ends. */
  follow(appId: string, app: AppDefinition, instance: Instance, agents: readonly AgentView[]): void {
    void agents;
    if (!isRunning(instance)) {
      this.forget(instance);
      return;
    }
    if (this.#timers.has(instance.id)) return;
    const checks = app.healthChecks.filter(({ protocol }) => protocol !== "COMMAND");
    this.#timers.set(
      instance.id,
      checks.map((check) => {
        const interval = Math.max(1, check.intervalSeconds) * 1000;
        const began = Date.now();
        const look = async () => {
          const failure = await ask(check, instance);
          if (!this.#timers.has(instance.id) || !isRunning(instance)) return;
          this.#note(appId, check, instance, failure, Date.now() - began);
        };
        const timer = setInterval(() => void look(), interval);
        const first = setTimeout(() => void look(), Math.min(interval, FIRST_MS));
        return Object.assign(timer, { first });
      }),
    );
  }

  forget(instance: Instance): void {
    for (const timer of this.#timers.get(instance.id) ?? []) {
      clearInterval(timer);
      clearTimeout((timer as NodeJS.Timeout & { first?: NodeJS.Timeout }).first);
    }
    this.#timers.delete(instance.id);
  }

  close(): void {
    for (const id of [...this.#timers.keys()]) this.forget({ id } as Instance);
  }

  #note(appId: string, check: HealthCheck, instance: Instance, failure: string | undefined, ageMs: number): void {
    const at = new Date().toISOString();
    const health = instance.health ?? { alive: false, consecutiveFailures: 0 };
    instance.health = health;
    let kill: string | undefined;
    if (failure === undefined) {
      health.alive = true;
      health.consecutiveFailures = 0;
      health.firstSuccess ??= at;
      health.lastSuccess = at;
    } else if (health.firstSuccess !== undefined || ageMs > check.gracePeriodSeconds * 1000) {
      // The test comes before the count: so many failures are forgiven, the next one is not.
      if (check.maxConsecutiveFailures > 0 && health.consecutiveFailures >= check.maxConsecutiveFailures)
        kill = failure;
      health.alive = false;
      health.consecutiveFailures++;
      health.lastFailure = at;
      health.lastFailureCause = failure;
    }
    this.#checked(appId, instance, kill);
  }
}

/** Answers what is wrong, undefined when all is well. */
function ask(check: HealthCheck, { ports }: Instance): Promise<string | undefined> {
  const port = check.port ?? ports[check.portIndex ?? 0];
  const timeout = Math.max(1, check.timeoutSeconds) * 1000;
  if (port === undefined) return Promise.resolve("the task has no such port");
  return check.protocol.includes("TCP") ? askTcp(port, timeout) : askHttp(port, check, timeout);
}

function askTcp(port: number, timeout: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = net.connect({ port, host: "127.0.0.1", timeout });
    const end = (answer: string | undefined) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => end(undefined));
    socket.once("timeout", () => end("timed out"));
    socket.once("error", (error) => end(error.message));
  });
}

function askHttp(
  port: number,
  { path = "/", ignoreHttp1xx }: HealthCheck,
  timeout: number,
): Promise<string | undefined> {
  void ignoreHttp1xx;
  return new Promise((resolve) => {
    const request = http.get({ port, host: "127.0.0.1", path, timeout, agent: false }, (response) => {
      response.resume();
      const status = response.statusCode ?? 0;
      resolve(status >= 200 && status < 400 ? undefined : `HTTP status ${status}`);
    });
    request.once("timeout", () => request.destroy(new Error("timed out")));
    request.once("error", (error) => resolve(error.message));
  });
}
