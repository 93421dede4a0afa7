import type { Agents } from "../../mesos/master/agents.ts";
import { isTerminal, type TaskStatus } from "../../mesos/task.ts";
import type { HealthCheck } from "../definition/app.ts";
import type { Events } from "./events.ts";
import { type Instance, ipAddressesOf, taskIdOf } from "./instance.ts";

/** More than all agents together remember. */
const MOST_ENDED = 100_000;

/** What the stream says of tasks and instances (spec/marathon.md 6.6). */
export class TaskEvents {
  readonly #events: Events;
  readonly #agents: Pick<Agents, "list">;
  /** Tasks whose end has been told of: agents tell it again after every start of theirs. */
  readonly #ended = new Set<string>();
  readonly #startedAt = new Date().toISOString();

  constructor(events: Events, agents: Pick<Agents, "list">) {
    this.#events = events;
    this.#agents = agents;
  }

  agentId(name: string | undefined): string {
    return this.#agents.list().find((agent) => agent.name === name)?.id ?? "";
  }

  /** A condition that is no task's state. */
  condition(appId: string, instance: Instance, condition: "Provisioned" | "UnreachableInactive"): void {
    this.#changed(appId, instance, condition);
  }

  status(appId: string, instance: Instance, { taskId, state, message }: TaskStatus): void {
    if (isTerminal(state)) this.#noteEnd(taskId);
    this.#events.emit("status_update_event", {
      slaveId: this.agentId(instance.agent),
      taskId,
      taskStatus: state,
      message,
      appId,
      host: instance.agent,
      ipAddresses: ipAddressesOf(instance),
      ports: instance.ports,
      version: instance.version,
    });
    this.#changed(appId, instance, conditionOf(state));
  }

  healthCheckFailed(appId: string, instance: Instance, healthCheck: HealthCheck): void {
    this.#events.emit("failed_health_check_event", { appId, taskId: instance.id, healthCheck });
  }

  healthChanged(appId: string, { id: instanceId, version }: Instance, alive: boolean): void {
    this.#events.emit("health_status_changed_event", { appId, instanceId, version, alive });
    const more = { runSpecId: appId, runSpecVersion: version, healthy: alive };
    this.#events.emit("instance_health_changed_event", { instanceId, ...more });
  }

  killedUnhealthy(appId: string, instance: Instance, reason: string): void {
    const { id: instanceId, version, agent: host } = instance;
    const slaveId = this.agentId(host);
    const taskId = taskIdOf(instance);
    this.#events.emit("unhealthy_instance_kill_event", { appId, taskId, instanceId, version, reason, host, slaveId });
  }

  /** One that was replaced while its agent was away has ended: only its task's id is known. */
  unknownEnded({ taskId, state, timestamp }: TaskStatus): void {
    if (this.#ended.has(taskId) || timestamp < this.#startedAt) return;
    this.#noteEnd(taskId);
    const instanceId = taskId.replace(/\._app\.\d+$/, "");
    const runSpecId = `/${instanceId.replace(/\.instance-.*$/, "").replaceAll("_", "/")}`;
    this.#events.emit("unknown_instance_terminated_event", { instanceId, runSpecId, condition: conditionOf(state) });
  }

  appEnded(appId: string): void {
    this.#events.emit("app_terminated_event", { appId });
  }

  #noteEnd(taskId: string): void {
    this.#ended.add(taskId);
    const [oldest] = this.#ended;
    if (this.#ended.size > MOST_ENDED) this.#ended.delete(oldest as string);
  }

  #changed(appId: string, instance: Instance, condition: string): void {
    this.#events.emit("instance_changed_event", {
      instanceId: instance.id,
      condition,
      runSpecId: appId,
      agentId: this.agentId(instance.agent),
      host: instance.agent,
      runSpecVersion: instance.version,
    });
  }
}

/** Of a task's state, the word for it in events: "Running". */
function conditionOf(state: TaskStatus["state"]): string {
  const word = state.slice("TASK_".length).toLowerCase();
  return word.charAt(0).toUpperCase() + word.slice(1);
}
