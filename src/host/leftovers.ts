import { readdir, readFile, readlink } from "node:fs/promises";
import path from "node:path";
import { loops } from "./loop.ts";
import { mountsOf } from "./mountinfo.ts";

/** What the kernel has of an instance: its attached volumes, whether or not a daemon runs. */
export interface Leftovers {
  /** Mount points of file systems and block files. */
  readonly mounts: readonly string[];
  /** Loop devices with the block file that each stands for. */
  readonly loops: readonly { readonly device: string; readonly file: string }[];
  /** Supervisors, engines and agents. */
  readonly processes: readonly { readonly pid: number; readonly command: string }[];
}

/**
 * Looks the instance's things up in the mount table, among the loop devices and the processes: all of them lead back to
 * the run directory, those of a volume to its block file there. Reads nothing of a volume.
 */
export async function leftoversOf(runDir: string): Promise<Leftovers> {
  const root = `${path.join(runDir, "sdc")}/`;
  const attached = loops().filter(({ file }) => file.startsWith(root));
  const devices = new Set(attached.map(({ device }) => device));
  const mounts = mountsOf((mount) => mount.mountpoint.startsWith(root) || devices.has(mount.source));
  return { mounts: mounts.map((mount) => mount.mountpoint), loops: attached, processes: await processesOf(runDir) };
}

async function processesOf(runDir: string): Promise<Leftovers["processes"]> {
  const [engines, agents] = [`${path.join(runDir, "sdc")}/`, `${path.join(runDir, "agents")}/`];
  const pids = (await readdir("/proc")).filter((entry) => /^\d+$/.test(entry));
  const all = await Promise.all(
    pids.map(async (pid) => {
      // Empty for kernel threads, and when the process has ended meanwhile.
      const words = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
      // An engine knows its volume by its working directory.
      const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => "");
      return {
        pid: Number(pid),
        words,
        ours:
          (cwd.startsWith(engines) && words.some((word) => /\/sdc-\w+\.(?:js|sh)$/.test(word))) ||
          (words.some((word) => word.endsWith("/mesos-agent.js")) && words.some((word) => word.startsWith(agents))),
      };
    }),
  );
  return all.filter(({ ours }) => ours).map(({ pid, words }) => ({ pid, command: words.join(" ").trim() }));
}
