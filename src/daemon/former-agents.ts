import fs from "node:fs";
import { unshareDirectory } from "../host/shared-directory.ts";
import { killAgent, knownAgents, removeRunDir } from "../mesos/master/processes.ts";
import type { Volumes } from "../volumes/volumes.ts";

export interface FormerAgentsOptions {
  readonly runDir: string;
  /** Holds a directory for every simulated host. */
  readonly hostsDir: string;
  readonly volumesDir: (host: string) => string;
  readonly volumesOf: (host: string) => Volumes;
  /** Those that are to live on. */
  readonly except: ReadonlySet<string>;
  readonly log: (message: string) => void;
}

/**
 * Ends what former daemons have left of agents, tasks included, and gives their volumes back. They are found by what they
 * have on disk: the configuration may have changed since.
 */
export async function endFormerAgents(options: FormerAgentsOptions): Promise<void> {
  const { runDir, hostsDir, volumesDir, volumesOf, except, log } = options;
  for (const agent of knownAgents(runDir).filter(({ name }) => !except.has(name))) {
    await killAgent(agent);
    await removeRunDir(runDir, agent.name);
  }
  const hosts = fs.existsSync(hostsDir) ? await fs.promises.readdir(hostsDir) : [];
  for (const host of hosts.filter((name) => !except.has(name))) {
    for (const { name, heldBy } of await volumesOf(host).shutdown({ force: true }))
      log(`${host}: volume ${name} could not be given back: ${heldBy.join(", ")}`);
    await unshareDirectory(volumesDir(host)).catch((error) => log(String(error)));
  }
}
