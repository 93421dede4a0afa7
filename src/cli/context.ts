import type { DownReport, StatusReport } from "../admin/report.ts";
import type { Dirs } from "../lib/dirs.ts";

/** What a command works with, instead of the process's globals. */
export interface Context {
  readonly env: NodeJS.ProcessEnv;
  /** Data: to standard output. */
  readonly out: (text: string) => void;
  /** Messages: to standard error. */
  readonly err: (text: string) => void;
  /** Whether standard output is a terminal that wants colour. */
  readonly color: boolean;
  /** The daemon, which the command line starts but does not know. */
  readonly daemon: DaemonAccess;
}

/** How the command line starts a daemon in its own process. */
export interface DaemonAccess {
  start: StartDaemon;
  /** Has the sockets of a managed plugin there before its daemon: callers wait until it has started, or is known not to. */
  listen(dirs: Dirs): Promise<EarlySockets>;
  /** Cleans up after a dead daemon. Throws in_use when it is alive. */
  sweep(options: { dirs: Dirs; force: boolean }): Promise<DownReport>;
}

/** @param options.pluginNames undefined: those of the configuration, or the usual ones */
type StartDaemon = (options: { dirs: Dirs; pluginNames: readonly string[] | undefined }) => Promise<RunningDaemon>;

/** The sockets of a plugin that has no daemon yet. */
export interface EarlySockets {
  /** The daemon that serves them. */
  start: StartDaemon;
  /** There is none, because of this error: callers are told so. */
  refuse(error: unknown): Promise<unknown>;
}

export interface RunningDaemon {
  readonly warnings: readonly string[];
  readonly ended: Promise<void>;
  report(): Promise<StatusReport>;
  stop(options: { unmount: boolean; force: boolean }): Promise<DownReport>;
}

/** Exit statuses, for scripts. */
export const EXIT = {
  ok: 0,
  failed: 1,
  /** The command line itself is wrong. */
  usage: 2,
  /** No daemon runs with the run directory. */
  noDaemon: 3,
  /** A defect of this program. */
  internal: 70,
} as const;
