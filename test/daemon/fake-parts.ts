import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { Daemon, type DaemonOptions } from "../../src/daemon/daemon.ts";
import type { Parts } from "../../src/daemon/parts.ts";
import type { Dirs } from "../../src/lib/dirs.ts";
import { FakeCluster, FakeVolumes, silent } from "../admin/fakes.ts";
import { tempDir } from "../helpers/temp-dir.ts";

/** A daemon's surroundings without a cluster: what is called is noted in order. */
export function surroundings(t: { teardown(work: () => void): void }) {
  const root = tempDir("rexray-sim-daemon");
  t.teardown(() => fs.rmSync(root, { recursive: true, force: true }));
  const dirs: Dirs = {
    stateDir: path.join(root, "state"),
    runDir: path.join(root, "run"),
    pluginDir: path.join(root, "plugins"),
    configFile: path.join(root, "state/config.yml"),
    configRequired: false,
  };
  const cluster = new FakeCluster();
  const volumes = new FakeVolumes();
  const log = volumes.orders;
  const servePlugin: Parts["servePlugin"] = async ({ dir, name }) => {
    log.push(`serve ${name}`);
    fs.mkdirSync(dir, { recursive: true });
    const file = path.join(dir, `${name}.sock`);
    const server = net.createServer().listen(file);
    await once(server, "listening");
    return {
      path: file,
      lent: false,
      close: async () => {
        log.push(`unserve ${name}`);
        await new Promise((resolve) => server.close(resolve));
      },
    };
  };
  const options: DaemonOptions = {
    dirs,
    pluginNames: ["a", "b"],
    env: {},
    log: silent,
    lost: () => log.push("lost"),
    openParts: async () => {
      log.push("open");
      const close = async () => void log.push("close");
      const endFormerAgents = async () => {};
      const warnings = ["mind the gap"];
      return { cluster, volumes, warnings, pluginNames: ["c"], servePlugin, endFormerAgents, close };
    },
  };
  return { dirs, cluster, volumes, log, options, servePlugin, start: () => Daemon.start(options) };
}
