import { NO_STATUS } from "../host/container-files.ts";
import type { TaskInfo, TaskState, TaskStatus } from "../task.ts";

/** Messages of spec/marathon.md 7.1. */
export function outcome(
  { killed, info }: { readonly killed: boolean; readonly info: TaskInfo },
  exit: number,
): Pick<TaskStatus, "state" | "message"> {
  const message =
    exit === NO_STATUS
      ? "Executor terminated"
      : exit > 128
        ? `Command terminated with signal ${SIGNALS[exit - 128] ?? exit - 128}`
        : `${info.docker === undefined ? "Command" : "Container"} exited with status ${exit}`;
  if (killed) return { state: "TASK_KILLED", message };
  return { state: exit === 0 ? "TASK_FINISHED" : "TASK_FAILED", message };
}

const SIGNALS: Readonly<Record<number, string>> = {
  6: "Aborted",
  9: "Killed",
  11: "Segmentation fault",
  15: "Terminated",
};

/** As of now. */
export const statusOf = (taskId: string, state: TaskState, message: string): TaskStatus => ({
  taskId,
  state,
  message,
  timestamp: new Date().toISOString(),
});
