import fs from "node:fs";
import { SimError } from "../lib/errors.ts";
import { listeners } from "../lib/live-socket.ts";

/** The first descriptor that systemd hands over (sd_listen_fds(3)). */
const FIRST = 3;

/**
 * The sockets that systemd listens at for this process (a `.socket` unit): their paths, with their descriptors. Takes the
 * environment variables away that say so, as no child is meant. Throws invalid_argument when one is no plugin's socket.
 */
export function lentSockets(env: NodeJS.ProcessEnv): ReadonlyMap<string, number> {
  const { LISTEN_PID: pid, LISTEN_FDS: count } = env;
  // Variables that a parent was given and did not take away are not for us.
  if (Number(pid) !== process.pid) return new Map();
  for (const name of ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]) delete env[name];
  // Node itself cannot say where an inherited socket is bound.
  const paths = listeners();
  const lent = new Map<string, number>();
  for (let fd = FIRST; fd < FIRST + Number(count); fd++) {
    // "socket:[INODE]"
    const file = paths.get(fs.readlinkSync(`/proc/self/fd/${fd}`).replace(/^socket:\[(\d+)\]$/, "$1"));
    if (file === undefined || !/^\/.*\.sock$/.test(file)) {
      throw new SimError(
        "invalid_argument",
        `systemd has handed over ${file ?? `descriptor ${fd}`}, which is no plugin's socket: a .socket unit for this program has only lines like ListenStream=/run/docker/plugins/NAME.sock`,
      );
    }
    lent.set(file, fd);
  }
  return lent;
}
