import { setTimeout as pause } from "node:timers/promises";
import { AdminClient, NoDaemonError } from "../admin/client.ts";
import type { DownReport } from "../admin/report.ts";
import { leftoversOf } from "../host/leftovers.ts";
import { type DaemonRecord, readRecord } from "../lib/daemon-record.ts";
import { type DirFlags, type Dirs, resolveDirs, runFiles } from "../lib/dirs.ts";
import { SimError } from "../lib/errors.ts";
import { isLiveSocket } from "../lib/live-socket.ts";
import { stillRuns } from "../lib/process-id.ts";
import { type Asked, tell } from "./answer.ts";
import { type Context, EXIT } from "./context.ts";
import { remainingText } from "./remaining.ts";

/** How long a daemon that has answered may take to be gone (ms). */
const GONE_LIMIT = 15_000;
const POLL = 20;

/** `rexray-sim down`: a full stop, waited for; cleans up after a dead daemon as well. Nothing to stop is success. */
export async function down(
  context: Context,
  options: Pick<Asked, "json"> & { flags: DirFlags; force: boolean },
): Promise<number> {
  const given = resolveDirs(options.flags, context.env);
  const record = await readRecord(given.runDir);
  let report: DownReport;
  try {
    report = await new AdminClient(given.runDir).down({ force: options.force });
    await gone(given.runDir, record);
  } catch (error) {
    if (!(error instanceof NoDaemonError)) throw error;
    const dirs = dirsOfDead(given, options.flags, context.env, record);
    if (!(await anythingLeft(dirs, record))) {
      const said = `nothing to stop: no rexray-sim runs with run directory ${given.runDir}, and none has left anything\n`;
      tell(context, options, { remaining: [] } satisfies DownReport, said);
      return EXIT.ok;
    }
    report = await context.daemon.sweep({ dirs, force: options.force });
    context.err("the daemon was dead; cleaned up after it\n");
  }
  tell(context, options, report, remainingText(report.remaining) || "stopped\n");
  return report.remaining.length === 0 ? EXIT.ok : EXIT.failed;
}

/** The daemon answers before it ends: a caller that starts the next one must not meet the last one's locks. */
async function gone(runDir: string, record: DaemonRecord | undefined): Promise<void> {
  const end = Date.now() + GONE_LIMIT;
  while ((record !== undefined && stillRuns(record) === true) || (await isLiveSocket(runFiles(runDir).adminSocket))) {
    if (Date.now() > end) {
      throw new SimError(
        "timed_out",
        `the daemon of ${runDir} (process ${record?.pid ?? "unknown"}) has stopped its work but does not end: kill it`,
      );
    }
    await pause(POLL);
  }
}

/** What was not said is as the dead daemon had it. */
function dirsOfDead(given: Dirs, flags: DirFlags, env: NodeJS.ProcessEnv, record: DaemonRecord | undefined): Dirs {
  if (record === undefined) return given;
  const told = resolveDirs(flags, {
    ...env,
    REXRAY_SIM_STATE_DIR: record.stateDir,
    REXRAY_SIM_PLUGIN_DIR: record.pluginDir,
  });
  if (given.configRequired) return told;
  return { ...told, configFile: record.configFile, configRequired: record.configRequired };
}

async function anythingLeft(dirs: Dirs, record: DaemonRecord | undefined): Promise<boolean> {
  const { mounts, loops, processes } = await leftoversOf(dirs.runDir);
  return record !== undefined || mounts.length + loops.length + processes.length > 0;
}
