import fs from "node:fs";

/** Names one process for good: its number is used again, its number with its start time is not. */
export interface ProcessId {
  readonly pid: number;
  /** Start time in clock ticks since boot, field 22 of /proc/PID/stat. */
  readonly startTicks: number;
  /** The PID namespace in which the number holds, as /proc/PID/ns/pid shows it. */
  readonly namespace: string;
}

/** The running process of that number, as seen from here; undefined when there is none (or it is a zombie). */
export function processId(pid: number): ProcessId | undefined {
  let stat: string;
  try {
    stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  // The second field is the command in parentheses and may hold anything, parentheses and spaces too.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (fields[0] === "Z" || fields[0] === "X") return undefined;
  return { pid, startTicks: Number(fields[19]), namespace: fs.readlinkSync("/proc/self/ns/pid") };
}

/** Whether that very process still runs; undefined when its number belongs to another PID namespace and says nothing here. */
export function stillRuns(id: ProcessId): boolean | undefined {
  if (id.namespace !== fs.readlinkSync("/proc/self/ns/pid")) return undefined;
  return processId(id.pid)?.startTicks === id.startTicks;
}
