import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { mountFuseFile } from "../../host/fuse.ts";
import { sessionFiles } from "./session.ts";

/** Which engine and supervisor to run. */
export interface EnginePrograms {
  readonly supervisor: string;
  readonly engine: string;
}

export const enginePrograms = (binDir: string): EnginePrograms => ({
  supervisor: path.join(binDir, "sdc-supervisor.sh"),
  engine: path.join(binDir, "sdc-engine.js"),
});

/**
 * Mounts the block file of a run directory and starts a supervisor and an engine for it, which outlive this process. They
 * know the directory as their working directory only, so it may be renamed while they run. Answers the supervisor's id.
 * Throws host_failed.
 */
export async function startEngine({ supervisor }: EnginePrograms, dir: string): Promise<number | undefined> {
  const files = sessionFiles(dir);
  fs.writeFileSync(files.volume, "", { mode: 0o600 });
  const fuse = await mountFuseFile(files.volume, "rexray-sim");
  const log = fs.openSync(files.log, "a", 0o600);
  try {
    const child = spawn("sh", [supervisor, process.execPath], {
      stdio: ["ignore", log, log, fuse],
      detached: true,
      cwd: dir,
    });
    child.once("error", () => undefined).unref();
    return child.pid;
  } finally {
    fs.closeSync(fuse);
    fs.closeSync(log);
  }
}

/** Starts an engine that makes an unmounted volume's copies good; settles when it has ended, killed by the signal or not. */
export async function runRepair({ engine }: EnginePrograms, dir: string, signal: AbortSignal): Promise<void> {
  const log = fs.openSync(sessionFiles(dir).log, "a", 0o600);
  const child = spawn(process.execPath, [engine, "--repair"], { stdio: ["ignore", log, log], cwd: dir });
  fs.closeSync(log);
  const stop = () => child.kill("SIGKILL");
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  try {
    await new Promise((resolve, reject) => child.once("exit", resolve).once("error", reject));
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
