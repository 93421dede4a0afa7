import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import path from "node:path";
import express, { type Express } from "express";
import { shareDirectory, unshareDirectory } from "../host/shared-directory.ts";
import { askCredentials } from "../lib/ask-credentials.ts";
import type { Credentials } from "../lib/credentials.ts";
import type { FaultFamily } from "../lib/fault.ts";
import { localOnly } from "../lib/local-only.ts";
import { isLoopback } from "../lib/loopback.ts";
import { ownPagesOnly } from "../lib/own-pages-only.ts";
import { marathonApi } from "../marathon/api/app.ts";
import { Marathon } from "../marathon/marathon.ts";
import { type AppOverview, overview } from "../marathon/overview.ts";
import { type AgentSettings, Agents } from "../mesos/master/agents.ts";
import { mesosApi } from "../mesos/master/api.ts";
import type { Volumes } from "../volumes/volumes.ts";
import type { FrameworkPart, PluginSocket } from "./parts.ts";

/** What the agents and Marathon's API are made of. */
export interface FrameworkOptions {
  readonly agents: readonly AgentSettings[];
  readonly listen: string;
  /** Undefined: everybody who reaches the ports may call; so they are this machine's only (config/simulator.ts). */
  readonly credentials: Credentials | undefined;
  readonly marathonPort: number;
  readonly mesosPort: number;
  readonly dvdcli: string | undefined;
  readonly stateDir: string;
  readonly runDir: string;
  readonly binDir: string;
  /** Where a simulated host's volumes are mounted. */
  readonly volumesDir: (host: string) => string;
  /** The volume service as a simulated host sees it. */
  readonly volumesOf: (host: string) => Volumes;
  readonly servePlugin: (volumes: Volumes, socket: { dir: string; name: string }) => Promise<PluginSocket>;
  /** Takes in the faults that agents can have. */
  readonly joinFaults: (family: FaultFamily) => Promise<void>;
  readonly loseHost: (host: string) => Promise<void>;
  readonly hostIsBack: (host: string) => void;
  /** s */
  readonly agentTimeoutSeconds: number;
  readonly launchTimeoutSeconds: number;
  readonly log: (message: string) => void;
}

/** Names under which agents' tasks find their volumes; the second is that of existing definitions. */
const DRIVERS = ["rexray-sim", "rexray"];

/** The second front door: Mesos-style agents, Marathon's API and Mesos' endpoints. */
export class Framework implements FrameworkPart {
  readonly #options: FrameworkOptions;
  readonly #servers: http.Server[] = [];
  readonly #marathon: Marathon;
  readonly agents: Agents;
  readonly addresses: string[] = [];

  constructor(options: FrameworkOptions) {
    this.#options = options;
    const { agents, stateDir, runDir, binDir, dvdcli, loseHost, hostIsBack, log } = options;
    this.agents = new Agents({
      agents,
      volumesDir: options.volumesDir,
      stateDir,
      runDir,
      binDir,
      dvdcli,
      timeoutSeconds: options.agentTimeoutSeconds,
      servePlugins: (host, dir) => this.#servePlugins(host, dir),
      loseHost,
      hostIsBack,
      log,
    });
    this.#marathon = new Marathon({
      stateDir,
      agents: this.agents,
      externalVolumes: true,
      master: this.#address(options.mesosPort),
      launchTimeoutMs: options.launchTimeoutSeconds * 1000,
      log,
    });
  }

  apps(): AppOverview[] {
    return overview(this.#marathon);
  }

  /** Answers warnings: a port that is taken costs that API, not the start. */
  async start(): Promise<string[]> {
    const { marathonPort, mesosPort, log } = this.#options;
    for (const { name, state } of this.agents.list()) {
      await shareDirectory(this.#options.volumesDir(name));
      // What a lost host had mapped stays mapped.
      if (state !== "lost") await this.#options.volumesOf(name).reconcile();
    }
    await this.#marathon.start();
    await this.#options.joinFaults(this.agents);
    const marathon = marathonApi({
      marathon: this.#marathon,
      address: this.#address(marathonPort),
      mesos: this.#address(mesosPort),
      log,
    });
    const mesos = mesosApi({
      agents: this.agents,
      tasks: (agent) => this.agents.tasks(agent),
      frameworkId: this.#marathon.store.frameworkId,
      address: this.#address(mesosPort),
      marathonAddress: this.#address(marathonPort),
      jsonp: isLoopback(this.#options.listen),
    });
    const warnings = await Promise.all([
      this.#listen(marathon, "Marathon's API", "simulator.marathonPort", marathonPort),
      this.#listen(mesos, "Mesos' endpoints", "simulator.mesosPort", mesosPort),
    ]);
    return warnings.flat();
  }

  async close({ drain }: { drain: boolean }): Promise<void> {
    for (const server of this.#servers) {
      server.close();
      server.closeAllConnections();
    }
    await this.#marathon.close({ drain });
    for (const { name } of this.#options.agents) {
      const volumes = this.#options.volumesOf(name);
      if (drain) await volumes.shutdown({ force: true });
      volumes.close();
      // Something that could not be unmounted keeps it; the end of the daemon does not wait for that.
      if (drain)
        await unshareDirectory(this.#options.volumesDir(name)).catch((error) => this.#options.log(String(error)));
    }
  }

  async #servePlugins(host: string, dir: string): Promise<{ close(): Promise<void> }> {
    const volumes = this.#options.volumesOf(host);
    // What a former daemon left there is of no use to anybody.
    for (const name of fs.readdirSync(dir)) fs.rmSync(path.join(dir, name), { force: true });
    const sockets: PluginSocket[] = [];
    for (const name of DRIVERS) sockets.push(await this.#options.servePlugin(volumes, { dir, name }));
    return { close: async () => void (await Promise.all(sockets.map((socket) => socket.close()))) };
  }

  /** An API with its guards: against web pages of others first, which must not even learn that there is a password. */
  #guarded(app: Express): Express {
    const { listen, credentials } = this.#options;
    const guarded = express()
      .disable("x-powered-by")
      .use(isLoopback(listen) ? localOnly : ownPagesOnly);
    if (credentials !== undefined) guarded.use(askCredentials(credentials));
    return guarded.use(app);
  }

  /** With the port, as it stands in a URL. */
  #address(port: number): string {
    const { listen } = this.#options;
    return `${net.isIPv6(listen) ? `[${listen}]` : listen}:${port}`;
  }

  #listen(app: Express, what: string, key: string, port: number): Promise<string[]> {
    const server = http.createServer(this.#guarded(app));
    return new Promise((resolve) => {
      server.once("error", (error) =>
        resolve([`${what} is not served: ${error.message}; free port ${port}, or set ${key} to another one`]),
      );
      server.listen(port, this.#options.listen, () => {
        this.#servers.push(server);
        this.addresses.push(`http://${this.#address(port)} (${what})`);
        resolve([]);
      });
    });
  }
}
