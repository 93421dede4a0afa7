/** What the framework asks of an agent, and what it is told: Mesos' terms (spec/marathon.md 3.7, 6.3, 7). Plain data. */
export interface TaskInfo {
  readonly taskId: string;
  readonly name: string;
  readonly frameworkId: string;
  /** One shell command, or a program with its arguments. */
  readonly command: { readonly shell: string } | { readonly argv: readonly string[] };
  readonly env: Readonly<Record<string, string>>;
  readonly resources: Resources;
  /** Host ports that the task was given. */
  readonly ports: readonly number[];
  readonly volumes: readonly MesosVolume[];
  /** Undefined: a MESOS container without an image. */
  readonly docker?: DockerInfo;
  /** Between SIGTERM and SIGKILL. */
  readonly killGraceSeconds: number;
  readonly labels: Readonly<Record<string, string>>;
}

export interface DockerInfo {
  readonly image: string;
  readonly forcePullImage: boolean;
  readonly privileged: boolean;
  readonly network: "host" | "bridge" | "none";
  readonly parameters: readonly { readonly key: string; readonly value: string }[];
}

export interface Resources {
  readonly cpus: number;
  /** MiB. */
  readonly mem: number;
  readonly disk: number;
}

export interface MesosVolume {
  readonly containerPath: string;
  readonly mode: "RW" | "RO";
  readonly source:
    | { readonly driver: string; readonly name: string; readonly options: Readonly<Record<string, string>> }
    | { readonly hostPath: string };
}

export type TaskState =
  | "TASK_STAGING"
  | "TASK_STARTING"
  | "TASK_RUNNING"
  | "TASK_KILLING"
  | "TASK_FINISHED"
  | "TASK_FAILED"
  | "TASK_KILLED"
  | "TASK_ERROR"
  | "TASK_LOST"
  | "TASK_UNREACHABLE"
  | "TASK_GONE";

const ENDED: readonly TaskState[] = [
  "TASK_FINISHED",
  "TASK_FAILED",
  "TASK_KILLED",
  "TASK_ERROR",
  "TASK_LOST",
  "TASK_GONE",
];
export const isTerminal = (state: TaskState): boolean => ENDED.includes(state);

export interface TaskStatus {
  readonly taskId: string;
  readonly state: TaskState;
  readonly message: string;
  readonly reason?: string;
  /** RFC 3339. */
  readonly timestamp: string;
}

/** A task as its agent knows it. */
export interface AgentTask {
  readonly info: TaskInfo;
  readonly status: TaskStatus;
  readonly containerId: string;
  /** Its sandbox. */
  readonly directory: string;
}

/** How an agent is made; the daemon writes it where the agent process reads it. */
export interface AgentConfig {
  readonly name: string;
  readonly id: string;
  readonly workDir: string;
  readonly socket: string;
  /** What dvdcli sees as /run/docker/plugins. */
  readonly pluginDir: string;
  readonly dvdcli: string;
  readonly executor: string;
  readonly mountTimeoutSeconds: number;
  readonly unmountTimeoutSeconds: number;
}
