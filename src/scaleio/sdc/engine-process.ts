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
