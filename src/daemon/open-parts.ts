import os from "node:os";
import path from "node:path";
import { loadConfig } from "../config/config.ts";
import { pluginApp } from "../docker/plugin-app.ts";
import { servePlugin } from "../docker/serve-plugin.ts";
import { ScaleioDriver } from "../drivers/scaleio-driver.ts";
import { Cluster } from "../scaleio/cluster.ts";
import { kernelFileSystems } from "../volumes/file-systems.ts";
import { Volumes } from "../volumes/volumes.ts";
import type { OpenParts } from "./parts.ts";

/** The engine and its supervisor are programs of their own: they are there as built, also when this is run from source. */
const BIN_DIR = path.resolve(import.meta.dirname, "../../dist/bin");

/** The one place where the parts are put together. */
export const openParts: OpenParts = async ({ dirs, env, log }) => {
  const { stateDir, runDir, configFile, configRequired } = dirs;
  const { config, warnings } = loadConfig({ file: configFile, required: configRequired, env, stateDir });
  log.level = config.logLevel;
  const part = (name: string) => {
    const child = log.child({ part: name });
    return (message: string) => child.warn(message);
  };
  const cluster = await Cluster.open({
    config: config.simulator,
    stateDir,
    runDir,
    binDir: BIN_DIR,
    host: os.hostname(),
    log: part("cluster"),
  });
  const volumes = new Volumes({
    driver: new ScaleioDriver(cluster),
    fileSystems: kernelFileSystems,
    config: config.volumes,
    profile: config.simulator.profile,
    stateDir,
    log: part("volumes"),
  });
  return {
    cluster,
    volumes,
    warnings,
    pluginNames: config.simulator.pluginNames,
    servePlugin: ({ dir, name }) =>
      servePlugin({ app: pluginApp(volumes, () => void volumes.engineRestarted()), dir, name }),
    async close() {
      volumes.close();
      await cluster.close();
    },
  };
};
