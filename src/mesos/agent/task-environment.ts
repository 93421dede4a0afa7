import type { AgentConfig, AgentTask } from "../task.ts";

/** What a task finds in its environment from Mesos and its executor (spec/marathon.md 7.2); its own comes on top. */
export function environmentOf(
  { info, directory, containerId }: Pick<AgentTask, "info" | "directory" | "containerId">,
  { id, name }: Pick<AgentConfig, "id" | "name">,
): Record<string, string> {
  return {
    MESOS_SANDBOX: directory,
    MESOS_DIRECTORY: directory,
    MESOS_TASK_ID: info.taskId,
    MESOS_EXECUTOR_ID: info.taskId,
    MESOS_CONTAINER_ID: containerId,
    MESOS_FRAMEWORK_ID: info.frameworkId,
    MESOS_SLAVE_ID: id,
    MESOS_SLAVE_PID: `slave(1)@${name}:5051`,
    MESOS_AGENT_ENDPOINT: `${name}:5051`,
    MESOS_CHECKPOINT: "1",
    LIBPROCESS_PORT: "0",
    ...info.env,
  };
}
