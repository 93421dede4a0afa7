import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import type { Test } from "tap";
import { AdminClient } from "../../src/admin/client.ts";
import { baseline, findLeaks, type Leak, removeLeaks } from "./leaks.ts";
import { type RunOptions, type RunResult, run } from "./run.ts";
import { tempDir } from "./temp-dir.ts";
import { waitFor } from "./wait.ts";

const BIN = path.resolve(import.meta.dirname, "../../dist/bin");
/** How long a start may take, replays included (ms). */
const START_LIMIT = 30_000;
/** How long an unmount's last steps in the kernel may take after `down` has said that it is done (ms). */
const GONE_LIMIT = 5_000;

let instances = 0;

/** Settings of an instance. */
export interface SimOptions {
  /** Text of the configuration file (YAML); defaults when absent. */
  readonly config?: string;
  /** Names under which the plugin answers; one unique name when absent. Make more with {@link pluginName}. */
  readonly pluginNames?: readonly string[];
  /** Where the plugin sockets appear; where Docker looks when absent. */
  readonly pluginDir?: string;
  /** One that is there already, and is the test's to remove; a fresh one when absent. */
  readonly stateDir?: string;
  /** Further environment of the daemon and the commands. */
  readonly env?: NodeJS.ProcessEnv;
}

/** A plugin name that nobody else on the machine uses. In a test run it starts with the run's name, for the leak check. */
export const pluginName = (): string => `${process.env["REXRAY_SIM_TEST_RUN"] ?? "rxs"}-${process.pid}-${++instances}`;

/** One instance of the product, with directories of its own. */
export class Sim {
  /** Everything of the instance lies below it, the plugin sockets excepted. */
  readonly dir = tempDir("sim");
  readonly stateDir: string;
  readonly runDir = path.join(this.dir, "run");
  readonly configFile = path.join(this.dir, "config.yml");
  readonly pluginNames: readonly string[];
  readonly pluginDir: string;
  /** For programs that find the instance by the environment. */
  readonly env: NodeJS.ProcessEnv;
  readonly #withConfig: boolean;
  readonly #before = baseline();
  #process: ChildProcess | undefined;
  #said = "";

  constructor(options: SimOptions = {}) {
    this.stateDir = options.stateDir ?? path.join(this.dir, "state");
    this.pluginNames = options.pluginNames ?? [pluginName()];
    this.pluginDir = options.pluginDir ?? "/run/docker/plugins";
    this.env = {
      ...process.env,
      REXRAY_SIM_STATE_DIR: this.stateDir,
      REXRAY_SIM_RUN_DIR: this.runDir,
      REXRAY_SIM_PLUGIN_DIR: this.pluginDir,
      // Ports are the machine's: those who want agents say which they take.
      REXRAY_SIM_AGENTS: "0",
      ...options.env,
    };
    this.#withConfig = options.config !== undefined;
    if (options.config !== undefined) fs.writeFileSync(this.configFile, options.config);
  }

  /** The first plugin name, which is the Docker driver's. */
  get driver(): string {
    return this.pluginNames[0] as string;
  }

  /** The socket of the first plugin name. */
  get socket(): string {
    return path.join(this.pluginDir, `${this.driver}.sock`);
  }

