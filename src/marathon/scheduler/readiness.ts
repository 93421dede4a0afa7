import { probeHttp } from "../../lib/probe.ts";
import type { AppDefinition, ReadinessCheck } from "../definition/app.ts";
import { type Instance, isRunning } from "./instance.ts";
import { portsOf } from "./ports.ts";

/** What the last look at an instance has shown (spec/marathon.md 6.4). */
export interface ReadinessResult {
  readonly name: string;
  readonly taskId: string;
  readonly ready: boolean;
  readonly lastResponse?: { readonly status: number; readonly contentType: string; readonly body: string };
}

interface Followed {
  readonly timer: NodeJS.Timeout;
  result: Omit<ReadinessResult, "taskId">;
}

/**
 * Readiness checks: asked after a task's start until it is ready once, never again. A deployment waits for it; nothing is
 * killed for it.
 */
export class Readiness {
  readonly #followed = new Map<string, Followed>();
  readonly #ready: (appId: string, instance: Instance) => void;

  constructor(ready: (appId: string, instance: Instance) => void) {
    this.#ready = ready;
  }

  /** The instance has changed: begins to look at it, or ends. */
  follow(appId: string, app: AppDefinition, instance: Instance): void {
    const [check] = app.readinessChecks;
    if (check === undefined || !isRunning(instance) || instance.ready === true) {
      this.forget(instance);
      return;
    }
    if (this.#followed.has(instance.id)) return;
    const look = async () => {
      const result = await ask(check, portOf(check, app, instance));
      const followed = this.#followed.get(instance.id);
      if (followed === undefined) return;
      followed.result = result;
      if (!result.ready) return;
      instance.ready = true;
      this.forget(instance);
      this.#ready(appId, instance);
    };
    const timer = setInterval(() => void look(), check.intervalSeconds * 1000);
    this.#followed.set(instance.id, { timer, result: { name: check.name, ready: false } });
    void look();
  }

  result(instance: Instance): Omit<ReadinessResult, "taskId"> | undefined {
    return this.#followed.get(instance.id)?.result;
  }

  forget({ id }: Pick<Instance, "id">): void {
    clearInterval(this.#followed.get(id)?.timer);
    this.#followed.delete(id);
  }

  close(): void {
    for (const id of [...this.#followed.keys()]) this.forget({ id });
  }
}

async function ask(check: ReadinessCheck, port: number | undefined): Promise<Omit<ReadinessResult, "taskId">> {
  const { name, protocol, path, timeoutSeconds } = check;
  if (port === undefined) return { name, ready: false };
  try {
    const { status, body, contentType } = await probeHttp({
      port,
      path,
      tls: protocol === "HTTPS",
      timeoutMs: timeoutSeconds * 1000,
    });
    const ready = check.httpStatusCodesForReady.includes(status);
    return { name, ready, ...(check.preserveLastResponse ? { lastResponse: { status, contentType, body } } : {}) };
  } catch {
    return { name, ready: false };
  }
}

/** By its name; an application with one port need not name it. */
function portOf({ portName }: ReadinessCheck, app: AppDefinition, instance: Instance): number | undefined {
  const ports = portsOf(app, instance);
  return (ports.find(({ name }) => name === portName) ?? (ports.length === 1 ? ports[0] : undefined))?.hostPort;
}
