import fs from "node:fs";
import path from "node:path";
import type { AgentTask } from "../task.ts";

/*
 * A task as its agent has it on disk, in the meta directory of its container: what the next process of the agent knows.
 */

/** Undefined: there is none. */
export function readTask(meta: string): AgentTask | undefined {
  try {
    return JSON.parse(fs.readFileSync(path.join(meta, "task.json"), "utf8")) as AgentTask;
  } catch {
    // Killed before the first word of it: nobody was told of it either.
    return undefined;
  }
}

/** In one step: an agent may be killed at any time. */
export function writeTask(meta: string, { info, status, containerId, directory }: AgentTask): void {
  const file = path.join(meta, "task.json");
  fs.writeFileSync(`${file}.new`, JSON.stringify({ info, status, containerId, directory }), { mode: 0o600 });
  fs.renameSync(`${file}.new`, file);
}
