import fs from "node:fs/promises";
import type { DownReport } from "../admin/report.ts";
import { readRecord, removeRecord } from "../lib/daemon-record.ts";
import { runFiles } from "../lib/dirs.ts";
import { isLiveSocket } from "../lib/live-socket.ts";
import { Core, type CoreOptions } from "./core.ts";

/**
 * Does for a dead daemon what its own stop would have done: a core without sockets takes its directories, finds the
 * volumes, unmounts them and goes. Throws in_use when the daemon is not dead after all.
 */
export async function sweep(options: CoreOptions & { force: boolean }): Promise<DownReport> {
  const { runDir } = options.dirs;
  const core = await Core.open(options);
  let remaining: DownReport["remaining"] | undefined;
  try {
    await core.parts.endFormerAgents("all");
    await core.parts.volumes.reconcile();
    remaining = await core.parts.volumes.shutdown({ force: options.force });
    return { remaining };
  } finally {
    await core.close(async () => {
      const plugins = (await readRecord(runDir))?.plugins ?? [];
      for (const socket of [...plugins, runFiles(runDir).adminSocket]) {
        // Another instance may serve under that name by now.
        if (!(await isLiveSocket(socket))) await fs.rm(socket, { force: true });
      }
      if (remaining?.length === 0) await removeRecord(runDir);
    });
  }
}
