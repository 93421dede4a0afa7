import fs from "node:fs";
import path from "node:path";
import { kill } from "../../lib/kill.ts";
import { type ProcessId, stillRuns } from "../../lib/process-id.ts";
import { forgetContainer } from "./cgroups.ts";

/*
 * What is on disk of the containers of a simulated host, and what can be done by it: the agent's process need not live.
 */

/** The files of one container beside its sandbox. */
export const containerFiles = (meta: string) => ({
  binds: path.join(meta, "binds"),
  cgroups: path.join(meta, "cgroups"),
  executor: path.join(meta, "executor.json"),
  started: path.join(meta, "started"),
  unshare: path.join(meta, "unshare.pid"),
  exit: path.join(meta, "exit"),
});

/** Where an agent writes down which volumes its containers have. */
export const checkpointsOf = (workDir: string): string => path.join(workDir, "isolators/docker/volume");

/** Whether volumes of containers were not given back: that is the first thing that the agent's next process does. */
export const holdsVolumes = (workDir: string): boolean => {
  const dir = checkpointsOf(workDir);
  return fs.existsSync(dir) && fs.readdirSync(dir).length > 0;
};

/** Status of a task without one: its executor was killed. */
export const NO_STATUS = -1;

/** As the executor has written it down. */
export function exitStatus(meta: string): number {
  try {
    return Number(fs.readFileSync(containerFiles(meta).exit, "utf8"));
  } catch {
    return NO_STATUS;
  }
}

/** Whether its executor lives, and so the task. */
export function runs(meta: string): boolean {
  try {
    return stillRuns(JSON.parse(fs.readFileSync(containerFiles(meta).executor, "utf8")) as ProcessId) === true;
  } catch {
    return false;
  }
}

/** The first process in the task's namespace, as seen from here. */
export function initOf(meta: string): number | undefined {
  const unshare = runs(meta) ? unshareOf(meta) : undefined;
  if (unshare === undefined) return undefined;
  try {
    const children = fs.readFileSync(`/proc/${unshare}/task/${unshare}/children`, "utf8").trim();
    return children === "" ? undefined : Number(children.split(" ")[0]);
  } catch {
    return undefined;
  }
}

/** Kills everything that a lost host ran; `metaDir` holds the containers' meta directories. */
export function killContainers(metaDir: string): void {
  for (const id of containersIn(metaDir)) {
    const meta = path.join(metaDir, id);
    // The executor first: it must not start what is killed before it is there.
    if (runs(meta)) kill(executorOf(meta), "SIGKILL");
    const unshare = unshareOf(meta);
    // The namespace of the task dies with the process that made it.
    if (unshare !== undefined) kill(unshare, "SIGKILL");
  }
}

/** Removes the cgroups of containers; answers whether none is left. */
export const removeGroups = (metaDir: string): boolean =>
  containersIn(metaDir)
    .map((id) => forgetContainer(id))
    .every(Boolean);

const containersIn = (metaDir: string) => (fs.existsSync(metaDir) ? fs.readdirSync(metaDir) : []);

const executorOf = (meta: string) =>
  (JSON.parse(fs.readFileSync(containerFiles(meta).executor, "utf8")) as ProcessId).pid;

/** The process that has made the task's namespaces, as long as it lives: it says whose it is. */
function unshareOf(meta: string): number | undefined {
  try {
    const pid = Number(fs.readFileSync(containerFiles(meta).unshare, "utf8"));
    return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(meta) ? pid : undefined;
  } catch {
    return undefined;
  }
}
