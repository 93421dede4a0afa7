import { spawn } from "node:child_process";
import { SimError } from "../lib/errors.ts";
import { run } from "./exec.ts";

/** How long file systems may stay frozen, whatever happens (s). */
const LIMIT_S = 20;

/**
 * Freezes, says so, and thaws when its standard input ends: that is also when the daemon dies. Directories are arguments, so
 * nothing of them is ever read as shell text.
 */
const SCRIPT = `
thaw() { for d; do fsfreeze --unfreeze "$d" 2>/dev/null; done; }
for d; do fsfreeze --freeze "$d" || { thaw "$@"; exit 1; }; done
echo frozen
timeout ${LIMIT_S} cat >/dev/null
thaw "$@"
`;

/**
 * Runs a task while the file systems mounted at these directories are frozen: all they were given before is on their devices,
 * and nothing more gets there. A process of its own holds them, so that they thaw also when this one dies. Throws host_failed,
 * timed_out when the task took longer than they may stay frozen, and what the task throws.
 */
export async function whileFrozen(directories: readonly string[], task: () => Promise<void>): Promise<void> {
  if (directories.length === 0) return task();
  const child = spawn("sh", ["-c", SCRIPT, "sh", ...directories], { stdio: ["pipe", "pipe", "pipe"], detached: true });
  let words = "";
  child.stderr.setEncoding("utf8").on("data", (part: string) => (words += part));
  const ended = new Promise<"ended">((resolve) =>
    child.once("close", () => resolve("ended")).once("error", () => resolve("ended")),
  );
  const frozen = new Promise<"frozen">((resolve) => child.stdout.once("data", () => resolve("frozen")));
  child.stdin.on("error", () => undefined);
  const late = after(LIMIT_S * 1000);
  try {
    // A device that hangs keeps whoever freezes it; nobody waits for that.
    const outcome = await Promise.race([frozen, ended, late.promise]);
    if (outcome === "late")
      throw new SimError("timed_out", `the file systems could not be frozen within ${LIMIT_S} s: is a device hanging?`);
    if (outcome === "ended") throw new SimError("host_failed", `the file systems cannot be frozen: ${words.trim()}`);
    await task();
    if (child.exitCode !== null) {
      const why = words.trim() || `they may be frozen for ${LIMIT_S} s`;
      throw new SimError("timed_out", `the file systems were thawed before all was done: ${why}`);
    }
  } finally {
    child.stdin.end();
    await Promise.race([ended, late.promise]);
    late.cancel();
  }
}

function after(ms: number): { promise: Promise<"late">; cancel: () => void } {
  let timer: NodeJS.Timeout | undefined;
  const promise = new Promise<"late">((resolve) => (timer = setTimeout(resolve, ms, "late")));
  return { promise, cancel: () => clearTimeout(timer) };
}

/** Thaws a file system that was left frozen when this and its helper were killed together. Harmless when it is not. */
export async function thaw(directory: string): Promise<void> {
  await run("fsfreeze", ["--unfreeze", directory]).catch(() => undefined);
}
