import fs from "node:fs/promises";
import path from "node:path";
import { AdminClient, NoDaemonError } from "../admin/client.ts";
import { leftoversOf } from "../host/leftovers.ts";
import { readRecord } from "../lib/daemon-record.ts";
import { type Dirs, runFiles } from "../lib/dirs.ts";
import { isLiveSocket } from "../lib/live-socket.ts";
import { type Finding, failed, ok, warning } from "./finding.ts";
import { count } from "./text.ts";

/** Names whose sockets are looked at when no daemon says which it serves. */
const USUAL_NAMES = ["rexray-sim", "rexray"];

/** Whether a daemon runs, and if not, what a dead one has left. */
export async function instanceChecks(dirs: Dirs): Promise<Finding[]> {
  const stop = `\`rexray-sim down --run-dir ${dirs.runDir}\``;
  try {
    const { daemon, health, reasons } = await new AdminClient(dirs.runDir).status();
    return [
      ok("daemon", `runs as process ${daemon.pid}`),
      health === "ok"
        ? ok("health", "ok")
        : warning("health", `${health}: ${reasons.join("; ")}`, "`rexray-sim status` says more"),
    ];
  } catch (error) {
    if (!(error instanceof NoDaemonError)) {
      return [failed("daemon", (error as Error).message, `${stop}, then \`rexray-sim up\``)];
    }
  }
  const record = await readRecord(dirs.runDir);
  const sockets = record?.plugins ?? USUAL_NAMES.map((name) => path.join(dirs.pluginDir, `${name}.sock`));
  return [
    warning("daemon", `none runs with run directory ${dirs.runDir}`, "`rexray-sim up`"),
    await leftovers(dirs.runDir, stop),
    ...(await staleSockets([...sockets, runFiles(dirs.runDir).adminSocket])),
  ];
}

async function leftovers(runDir: string, stop: string): Promise<Finding> {
  const { mounts, loops, processes } = await leftoversOf(runDir);
  if (mounts.length + loops.length + processes.length === 0)
    return ok("leftovers", "no mount, loop device or process of a dead run");
  const what = [
    count(mounts.length, "mount"),
    count(loops.length, "loop device"),
    `${processes.length} engine processes`,
  ];
  const where = [...mounts, ...loops.map(({ device }) => device)];
  return failed(
    "leftovers",
    `of a dead run: ${what.join(", ")} (${where.join(" ")})`,
    `\`rexray-sim up\` takes them over, ${stop} removes them`,
  );
}

async function staleSockets(files: readonly string[]): Promise<Finding[]> {
  const stale: string[] = [];
  for (const file of files) {
    const exists = await fs.access(file).then(
      () => true,
      () => false,
    );
    if (exists && !(await isLiveSocket(file))) stale.push(file);
  }
  if (stale.length === 0) return [ok("sockets", "no socket of a dead run")];
  return stale.map((file) =>
    failed("sockets", `${file} is of a dead run: Docker waits 15 s for it at every look-up`, `\`rm ${file}\``),
  );
}