  /** Process id of the daemon. Throws when it does not run. */
  get pid(): number {
    if (!this.running || this.#process?.pid === undefined) throw new Error("the daemon does not run");
    return this.#process.pid;
  }

  get running(): boolean {
    return this.#process !== undefined && this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** What the daemon of the last start has written, both streams. */
  get said(): string {
    return this.#said;
  }

  /** Starts the daemon in the foreground and waits until every socket answers. Throws what it said when it ends instead. */
  async start(): Promise<void> {
    if (this.running) throw new Error("the daemon runs already");
    const dirs = ["--state-dir", this.stateDir, "--run-dir", this.runDir, "--plugin-dir", this.pluginDir];
    const config = this.#withConfig ? ["--config", this.configFile] : [];
    const names = this.pluginNames.flatMap((name) => ["--plugin-name", name]);
    const args = [path.join(BIN, "rexray-sim.js"), "up", ...dirs, ...config, ...names];
    const daemon = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"], env: this.env });
    this.#process = daemon;
    this.#said = "";
    let ready = false;
    daemon.stdout.setEncoding("utf8").on("data", (part: string) => {
      this.#said += part;
      ready ||= /^ready/m.test(this.#said);
    });
    daemon.stderr.setEncoding("utf8").on("data", (part: string) => (this.#said += part));
    try {
      await waitFor(() => ready || !this.running, {
        what: "the daemon to say that it is ready",
        deadline: START_LIMIT,
      });
      if (!ready) throw new Error("it ended");
      for (const name of this.pluginNames) await connect(path.join(this.pluginDir, `${name}.sock`));
    } catch (error) {
      throw new Error(`the daemon did not start (status ${daemon.exitCode}): ${this.#said}`, { cause: error });
    }
  }

  /** Sends the daemon a signal that ends it, and waits for that. Volumes stay served. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (!this.running) return;
    this.#process?.kill(signal);
    await waitFor(() => !this.running, { what: `the daemon to end after ${signal}`, deadline: START_LIMIT });
  }

  /** Kills the daemon and starts the next one, which finds the volumes of its predecessor. */
  async restart(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    await this.kill(signal);
    await this.start();
  }

  /** `rexray-sim down`: everything is unmounted and the daemon ends. Throws when it could not be. */
  async stop(): Promise<void> {
    const { code, stdout, stderr } = await this.cli("down");
    if (code !== 0) throw new Error(`down ended with status ${code}: ${stdout}${stderr}`);
    await waitFor(() => !this.running, { what: "the daemon to end after down" });
  }

  /** Runs `rexray-sim ARGS` on the instance and answers however it ends. */
  cli(...args: readonly string[]): Promise<RunResult> {
    return this.#program("rexray-sim.js", args);
  }

  /**
   * Runs `rexray-sim ARGS --json`, which must succeed, and returns what it printed, decoded. `status` is asked of the daemon as the
   * command does it, without a process: those who wait for something look fifty times a second.
   */
  async json<T>(...args: readonly string[]): Promise<T> {
    // A test may have its instance elsewhere: the command goes by the environment.
    const runDir = this.env["REXRAY_SIM_RUN_DIR"] ?? this.runDir;
    if (args.length === 1 && args[0] === "status") return (await new AdminClient(runDir).status()) as T;
    const { code, stdout, stderr } = await this.cli(...args, "--json");
    if (code !== 0) throw new Error(`rexray-sim ${args.join(" ")} ended with status ${code}: ${stderr}`);
    return JSON.parse(stdout) as T;
  }

  /** Runs `dvdcli ARGS` and answers however it ends. */
  dvdcli(...args: readonly string[]): Promise<RunResult> {
    return this.#program("dvdcli.js", args);
  }

  /**
   * Stops the instance as its user would, whatever state it is in, and removes its directories. Answers what that left
   * behind and had to be removed by force: nothing, when the product is right.
   */
  async destroy(): Promise<Leak[]> {
    const plugin = (name: string) => this.pluginNames.includes(name);
    const scope = { dir: this.dir, plugin, before: this.#before };
    // May fail, on purpose of the test even: what counts is what is left.
    await this.cli("down", "--force");
    const gone = () => findLeaks(scope).length === 0;
    await waitFor(gone, { what: "the instance to be gone", deadline: GONE_LIMIT }).catch(() => undefined);
    const leaks = findLeaks(scope);
    if (leaks.length > 0) removeLeaks(scope);
    fs.rmSync(this.dir, { recursive: true, force: true });
    return leaks;
  }

  #program(name: string, args: readonly string[]): Promise<RunResult> {
    const options: RunOptions = { env: this.env };
    return run(process.execPath, [path.join(BIN, name), ...args], options);
  }
}

/**
 * Starts an instance that lasts as long as the test. The test fails when the instance leaves anything on the machine: a
 * mount, a loop device, a process or a socket.
 */
export async function startSim(t: Test, options: SimOptions = {}): Promise<Sim> {
  const sim = new Sim(options);
  t.teardown(async () => {
    const leaks = await sim.destroy();
    if (leaks.length > 0)
      throw new Error(`left behind:\n${leaks.map(({ kind, what }) => `${kind} ${what}`).join("\n")}`);
  });
  await sim.start();
  return sim;
}

function connect(socketPath: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(socketPath, () => resolve(void socket.destroy()));
    socket.once("error", reject);
  });
}
