import fs from "node:fs";

/** What works on a volume: supervisors, engines, and the helper that punches holes for them (files.ts). */
const WORKERS = /sdc-(?:supervisor|engine)|^fallocate/;

/**
 * Whether the process works in this run directory, which is its working directory: process ids are used again, run directories are not.
 * A child of an engine that has not become its helper yet looks like the engine.
 */
export function worksIn(pid: number, dir: string): boolean {
  try {
    if (fs.readlinkSync(`/proc/${pid}/cwd`) !== dir) return false;
    // A person's shell may be in there too.
    return WORKERS.test(fs.readFileSync(`/proc/${pid}/cmdline`, "utf8"));
  } catch {
    return false;
  }
}

/** Ids of all processes that work in a run directory. */
export function workersIn(dir: string): number[] {
  return fs
    .readdirSync("/proc")
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && worksIn(pid, dir));
}

export function killNow(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}
