import fs from "node:fs";
import path from "node:path";
import Docker from "dockerode";
import { readRecord } from "../lib/daemon-record.ts";
import { type Dirs, DOCKER_PLUGIN_DIR } from "../lib/dirs.ts";
import { stillRuns } from "../lib/process-id.ts";
import { type Finding, failed, ok } from "./finding.ts";

/** Docker waits up to 15 s for each dead plugin when it lists volumes (docker-volume-plugin.md 6); past that (ms) something hangs. */
const ANSWER_LIMIT = 20_000;

/** @param searchPath the PATH variable */
const isInstalled = (searchPath: string) =>
  searchPath.split(":").some((dir) => dir !== "" && fs.existsSync(path.join(dir, "dockerd")));

/** Whether Docker answers, and whether it sees the plugins of the running daemon. */
export async function dockerChecks(dirs: Dirs): Promise<Finding[]> {
  // DOCKER_HOST, or the default socket.
  const docker = new Docker({ timeout: ANSWER_LIMIT });
  let drivers: readonly string[];
  try {
    drivers = await volumeDrivers(docker);
  } catch (error) {
    return [
      failed(
        "docker",
        `does not answer: ${(error as Error).message}`,
        isInstalled(process.env["PATH"] ?? "")
          ? "start Docker (`systemctl start docker`), or set DOCKER_HOST"
          : "install Docker (`apt-get install docker.io`), or set DOCKER_HOST; dvdcli and agents do without it",
      ),
    ];
  }
  const answers = ok("docker", `answers at ${process.env["DOCKER_HOST"] ?? "its default socket"}`);
  const record = await readRecord(dirs.runDir);
  if (record === undefined || stillRuns(record) !== true) return [answers];
  const names = record.plugins.map((socket) => path.basename(socket, ".sock"));
  if (names.some((name) => !drivers.includes(name))) {
    // Docker looks for plugins when it needs them; listing volumes needs them all.
    await docker.listVolumes().catch(() => {});
    drivers = await volumeDrivers(docker).catch(() => drivers);
  }
  return [answers, ...names.map((name) => seen(name, drivers, record.pluginDir))];
}

async function volumeDrivers(docker: Docker): Promise<readonly string[]> {
  const info = (await docker.info()) as { Plugins?: { Volume?: string[] | null } };
  return info.Plugins?.Volume ?? [];
}

function seen(name: string, drivers: readonly string[], pluginDir: string): Finding {
  if (drivers.includes(name)) return ok("plugin", `Docker sees the volume driver ${name}`);
  const detail = `Docker does not see the volume driver ${name}`;
  if (pluginDir === DOCKER_PLUGIN_DIR)
    return failed("plugin", detail, `Docker must run on this machine and see ${pluginDir}: restart it`);
  return failed(
    "plugin",
    `${detail}: its socket is in ${pluginDir}, and Docker looks in ${DOCKER_PLUGIN_DIR}`,
    `\`echo unix://${pluginDir}/${name}.sock > /etc/docker/plugins/${name}.spec\`, or \`rexray-sim up --plugin-dir ${DOCKER_PLUGIN_DIR}\``,
  );
}
