import { randomBytes } from "node:crypto";
import { isTerminal, type TaskState } from "../../mesos/task.ts";
import type { AppDefinition } from "../definition/app.ts";

/** One instance of an application: what Marathon shows as a task (spec/marathon.md 6.3). Plain data, kept on disk. */
export interface Instance {
  readonly id: string;
  /** Rises when the instance is started again after it has failed. */
  attempt: number;
  /** Of the definition that it was started with. */
  version: string;
  /** undefined: nobody has offered to run it yet. */
  agent?: string;
  state: TaskState | "Scheduled";
  message: string;
  ports: readonly number[];
  /** Of its container's own network; undefined: it is on the agent's. */
  addresses?: readonly string[];
  readonly createdAt: string;
  stagedAt?: string;
  startedAt?: string;
  /** Somebody has asked for its end. */
  killing: boolean;
  /** Not to be started again when it has ended. */
  goal: "Running" | "Stopped";
  /** By the number of the health check in the definition. */
  health?: Readonly<Record<number, HealthResult>>;
  /** Its readiness check has succeeded once. */
  ready?: boolean;
  /** Since when its agent is lost. */
  unreachableSince?: string;
  /** How its last task ended, and where. */
  readonly former?: Pick<Instance, "agent" | "state">;
}

export interface HealthResult {
  readonly alive: boolean;
  readonly consecutiveFailures: number;
  readonly firstSuccess?: string;
  readonly lastSuccess?: string;
  readonly lastFailure?: string;
  readonly lastFailureCause?: string;
}

export const newInstance = (appId: string, version: string): Instance => ({
  id: `${appId.slice(1).replaceAll("/", "_")}.instance-${timeUuid()}`,
  attempt: 1,
  version,
  state: "Scheduled",
  message: "",
  ports: [],
  createdAt: new Date().toISOString(),
  killing: false,
  goal: "Running",
});

export const taskIdOf = ({ id, attempt }: Pick<Instance, "id" | "attempt">): string => `${id}._app.${attempt}`;

/**
 * An instance as tasks are shown: one that waits to be started again is the task that has ended, until it has a place
 * (spec/marathon.md 6.3). Undefined: it never had a task.
 */
export function taskOf(instance: Instance): Instance | undefined {
  const { state, former, attempt } = instance;
  if (state !== "Scheduled") return instance;
  return former && { ...instance, ...former, attempt: attempt - 1 };
}

/** All agents are this machine. */
const AGENTS_ADDRESS = "127.0.0.1";

/** Where it is reached, as tasks and events show it (spec/marathon.md 7.3). */
export const ipAddressesOf = ({ addresses = [AGENTS_ADDRESS] }: Pick<Instance, "addresses">) =>
  addresses.map((ipAddress) => ({ ipAddress, protocol: "IPv4" }));

/** Whether something of it may run. */
export const isLive = ({ state }: Instance): boolean => state !== "Scheduled" && !isTerminal(state);
export const isEnded = ({ state }: Instance): boolean => state !== "Scheduled" && isTerminal(state);
export const isRunning = ({ state }: Instance): boolean => state === "TASK_RUNNING";

/** Every health check that the application has was last a success. */
export const isHealthy = ({ health }: Instance, { healthChecks }: Pick<AppDefinition, "healthChecks">): boolean =>
  healthChecks.every((_check, index) => health?.[index]?.alive === true);

/** Whether it counts as working: one without health checks does whatever its state is (spec/marathon.md 6.4). */
export const isWell = (instance: Instance, app: Pick<AppDefinition, "healthChecks">): boolean =>
  isLive(instance) && isHealthy(instance, app);

/** Running, healthy and ready, as far as the application has checks: what a deployment waits for. */
export const isReady = (instance: Instance, app: Pick<AppDefinition, "healthChecks" | "readinessChecks">): boolean =>
  isRunning(instance) && isHealthy(instance, app) && (app.readinessChecks.length === 0 || instance.ready === true);

/** Version 1, as Marathon's: it begins with the time. */
function timeUuid(): string {
  const ticks = BigInt(Date.now()) * 10_000n + 0x01b21dd213814000n;
  const hex = ticks.toString(16).padStart(16, "0");
  const rest = randomBytes(8);
  rest[0] = ((rest[0] as number) & 0x3f) | 0x80;
  const tail = rest.toString("hex");
  return `${hex.slice(8)}-${hex.slice(4, 8)}-1${hex.slice(1, 4)}-${tail.slice(0, 4)}-${tail.slice(4)}`;
}
