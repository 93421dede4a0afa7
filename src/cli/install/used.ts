import fs from "node:fs";
import path from "node:path";
import { leftoversOf } from "../../host/leftovers.ts";
import { mountsOf } from "../../host/mountinfo.ts";
import { readRecord } from "../../lib/daemon-record.ts";
import { runFiles } from "../../lib/dirs.ts";
import { SimError } from "../../lib/errors.ts";
import { isLiveSocket } from "../../lib/live-socket.ts";
import { type ProcessId, stillRuns } from "../../lib/process-id.ts";

/** Throws in_use when a daemon has one of the directories, a volume is served, or anything at all is mounted there. */
export async function refuseWhileUsed({ stateDir, runDir }: { stateDir: string; runDir: string }): Promise<void> {
  const remedy = `stop it with \`systemctl disable --now rexray-sim.socket\`, if systemd runs it, and \`rexray-sim down --run-dir ${runDir}\``;
  for (const daemon of [await readRecord(runDir), holderOf(stateDir)]) {
    if (daemon === undefined || stillRuns(daemon) !== true) continue;
    throw new SimError("in_use", `an instance runs as process ${daemon.pid}: ${remedy}`);
  }
  if (isHeld(stateDir)) throw new SimError("in_use", `an instance has the state directory ${stateDir}: ${remedy}`);
  if (await isLiveSocket(runFiles(runDir).adminSocket))
    throw new SimError("in_use", `an instance runs with run directory ${runDir}: ${remedy}`);
  const { mounts, processes } = await leftoversOf(runDir);
  const below = mountsOf(({ mountpoint }) => mountpoint.startsWith(`${stateDir}/`)).map((mount) => mount.mountpoint);
  const [mounted] = [...below, ...mounts];
  if (mounted !== undefined) throw new SimError("in_use", `${mounted} is mounted: ${remedy}`);
  const [process] = processes;
  if (process !== undefined)
    throw new SimError("in_use", `process ${process.pid} (${process.command}) runs: ${remedy}`);
}

/** How long after its last sign of life, one a second, the daemon of another container counts as running (ms). */
const ALIVE = 5_000;

/** Whether the directory's lock is fresh: all there is to go by when its holder's number says nothing here. */
function isHeld(dir: string): boolean {
  const holder = holderOf(dir);
  if (holder !== undefined && stillRuns(holder) === false) return false;
  const lock = fs.statSync(path.join(dir, "daemon.lock"), { throwIfNoEntry: false });
  return lock !== undefined && Date.now() - lock.mtimeMs < ALIVE;
}

/** Who has locked a directory (daemon/lock.ts); undefined: nobody, or somebody who died while he did. */
function holderOf(dir: string): ProcessId | undefined {
  try {
    return JSON.parse(fs.readFileSync(path.join(dir, "daemon.holder"), "utf8")) as ProcessId;
  } catch {
    return undefined;
  }
}
