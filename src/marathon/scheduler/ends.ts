import type { TaskStatus } from "../../mesos/task.ts";
import { afterFailure } from "./backoff.ts";
import { type Instance, taskIdOf } from "./instance.ts";
import { type AppRecord, current } from "./store.ts";

/** Ends that make the next start wait (spec/marathon.md 6.7), and those that are remembered as failures (6.3). */
const BACKED_OFF = new Set(["TASK_FINISHED", "TASK_FAILED", "TASK_ERROR", "TASK_GONE"]);
const FAILURES = new Set(["TASK_FAILED", "TASK_ERROR", "TASK_LOST", "TASK_GONE"]);

type End = Pick<TaskStatus, "state" | "message" | "timestamp">;

/** Puts down what the end of a task means for its application. `slaveId`: of its agent. */
export function noteEnd(record: AppRecord, instance: Instance, end: End, slaveId: string): void {
  const { app, lastConfigChangeAt } = current(record);
  if (FAILURES.has(end.state)) noteFailure(record, instance, end, slaveId);
  // What a former definition does is nothing against the present one.
  if (BACKED_OFF.has(end.state) && !instance.killing && instance.version >= lastConfigChangeAt)
    record.backoff = afterFailure(record.backoff, app, Date.now());
}

/** A task is to end because a health check has failed too often. */
export function noteHealthKill(record: AppRecord, instance: Instance, why: string, slaveId: string): void {
  const message = `Task was killed since health check failed. Reason: ${why}`;
  noteFailure(record, instance, { state: "TASK_KILLED", message, timestamp: new Date().toISOString() }, slaveId);
}

function noteFailure(record: AppRecord, instance: Instance, { state, message, timestamp }: End, slaveId: string): void {
  const { agent: host = "", version } = instance;
  const appId = current(record).app.id;
  record.lastTaskFailure = { appId, host, message, slaveId, state, taskId: taskIdOf(instance), timestamp, version };
}
