import { setTimeout as pause } from "node:timers/promises";
import { errnoOf } from "../../lib/errors.ts";
import { holdsVolumes } from "../host/container-files.ts";
import type { AgentConfig, AgentTask } from "../task.ts";
import type { AgentClient } from "./agent-client.ts";
import { pidOf } from "./processes.ts";

/** How often a process is looked for (ms), and how many times after it has said that it leaves. */
const LOOK_MS = 20;
const LEAVE_LOOKS = 25;
/** Processes that may die over giving back what their predecessor had. */
const MOST_STARTS = 3;

/** How an agent leaves. */
export interface DepartureOptions {
  readonly client: Pick<AgentClient, "drain">;
  /** Aborted when nobody waits for it any more. */
  readonly signal: AbortSignal;
  /** Starts another process for what one that died has not given back; without it that is left to the caller. */
  readonly start?: () => Promise<void>;
  /** All its tasks, when every one has ended. */
  readonly told?: (tasks: readonly AgentTask[]) => void;
  readonly log: (message: string) => void;
}

/**
 * Has an agent end its tasks, give its volumes back and leave, also when it is only just starting. Returns when no process of it is
 * there any more, or when the signal says so; one that answers wrongly is asked again.
 */
export async function departure(config: AgentConfig, options: DepartureOptions): Promise<void> {
  const { client, signal, start, told, log } = options;
  let drained = false;
  for (let starts = 0; ; starts++) {
    while (pidOf(config) !== null && !signal.aborted) {
      try {
        const tasks = await client.drain(signal);
        drained = true;
        told?.(tasks);
        for (let i = 0; i < LEAVE_LOOKS && pidOf(config) !== null; i++) await pause(LOOK_MS);
      } catch (error) {
        const starting = ["ENOENT", "ECONNREFUSED"].includes(errnoOf(error) ?? "");
        if (!signal.aborted && !starting) log(`agent ${config.name}: ${String(error)}`);
        await pause(LOOK_MS);
      }
    }
    if (drained || signal.aborted || start === undefined || !holdsVolumes(config.workDir)) return;
    if (starts === MOST_STARTS) {
      log(`agent ${config.name} has died ${starts + 1} times over its leave: its next start gives its volumes back`);
      return;
    }
    await start();
  }
}
