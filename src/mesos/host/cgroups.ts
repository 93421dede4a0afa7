import fs from "node:fs";
import path from "node:path";
import type { Resources } from "../task.ts";

const ROOT = "/sys/fs/cgroup";
const OURS = "rexray-sim";
const MIB = 1024 * 1024;
/** Less than this no shell starts with (MiB). */
const LEAST_MEMORY = 6;

/**
 * Limits of MESOS containers through cgroups, where there are any: memory is a limit, cpus are shares, as Mesos has them by
 * default. Version 1 has a directory for each controller, version 2 one for all.
 *
 * Answers the files that a process joins the groups by; none when nothing can be limited here.
 *
 * @param root where cgroups are mounted
 */
export function limitContainer(containerId: string, { cpus, mem }: Resources, root = ROOT): string[] {
  const memory = String(Math.max(LEAST_MEMORY, Math.round(mem)) * MIB);
  const shares = Math.max(2, Math.round(cpus * 1024));
  if (fs.existsSync(`${root}/cgroup.controllers`)) {
    // 1024 shares are a weight of 100.
    const weight = String(Math.min(10_000, Math.max(1, Math.round((shares * 100) / 1024))));
    return group(`${root}/${OURS}`, containerId, { "memory.max": memory, "cpu.weight": weight }, true);
  }
  return [
    ...group(`${root}/memory/${OURS}`, containerId, { "memory.limit_in_bytes": memory }, false),
    ...group(`${root}/cpu/${OURS}`, containerId, { "cpu.shares": String(shares) }, false),
  ];
}

/** When all its processes are dead. Answers whether nothing of it is left: what still ends keeps its groups. */
export function forgetContainer(containerId: string, root = ROOT): boolean {
  const parents = [`${root}/${OURS}`, `${root}/memory/${OURS}`, `${root}/cpu/${OURS}`];
  for (const parent of parents) removeGroup(parent, containerId);
  return parents.every((parent) => !fs.existsSync(path.join(parent, containerId)));
}

function removeGroup(parent: string, name: string): void {
  // The last one takes the parent with it.
  for (const dir of [path.join(parent, name), parent])
    try {
      fs.rmdirSync(dir);
    } catch {
      // Not there, or others are in it.
    }
}

function group(parent: string, name: string, settings: Readonly<Record<string, string>>, unified: boolean): string[] {
  if (!fs.existsSync(path.dirname(parent))) return [];
  const dir = path.join(parent, name);
  try {
    fs.mkdirSync(parent, { recursive: true });
    if (unified)
      for (const above of [path.dirname(parent), parent])
        fs.writeFileSync(path.join(above, "cgroup.subtree_control"), "+memory +cpu");
    fs.mkdirSync(dir);
    for (const [key, value] of Object.entries(settings)) fs.writeFileSync(path.join(dir, key), value);
    return [path.join(dir, "cgroup.procs")];
  } catch {
    // A container of somebody else's, where cgroups are not ours to make: resources are counted only.
    removeGroup(parent, name);
    return [];
  }
}
