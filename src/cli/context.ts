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
  /** @param options.pluginNames undefined: those of the configuration, or the usual ones */
  start(options: { dirs: Dirs; pluginNames: readonly string[] | undefined }): Promise<RunningDaemon>;
  /** Answers every call of Docker with this error. */
  refuse(dirs: Dirs, error: unknown): Promise<void>;
  /** Cleans up after a dead daemon. Throws in_use when it is alive. */
  sweep(options: { dirs: Dirs; force: boolean }): Promise<DownReport>;
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
