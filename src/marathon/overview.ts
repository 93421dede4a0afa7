import type { Marathon } from "./marathon.ts";
import { isHealthy, isRunning } from "./scheduler/instance.ts";
import { current } from "./scheduler/store.ts";

/** An application in one line, for people. */
export interface AppOverview {
  readonly id: string;
  readonly wanted: number;
  readonly running: number;
  /** Of those that run; the same when there are no health checks. */
  readonly healthy: number;
  readonly hosts: readonly string[];
  /** Why not everything runs, one reason a string. */
  readonly waiting: readonly string[];
}

/** `rexray-sim app ls`: what runs, and why something does not. Marathon's own queue has no room for words. */
export function overview(marathon: Marathon): AppOverview[] {
  return marathon.apps().map((record) => {
    const { app } = current(record);
    const running = record.instances.filter(isRunning);
    return {
      id: app.id,
      wanted: app.instances,
      running: running.length,
      healthy: running.filter((instance) => isHealthy(instance, app)).length,
      hosts: [...new Set(running.flatMap(({ agent }) => agent ?? []))].toSorted(),
      waiting: reasons(marathon, app.id),
    };
  });
}

function reasons(marathon: Marathon, id: string): string[] {
  const waiting = marathon.scheduler.waiting(id);
  const record = marathon.find(id);
  if (waiting === undefined || record === undefined) return [];
  const failure = record.lastTaskFailure;
  const left = record.backoff.until - Date.now();
  if (left > 0) {
    const why = failure === undefined ? "its task has ended" : failure.message.trim();
    return [`again in ${Math.ceil(left / 1000)} s: ${why}`];
  }
  return waiting.texts.length === 0 ? ["no agent offers anything"] : [...new Set(waiting.texts)];
}
