import { constants, readdirSync, readFileSync } from "node:fs";
import { open, readFile } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { errnoOf, SimError } from "../lib/errors.ts";
import { run } from "./exec.ts";

/** Two losetup that look for a free device at the same time may pick the same one; the loser tries again. */
const ATTEMPTS = 20;

/** Attaches a file to a free loop device with direct I/O and answers the device's path. */
export async function attachLoop(file: string): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await run("losetup", ["--direct-io=on", "--find", "--show", file])).trim();
    } catch (error) {
      const busy = error instanceof SimError && /busy/i.test(error.message);
      if (!busy || attempt === ATTEMPTS) throw error;
      await pause(attempt * 5);
    }
  }
}

/** Lets go of the device, if it is one still. The kernel does so only once nobody uses it any more (data-path.md, "What leaks"): see {@link loopOf}. */
export async function detachLoop(device: string): Promise<void> {
  await run("losetup", ["--detach", device]).catch((error) => {
    if (!(error instanceof SimError && /no such device/i.test(error.message))) throw error;
  });
}

/** Has the device take the size that its file has now. */
export async function growLoop(device: string): Promise<void> {
  await run("losetup", ["--set-capacity", device]);
}

/** The loop device that a file is attached to. Read in place, as the mount table is. */
export function loopOf(file: string): string | undefined {
  return loops().find((loop) => loop.file === file)?.device;
}

/** All loop devices with what each stands for. */
export function loops(): { readonly device: string; readonly file: string }[] {
  return readdirSync("/sys/block").flatMap((name) => {
    if (!name.startsWith("loop")) return [];
    try {
      const backing = readFileSync(`/sys/block/${name}/loop/backing_file`, "utf8").trimEnd();
      return [{ device: `/dev/${name}`, file: backing.replace(/ \(deleted\)$/, "") }];
    } catch {
      // Free, or taken away meanwhile.
      return [];
    }
  });
}

/** Reads and writes of all loop devices with files below this directory, and their bytes, since each was attached. */
export function loopTraffic(directory: string): { readonly requests: number; readonly bytes: number } {
  const sum = { requests: 0, bytes: 0 };
  for (const { device, file } of loops()) {
    if (!file.startsWith(`${directory}/`)) continue;
    try {
      // Documentation/block/stat.rst: reads, merged, sectors, ms, writes, merged, sectors, ms.
      const stat = readFileSync(`/sys/block/${device.slice("/dev/".length)}/stat`, "utf8")
        .trim()
        .split(/\s+/)
        .map(Number);
      sum.requests += (stat[0] ?? 0) + (stat[4] ?? 0);
      sum.bytes += 512 * ((stat[2] ?? 0) + (stat[6] ?? 0));
    } catch {
      // Taken away meanwhile.
    }
  }
  return sum;
}

/** "major:minor" of a loop device, as mountinfo writes it. */
export async function deviceNumber(device: string): Promise<string> {
  return (await readFile(`/sys/block/${device.slice("/dev/".length)}/dev`, "utf8")).trim();
}

/**
 * Whether some mount namespace has a file system of this device mounted: an exclusive open fails then
 * (docker-volume-plugin.md 8.6). It reads nothing, so a dead device cannot make it hang.
 */
export async function isBusy(device: string): Promise<boolean> {
  try {
    await (await open(device, constants.O_RDONLY | constants.O_EXCL)).close();
    return false;
  } catch (error) {
    if (errnoOf(error) === "EBUSY") return true;
    throw error;
  }
}
