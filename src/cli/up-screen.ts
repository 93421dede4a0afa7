import path from "node:path";
import type { StatusReport } from "../admin/report.ts";
import { DOCKER_PLUGIN_DIR } from "../lib/dirs.ts";
import { bytes, count, facts } from "./text.ts";

/**
 * What `up` prints when everything is served: what there is, where it is, what to type next. The last line starts with
 * "ready", for people and for scripts that wait.
 *
 * @param stop how to end it, for the last line
 */
export function upScreen(report: StatusReport, pluginDir: string, stop: string): string {
  const { daemon, sds, pools, volumes } = report;
  const name = path.basename(report.plugins[0] ?? "", ".sock");
  const mounted = volumes.filter((volume) => volume.mountpoint !== "").length;
  return facts([
    ["nodes", ...nodeLines(sds)],
    [
      "pool",
      ...pools.map(
        (pool) =>
          `${pool.name}: ${bytes(pool.capacityBytes)} raw, ${bytes(pool.spareBytes)} of it spare; thin volumes can still be promised ${bytes(pool.thinAvailableBytes)}`,
      ),
    ],
    ["volumes", `${volumes.length}, ${mounted} mounted`],
    ["health", report.health, ...report.reasons],
    ["plugins", ...report.plugins],
    ["apis", ...report.apis],
    ["state", daemon.stateDir],
    ["run", daemon.runDir],
    ["next", ...nextLines(name, pluginDir)],
    ["ready", stop],
  ]);
}

/** A thousand nodes are named in one line. */
function nodeLines(sds: StatusReport["sds"]): string[] {
  if (sds.length > 16) {
    const up = sds.filter((node) => node.state === "up").length;
    return [`${count(sds.length, "node")}, ${sds[0]?.name} to ${sds.at(-1)?.name}, ${up} up`];
  }
  return sds.map((node) => `${node.name} ${node.state}, ${bytes(node.capacityBytes)}`);
}

function nextLines(name: string, pluginDir: string): string[] {
  const create = `docker volume create -d ${name} -o size=16 pg`;
  if (pluginDir === DOCKER_PLUGIN_DIR) return [create];
  const spec = `echo unix://${pluginDir}/${name}.sock > /etc/docker/plugins/${name}.spec`;
  return [`Docker looks in ${DOCKER_PLUGIN_DIR} only; to let it find this one: ${spec}`, create];
}
