import type { RemainingVolume } from "../admin/report.ts";
import type { Dirs } from "../lib/dirs.ts";
import type { Log } from "../lib/log.ts";
import type { AppOverview } from "../marathon/overview.ts";
import type { AgentsApi } from "../mesos/agents-api.ts";
import type { ClusterApi } from "../scaleio/cluster-api.ts";
import type { VolumeService } from "../volumes/service.ts";
import type { EarlySockets } from "./early-sockets.ts";

/** What the daemon is made of, as far as starting and stopping it is concerned. */
export interface Parts {
  readonly cluster: ClusterApi;
  readonly volumes: VolumeService & {
    /** Unmounts what nobody holds (with `force`: everything), and names what it had to leave. */
    shutdown(options: { force: boolean }): Promise<readonly RemainingVolume[]>;
  };
  /** What the configuration has that its writer should look at; one sentence each. */
  readonly warnings: readonly string[];
  /** Volume driver names that the configuration asks for. */
  readonly pluginNames: readonly string[] | undefined;
  /** Paths of plugin sockets that are there already, systemd's or our own: callers may be waiting at them. */
  readonly awaitedSockets?: readonly string[];
  /** Serves the volumes to Docker at DIR/NAME.sock. Throws in_use when a live plugin has the name. */
  servePlugin(options: { dir: string; name: string }): Promise<PluginSocket>;
  /** Undefined: there are no agents. */
  readonly framework?: FrameworkPart | undefined;
  /** Ends what former daemons have left of agents: of all, or of those that the configuration has no more. */
  endFormerAgents(which: "all" | "unconfigured"): Promise<void>;
  /** Stops looking after cluster and volumes; mounted volumes stay mounted and served. */
  close(): Promise<void>;
}

/** Agents and Marathon. */
export interface FrameworkPart {
  readonly agents: AgentsApi;
  apps(): readonly AppOverview[];
  /** Of what is served, with its name; after {@link start}. */
  readonly addresses: readonly string[];
  /** Answers warnings. */
  start(): Promise<readonly string[]>;
  /** `drain`: tasks and agents end; else they go on, for the next daemon to find. */
  close(options: { drain: boolean }): Promise<void>;
}

export interface PluginSocket {
  readonly path: string;
  /** Whether systemd listens at it, before us and after us. */
  readonly lent: boolean;
  close(): Promise<void>;
}

/** Reads the configuration and opens the parts on the directories, which the caller holds. */
export type OpenParts = (options: {
  dirs: Dirs;
  env: NodeJS.ProcessEnv;
  log: Log;
  early?: EarlySockets | undefined;
}) => Promise<Parts>;
