/** What users may do to the agents (`rexray-sim agent …`). */
export interface AgentsApi {
  list(): readonly AgentStatus[];
  /** Graceful: tasks end, volumes are given back. Throws not_found, and unavailable when it is lost or unreachable. */
  stop(agent: string): Promise<void>;
  /** The host is lost with all that ran on it. Throws not_found. */
  lose(agent: string): Promise<void>;
  /** Throws not_found. */
  restart(agent: string): Promise<void>;
}

/**
 * running: its process is kept alive. stopped: it left in order. lost: its host is gone. unreachable: it is not heard, what
 * it runs may run on.
 */
export type AgentState = "running" | "stopped" | "lost" | "unreachable";

export interface AgentStatus {
  readonly name: string;
  readonly id: string;
  readonly state: AgentState;
  /** RFC 3339. */
  readonly since: string;
  readonly pid: number | null;
  /** Whether it can run DOCKER containers: the machine's engine answers. */
  readonly docker: boolean;
  readonly attributes: Readonly<Record<string, string>>;
  /** cpus; MiB of memory and disk. */
  readonly resources: { readonly cpus: number; readonly mem: number; readonly disk: number };
}
