import fs from "node:fs";
import type { FaultSpec } from "../../lib/fault.ts";

/** An agent's faults. Read when they matter: they change while the agent runs, and outlive it. */
export function readFaults(file: string): FaultSpec[] {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8")) as FaultSpec[];
  } catch {
    return [];
  }
}
