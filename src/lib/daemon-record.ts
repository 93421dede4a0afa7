import fs from "node:fs/promises";
import { z } from "zod";
import { runFiles } from "./dirs.ts";

/**
 * <run>/daemon.json: written when the daemon is ready, removed by a full stop. It stays behind when the daemon is killed,
 * or stops and leaves volumes mounted or agents running: `down` and `doctor` find from it what has to be looked after.
 */
const recordSchema = z.object({
  format: z.literal(1),
  pid: z.number().int(),
  startTicks: z.number(),
  namespace: z.string(),
  version: z.string(),
  /** RFC 3339. */
  startedAt: z.string(),
  stateDir: z.string(),
  runDir: z.string(),
  pluginDir: z.string(),
  configFile: z.string(),
  configRequired: z.boolean(),
  /** Paths of the plugin sockets. */
  plugins: z.array(z.string()),
});

export type DaemonRecord = z.infer<typeof recordSchema>;

export async function writeRecord(record: DaemonRecord): Promise<void> {
  const file = runFiles(record.runDir).record;
  await fs.writeFile(`${file}.new`, `${JSON.stringify(record, undefined, 2)}\n`, { mode: 0o600 });
  await fs.rename(`${file}.new`, file);
}

/** The record of the run directory's present or last daemon; undefined when there is none that can be understood. */
export async function readRecord(runDir: string): Promise<DaemonRecord | undefined> {
  try {
    return recordSchema.parse(JSON.parse(await fs.readFile(runFiles(runDir).record, "utf8")));
  } catch {
    return undefined;
  }
}

export async function removeRecord(runDir: string): Promise<void> {
  await fs.rm(runFiles(runDir).record, { force: true });
}
