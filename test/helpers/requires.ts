import { spawnSync } from "node:child_process";
import fs from "node:fs";

/**
 * What a test needs of the machine. Each answers false when it is there and the reason for skipping when it is not, for
 * tap's `skip` option: `t.test("…", { skip: requiresRoot() || requiresFuse() }, …)`.
 */
export type Requirement = string | false;

/** Mounts, loop devices, namespaces. */
export const requiresRoot = (): Requirement => process.geteuid?.() !== 0 && "needs root";

/** The FUSE device with the right to mount, and loop devices. */
export function requiresFuse(): Requirement {
  if (requiresRoot()) return requiresRoot();
  const missing = ["/dev/fuse", "/dev/loop-control"].find((device) => !fs.existsSync(device));
  if (missing !== undefined) return `needs ${missing}`;
  const allowed = spawnSync("unshare", ["--mount", "true"]).status === 0;
  return !allowed && "needs the right to mount (CAP_SYS_ADMIN)";
}

/** Programs that must be on the search path. */
export function requiresTools(...names: readonly string[]): Requirement {
  const dirs = (process.env["PATH"] ?? "").split(":");
  const missing = names.filter((name) => !dirs.some((dir) => fs.existsSync(`${dir}/${name}`)));
  return missing.length > 0 && `needs ${missing.join(", ")}`;
}

/** A Docker engine that can be started privately, and a busybox to make its image from. */
export function requiresDocker(): Requirement {
  return requiresFuse() || requiresTools("dockerd", "docker", "containerd", "runc", "busybox");
}
