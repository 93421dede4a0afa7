import path from "node:path";
import { realPath } from "./real-path.ts";

/** Where an instance keeps its things. Absolute paths; two instances that share none of them do not meet. */
export interface Dirs {
  /** What outlives a reboot: the cluster's metadata and data, the volume service's records, the mount points. */
  readonly stateDir: string;
  /** What a reboot may take: sockets, daemon.json, the block files of attached volumes. */
  readonly runDir: string;
  /** Where the plugin sockets appear. Docker looks in its own {@link DOCKER_PLUGIN_DIR} only. */
  readonly pluginDir: string;
  /** The configuration file. */
  readonly configFile: string;
  /** Whether somebody asked for that very file; the default one may be absent. */
  readonly configRequired: boolean;
  /** Where the names of the volumes are kept besides; a managed plugin has such places. */
  readonly namesDirs?: readonly string[];
}

/** The flags of the command line; what is not given comes from the environment, then from the defaults. */
export interface DirFlags {
  readonly stateDir?: string | undefined;
  readonly runDir?: string | undefined;
  readonly pluginDir?: string | undefined;
  readonly config?: string | undefined;
}

/** The first place where a Docker engine looks for plugin sockets (docker-volume-plugin.md 6). */
export const DOCKER_PLUGIN_DIR = "/run/docker/plugins";

/** Flags, then REXRAY_SIM_STATE_DIR, _RUN_DIR, _PLUGIN_DIR and _CONFIG, then the defaults. An empty value counts as none. */
export function resolveDirs(flags: DirFlags, env: NodeJS.ProcessEnv): Dirs {
  const stateDir = realPath(path.resolve(flags.stateDir || env["REXRAY_SIM_STATE_DIR"] || "/var/lib/rexray-sim"));
  const config = flags.config || env["REXRAY_SIM_CONFIG"];
  return {
    stateDir,
    runDir: realPath(path.resolve(flags.runDir || env["REXRAY_SIM_RUN_DIR"] || "/run/rexray-sim")),
    pluginDir: path.resolve(flags.pluginDir || env["REXRAY_SIM_PLUGIN_DIR"] || DOCKER_PLUGIN_DIR),
    configFile: config ? path.resolve(config) : path.join(stateDir, "config.yml"),
    configRequired: Boolean(config),
  };
}

/** The files that the daemon and the command line meet at, below a run directory. */
export const runFiles = (runDir: string) => ({
  adminSocket: path.join(runDir, "admin.sock"),
  record: path.join(runDir, "daemon.json"),
  log: path.join(runDir, "daemon.log"),
});
