import fs from "node:fs";
import path from "node:path";
import { adminApp } from "../admin/app.ts";
import { type DaemonInfo, type DownReport, type StatusReport, statusReport } from "../admin/report.ts";
import { serveAdmin } from "../admin/serve.ts";
import { removeRecord, writeRecord } from "../lib/daemon-record.ts";
import { type Dirs, runFiles } from "../lib/dirs.ts";
import { SimError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { type ProcessId, processId } from "../lib/process-id.ts";
import { VERSION } from "../lib/version.ts";
import { Core } from "./core.ts";
import type { EarlySockets } from "./early-sockets.ts";
import type { OpenParts, PluginSocket } from "./parts.ts";
import { keepLogsShort } from "./short-logs.ts";

/** Our own name, and the one that existing definitions use. */
export const PLUGIN_NAMES = ["rexray-sim", "rexray"];
/** How long the start waits for the volumes of a former run before it serves (ms); they are looked after all the same. */
const RECONCILE_LIMIT = 2500;

export interface DaemonOptions {
  readonly dirs: Dirs;
  /** Names under which Docker finds the plugin; undefined: those of the configuration, or the usual ones. */
  readonly pluginNames: readonly string[] | undefined;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Log;
  readonly openParts: OpenParts;
  readonly early?: EarlySockets | undefined;
  /** Called when the daemon has lost its directories to somebody else and must not go on. */
  readonly lost: (error: Error) => void;
}

/**
 * The running daemon: directories held, cluster open, volumes of a former run looked after, sockets served. Started in
 * that order and stopped in the reverse, so that a socket that exists is one that answers.
 */
export class Daemon {
  /** Resolves when nothing of the daemon is left but, perhaps, volumes that go on being served. */
  readonly ended: Promise<void>;
  #markEnded: () => void = () => {};
  readonly #core: Core;
  readonly #log: Log;
  readonly #info: DaemonInfo;
  readonly #plugins: PluginSocket[] = [];
  readonly #warnings: string[] = [];
  readonly #leaveLogs: () => void;
  #admin: { close(): Promise<void> } | undefined;
  #stopping: Promise<DownReport> | undefined;

  private constructor(core: Core, log: Log) {
    this.#core = core;
    this.#log = log;
    const { stateDir, runDir } = core.dirs;
    this.#info = { pid: process.pid, version: VERSION, startedAt: new Date().toISOString(), stateDir, runDir };
    this.#leaveLogs = keepLogsShort(core.dirs, { warn: (message) => log.warn(message) });
    this.ended = new Promise((resolve) => (this.#markEnded = resolve));
  }

  /** Starts and serves. On failure nothing is left running. Throws in_use when a daemon has the directories or a plugin name. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    checkSocketPath(runFiles(options.dirs.runDir).adminSocket, "--run-dir");
    const core = await Core.open(options);
    const daemon = new Daemon(core, options.log);
    try {
      await core.reconcile(RECONCILE_LIMIT);
      await daemon.#serve(options);
    } catch (error) {
      await daemon.#end({ keepRecord: false });
      throw error;
    }
    return daemon;
  }

  get warnings(): readonly string[] {
    return [...this.#core.warnings, ...this.#warnings];
  }

  report(): Promise<StatusReport> {
    const { cluster, volumes } = this.#core.parts;
    return statusReport(cluster, volumes, this.#pluginPaths(), this.#info, this.#apis());
  }

  /**
   * Ends the daemon; the first call decides how. Answers when the volumes are dealt with: `ended` says when all is over.
   *
   * @param unmount false: mounted volumes stay mounted and served, for the next daemon to find
   * @param force unmount also what somebody holds
   */
  stop(options: { unmount: boolean; force: boolean }): Promise<DownReport> {
    this.#stopping ??= this.#stop(options);
    return this.#stopping;
  }

  /**
   * Takes the sockets away at once, when there is no time for anything else: callers then fail fast instead of waiting. At
   * those that systemd listens at they may wait: it starts the next daemon.
   */
  removeSockets(): void {
    const own = this.#plugins.filter((plugin) => !plugin.lent).map((plugin) => plugin.path);
    for (const file of [...own, runFiles(this.#core.dirs.runDir).adminSocket]) fs.rmSync(file, { force: true });
  }

  async #serve({ pluginNames, dirs, log }: DaemonOptions): Promise<void> {
    const { parts } = this.#core;
    const { cluster, volumes } = parts;
    const names = pluginNames ?? parts.pluginNames ?? PLUGIN_NAMES;
    const wanted = names.map((name) => path.join(dirs.pluginDir, `${name}.sock`));
    // Whoever calls at a socket that is there already would wait for ever if it were not served, asked for or not.
    for (const file of new Set([...wanted, ...(parts.awaitedSockets ?? [])])) {
      checkSocketPath(file, "--plugin-dir");
      const { dir, name } = path.parse(file);
      this.#plugins.push(await parts.servePlugin({ dir, name }));
    }
    const app = adminApp({
      cluster,
      volumes,
      daemon: this.#info,
      plugins: this.#pluginPaths(),
      agents: parts.framework?.agents,
      marathonApps: () => parts.framework?.apps() ?? [],
      apis: this.#apis(),
      down: ({ force }) => this.stop({ unmount: true, force }),
      log,
    });
    await parts.endFormerAgents("unconfigured");
    this.#warnings.push(...((await parts.framework?.start()) ?? []));
    this.#admin = await serveAdmin(app, runFiles(dirs.runDir).adminSocket);
    await writeRecord({
      format: 1,
      ...this.#info,
      ...(processId(process.pid) as ProcessId),
      pluginDir: dirs.pluginDir,
      configFile: dirs.configFile,
      configRequired: dirs.configRequired,
      plugins: this.#pluginPaths(),
    });
  }

  async #stop({ unmount, force }: { unmount: boolean; force: boolean }): Promise<DownReport> {
    let keepRecord = true;
    try {
      await this.#core.parts.framework?.close({ drain: unmount });
      await this.#closePlugins();
      const remaining = unmount ? await this.#core.parts.volumes.shutdown({ force }) : [];
      keepRecord = unmount ? remaining.length > 0 : await this.#anyGoesOn();
      return { remaining };
    } finally {
      // Not awaited: the admin socket closes when its last answer, which may be this report, is out.
      void this.#end({ keepRecord });
    }
  }

  async #anyGoesOn(): Promise<boolean> {
    if (this.#core.parts.framework !== undefined) return true;
    return (await this.#core.parts.volumes.list()).some((volume) => volume.mountpoint !== "");
  }

  async #closePlugins(): Promise<void> {
    await Promise.all(this.#plugins.splice(0).map((plugin) => plugin.close()));
  }

  async #end({ keepRecord }: { keepRecord: boolean }): Promise<void> {
    this.#leaveLogs();
    try {
      await this.#closePlugins();
      await this.#admin?.close();
      await this.#core.close(keepRecord ? undefined : () => removeRecord(this.#core.dirs.runDir));
    } catch (error) {
      this.#log.error({ err: error }, "the stop did not go to plan");
    } finally {
      this.#markEnded();
    }
  }

  #apis(): readonly string[] {
    return this.#core.parts.framework?.addresses ?? [];
  }

  #pluginPaths(): string[] {
    return this.#plugins.map((plugin) => plugin.path);
  }
}

/** The kernel takes 107 bytes for the path of a socket; Node would cut a longer one off without a word. */
function checkSocketPath(file: string, flag: string): void {
  if (Buffer.byteLength(file) <= 107) return;
  throw new SimError("invalid_argument", `the socket path ${file} is longer than 107 bytes: give a shorter ${flag}`);
}
