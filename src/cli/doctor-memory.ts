import fs from "node:fs";
import { readRecord } from "../lib/daemon-record.ts";
import type { Dirs } from "../lib/dirs.ts";
import { stillRuns } from "../lib/process-id.ts";
import { type Finding, ok, warning } from "./finding.ts";
import { bytes } from "./text.ts";

/** Version 1 of cgroups says "no limit" by the largest number of pages. */
const UNLIMITED = 2 ** 60;

/** Where the kernel says what groups there are, and in which a process is. */
export interface CgroupPlaces {
  readonly root: string;
  /** /proc/PID/cgroup of the daemon, or of whoever will start it. */
  readonly own: string;
}

/** Whether memory limits do what they are for, and no harm. */
export async function memoryChecks({ runDir }: Pick<Dirs, "runDir">): Promise<Finding[]> {
  const record = await readRecord(runDir);
  const pid = record !== undefined && stillRuns(record) === true ? record.pid : "self";
  return memoryFindings({ root: "/sys/fs/cgroup", own: `/proc/${pid}/cgroup` });
}

export const memoryFindings = (places: CgroupPlaces): Finding[] => [taskLimits(places), engineLimit(places)];

/** Agents make a group for each MESOS container where they can (mesos/host/cgroups.ts). */
function taskLimits({ root }: CgroupPlaces): Finding {
  const parents = fs.existsSync(`${root}/cgroup.controllers`) ? [root] : [`${root}/memory`, `${root}/cpu`];
  const closed = parents.filter((parent) => !isWritable(parent));
  if (closed.length === 0) return ok("cgroups", `${parents.join(" and ")} can be written: tasks are held to their mem`);
  return warning(
    "cgroups",
    `${closed.join(" and ")} cannot be written: what tasks may take of memory and processors is counted only`,
    `mount cgroups where they can be written; in a container: \`-v ${root}:${root}\``,
  );
}

/**
 * With version 1 an engine has to leave a group that limits it (sdc-supervisor.sh). In a container of its own it sees its own
 * group in the root's place, and leads nowhere.
 */
function engineLimit({ root, own }: CgroupPlaces): Finding {
  const top = `${root}/memory`;
  if (!fs.existsSync(`${top}/memory.stat`)) return ok("memory", "no limit of version 1 of cgroups");
  const name = /^\d+:memory:(.*)$/m.exec(read(own))?.[1] ?? "/";
  const group = fs.existsSync(`${top}${name}/memory.stat`) ? `${top}${name}` : top;
  const limit = limitOf(group);
  if (limit >= UNLIMITED) return ok("memory", "no limit");
  if (limitOf(top) >= UNLIMITED && isWritable(`${top}/cgroup.procs`))
    return ok("memory", `${bytes(limit)}, which engines leave`);
  return warning(
    "memory",
    `limited to ${bytes(limit)}, which engines cannot leave by ${top}/cgroup.procs: one that waits for memory may wait for itself`,
    `let it have the machine's groups (in a container: \`-v ${root}:${root}\`), or take the limit away`,
  );
}

/** Of a group and all above it. */
const limitOf = (group: string) =>
  Number(/^hierarchical_memory_limit (\d+)$/m.exec(read(`${group}/memory.stat`))?.[1] ?? UNLIMITED);

function read(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

/** Also for root, whom modes do not keep out, while a file system that is mounted to be read only does. */
function isWritable(file: string): boolean {
  try {
    fs.accessSync(file, fs.constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
