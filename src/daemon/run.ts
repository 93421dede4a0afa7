import type { DownReport } from "../admin/report.ts";
import type { Dirs } from "../lib/dirs.ts";
import { createLog, type Log } from "../lib/log.ts";
import { Daemon } from "./daemon.ts";
import { EarlySockets } from "./early-sockets.ts";
import { openParts } from "./open-parts.ts";
import { sweep } from "./sweep.ts";

/** Exit status after a defect of this program (sysexits' EX_SOFTWARE). */
const EXIT_DEFECT = 70;
/** Until the configuration says otherwise. */
const LEVEL = "info";

interface StartOptions {
  readonly dirs: Dirs;
  readonly pluginNames: readonly string[] | undefined;
  readonly early?: EarlySockets;
}

/** Starts the daemon in this process, which belongs to it from now on. Throws what Daemon.start throws. */
export async function startDaemon({ dirs, pluginNames, early }: StartOptions): Promise<Daemon> {
  ownModes();
  const log = createLog({ level: LEVEL });
  let daemon: Daemon | undefined;
  const die = dieOf(log, () => daemon?.removeSockets());
  daemon = await Daemon.start({ dirs, pluginNames, env: process.env, log, openParts, early, lost: die });
  return daemon;
}

/** Has the sockets of a managed plugin there before its daemon. */
export async function listenEarly(dirs: Dirs) {
  ownModes();
  const early = await EarlySockets.listen(dirs);
  return {
    start: (options: StartOptions) => startDaemon({ ...options, early }),
    refuse: (error: unknown) => early.refuse(error),
  };
}

/** Cleans up after a dead daemon. Throws in_use when it is alive, and what opening its parts throws. */
export function sweepDaemon({ dirs, force }: { dirs: Dirs; force: boolean }): Promise<DownReport> {
  ownModes();
  const log = createLog({ level: LEVEL });
  return sweep({ dirs, force, env: process.env, log, openParts, lost: dieOf(log, () => {}) });
}

/**
 * Files and sockets have the modes that we give them, whatever umask our user has: one of 0 would let everybody connect to a
 * socket in the moment before its mode is set, one of 077 would keep tasks' users out of their sandboxes.
 */
function ownModes(): void {
  process.umask(0o022);
}

/**
 * After a defect nobody knows what state things are in, so the process goes, at once: what it had mounted is served by
 * others, and a successor finds everything on disk. Callers must not wait at sockets that nobody answers.
 */
function dieOf(log: Log, removeSockets: () => void): (error: Error) => void {
  const die = (error: Error) => {
    log.fatal({ err: error }, "cannot go on");
    removeSockets();
    process.exit(EXIT_DEFECT);
  };
  // Rejections that nobody handles arrive here too.
  process.on("uncaughtException", die);
  return die;
}
