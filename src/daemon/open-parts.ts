import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { loadConfig } from "../config/config.ts";
import { lentSockets } from "../docker/lent-sockets.ts";
import { pluginApp } from "../docker/plugin-app.ts";
import { servePlugin } from "../docker/serve-plugin.ts";
import { ScaleioDriver } from "../drivers/scaleio-driver.ts";
import { NameBook } from "../lib/name-book.ts";
import { Cluster } from "../scaleio/cluster.ts";
import { kernelFileSystems } from "../volumes/file-systems.ts";
import { closeMountPath } from "../volumes/mount-point.ts";
import { Volumes } from "../volumes/volumes.ts";
import { endFormerAgents } from "./former-agents.ts";
import { Framework } from "./framework.ts";
import type { OpenParts } from "./parts.ts";

/** The engine and its supervisor are programs of their own: they are there as built, also when this is run from source. */
const BIN_DIR = fs.existsSync(path.join(import.meta.dirname, "sdc-engine.js"))
  ? import.meta.dirname
  : path.resolve(import.meta.dirname, "../../dist/bin");

/** The one place where the parts are put together. */
export const openParts: OpenParts = async ({ dirs, env, log, early }) => {
  const { stateDir, runDir, configFile, configRequired } = dirs;
  const { config, warnings } = loadConfig({ file: configFile, required: configRequired, env, stateDir });
  log.level = config.logLevel;
  const lent = lentSockets(env);
  const part = (name: string) => {
    const child = log.child({ part: name });
    return (message: string) => child.warn(message);
  };
  const hosts = new Map<string, Volumes>();
  const cluster = await Cluster.open({
    preempted: (host, name) => hosts.get(host)?.preempted(name),
    resumed() {
      driver.refresh();
      for (const each of [volumes, ...hosts.values()])
        each.reconcile().catch((error: unknown) => log.error({ err: error }, "volumes could not be looked after"));
    },
    config: config.simulator,
    stateDir,
    runDir,
    hosts: [os.hostname(), ...config.simulator.agents.map(({ name }) => name)],
    binDir: BIN_DIR,
    log: part("cluster"),
  });
  await closeMountPath(path.join(stateDir, "volumes"));
  const driver = new ScaleioDriver(cluster, os.hostname(), new NameBook(dirs.namesDirs ?? []));
  const shared = { fileSystems: kernelFileSystems, profile: config.simulator.profile, log: part("volumes") };
  const volumes = new Volumes({ ...shared, driver, config: config.volumes, stateDir });
  const hostsDir = path.join(stateDir, "hosts");
  const homeOf = (host: string) => path.join(hostsDir, host);
  const volumesDir = (host: string) => path.join(homeOf(host), "volumes");
  // Every agent is a host of its own: it has mount points and records of its own, and its own name among the SDCs.
  const volumesOf = (host: string): Volumes => {
    const home = homeOf(host);
    // Agents count for themselves: a mount for every container, one unmount after the last (spec/dvdcli.md 4.4).
    const own = { ...config.volumes, mountPath: volumesDir(host), ignoreUsedCount: true };
    const known = hosts.get(host) ?? new Volumes({ ...shared, driver: driver.on(host), config: own, stateDir: home });
    hosts.set(host, known);
    return known;
  };
  const { agents, listen, credentials, marathonPort, mesosPort, dvdcli } = config.simulator;
  const { agentTimeoutSeconds, launchTimeoutSeconds } = config.simulator;
  const serve = async (of: Volumes, { dir, name }: { dir: string; name: string }) => {
    const file = path.join(dir, `${name}.sock`);
    const app = pluginApp(of, () => void of.engineRestarted());
    return early?.take(file, app) ?? servePlugin({ app, dir, name, fd: lent.get(file) });
  };
  const framework =
    agents.length === 0
      ? undefined
      : new Framework({
          agents,
          listen,
          credentials,
          marathonPort,
          mesosPort,
          dvdcli,
          stateDir,
          runDir,
          binDir: BIN_DIR,
          volumesDir,
          volumesOf,
          servePlugin: serve,
          joinFaults: (family) => cluster.faults.join(family),
          loseHost: (host) => cluster.loseHost(host),
          hostIsBack: (host) => cluster.hostIsBack(host),
          agentTimeoutSeconds,
          launchTimeoutSeconds,
          log: part("marathon"),
        });
  return {
    cluster,
    volumes,
    warnings,
    pluginNames: config.simulator.pluginNames,
    framework,
    awaitedSockets: [...lent.keys(), ...(early?.paths ?? [])],
    servePlugin: (socket) => serve(volumes, socket),
    endFormerAgents(which) {
      const except = new Set(which === "all" ? [] : agents.map(({ name }) => name));
      return endFormerAgents({ runDir, hostsDir, volumesDir, volumesOf, except, log: part("agents") });
    },
    async close() {
      volumes.close();
      await cluster.close();
    },
  };
};
