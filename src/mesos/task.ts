/** What the framework asks of an agent, and what it is told: Mesos' terms (spec/marathon.md 3.7, 6.3, 7). Plain data. */
export interface TaskInfo {
  readonly taskId: string;
  readonly name: string;
  readonly frameworkId: string;
  /** One shell command, or a program with its arguments. */
  readonly command: { readonly shell: string } | { readonly argv: readonly string[] };
  readonly env: Readonly<Record<string, string>>;
  /** Whom it runs as; undefined: root, or whom the image says. */
  readonly user?: string;
  /** Files to be in the sandbox before it starts. */
  readonly fetch: readonly FetchedFile[];
  readonly resources: Resources;
  /** Host ports that the task was given. */
  readonly ports: readonly number[];
  readonly volumes: readonly MesosVolume[];
  /** Undefined: a MESOS container without an image. */
  readonly docker?: DockerInfo;
  /** Between SIGTERM and SIGKILL. */
  readonly killGraceSeconds: number;
  /** Looked after by the agent. */
  readonly healthCheck?: TaskHealthCheck;
  readonly labels: Readonly<Record<string, string>>;
}

/** A file for the sandbox (spec/marathon.md 7.3). */
export interface FetchedFile {
  /** A URL, or a path of the machine. */
  readonly uri: string;
  /** Unpack it if its name is an archive's. */
  readonly extract: boolean;
  readonly executable: boolean;
  /** Its name in the sandbox, when it is to have another one. */
  readonly destPath?: string;
}

/** A Mesos health check: the agent makes it, in the task's own context, and tells of it with the task's status. */
export interface TaskHealthCheck {
  readonly probe:
    | { readonly command: string }
    | { readonly port: number }
    | { readonly port: number; readonly path: string; readonly tls: boolean };
  readonly delaySeconds: number;
  readonly intervalSeconds: number;
  readonly timeoutSeconds: number;
  readonly gracePeriodSeconds: number;
  /** 0: the task is never killed for it. */
  readonly maxConsecutiveFailures: number;
}

export interface DockerInfo {
  readonly image: string;
  readonly forcePullImage: boolean;
  readonly privileged: boolean;
  /** "host", "bridge", "none", or the name of one of the engine's networks. */
  readonly network: string;
  readonly parameters: readonly { readonly key: string; readonly value: string }[];
  /** Ports of the machine that lead into a container with a network of its own. */
  readonly portMappings: readonly {
    readonly containerPort: number;
    readonly hostPort: number;
    readonly protocol: string;
  }[];
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
  /** What its health check has found, if it has one. */
  readonly healthy?: boolean;
  /** Of a container with a network of its own. */
  readonly addresses?: readonly string[];
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
  /** Where its volumes are mounted. */
  readonly volumesDir: string;
  readonly dvdcli: string;
  readonly executor: string;
  /** The faults that are on it now, as a list of FaultSpec; it need not be there. */
  readonly faultsFile: string;
  readonly mountTimeoutSeconds: number;
  readonly unmountTimeoutSeconds: number;
}
