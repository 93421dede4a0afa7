import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { StatusReport } from "../../admin/report.ts";
import { SimError } from "../../lib/errors.ts";
import { type Context, EXIT } from "../context.ts";
import { vitalChecks } from "../doctor-machine.ts";
import { warningsOf } from "../finding.ts";
import type { Database } from "./database.ts";
import { journal } from "./journal.ts";
import { findPostgres } from "./postgres.ts";
import { output } from "./process.ts";
import { findRedis } from "./redis.ts";

/** How long the database is written to in each state of the cluster. */
const SHOW_MS = 4_000;
/** How long the cluster may take to have two good copies of everything; it is a matter of seconds. */
const HEALTHY_MS = 120_000;
/** What may end the demo in the middle: it takes away what it has made all the same. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
const PLUGIN = "rexray-sim-demo";
const CONFIG = "simulator:\n  agents: 0\n  granularity: 256MB\n";

/**
 * `rexray-sim demo`: a database on a volume, a node that is lost under it, an engine that is killed, the rebuild, and the count
 * at the end. Everything is done by the commands that a user has, which are shown, on an instance of its own in a temporary
 * directory.
 */
export async function demo(context: Context): Promise<number> {
  for (const warning of warningsOf(vitalChecks())) context.err(`warning: ${warning}\n`);
  const database = findPostgres() ?? findRedis() ?? journal();
  const stage = new Stage(context);
  const leave = (signal: NodeJS.Signals) => stage.close(signal);
  for (const signal of SIGNALS) process.on(signal, leave);
  try {
    return await play(context, stage, database);
  } finally {
    await database.stop().catch(() => undefined);
    stage.clear();
    for (const signal of SIGNALS) process.off(signal, leave);
  }
}

async function play(context: Context, stage: Stage, database: Database): Promise<number> {
  const say = (text: string) => context.out(`\n== ${text}\n`);
  say("A cluster of four storage nodes, and a volume of which every byte is on two of them");
  await stage.sim("up", "--detach", "--plugin-name", PLUGIN);
  const volume = [`--volumedriver=${PLUGIN}`, "--volumename=demo"];
  const directory = (await stage.dvdcli("mount", ...volume, "--volumeopts=size=1")).trim();

  say(`On it: ${database.name}. From now on it is told one number after the other`);
  await database.start(directory);
  const writer = new Writer(database);
  await stage.watch(writer);

  say("A node loses its power");
  await stage.sim("sds", "stop", "sds-2");
  await stage.watch(writer);

  say("Its copies are made anew on the others, by themselves");
  await stage.untilHealthy(writer, ["sds-2"]);

  say("The engine that serves the volume is killed; the database does not notice");
  stage.killEngine();
  await stage.watch(writer);

  say("The node comes back");
  await stage.sim("sds", "start", "sds-2");
  await stage.untilHealthy(writer, []);

  say("Everything is unmounted, mounted again, and counted");
  const told = await writer.end();
  await database.stop();
  await stage.dvdcli("unmount", ...volume);
  await database.start((await stage.dvdcli("mount", ...volume)).trim());
  const there = new Set(await database.all());
  await database.stop();
  await stage.dvdcli("unmount", ...volume);
  const lost = told.filter((n) => !there.has(n));
  context.out(
    `${told.length} numbers were acknowledged, ${told.length - lost.length} are there, ${lost.length} lost\n`,
  );
  return lost.length === 0 ? EXIT.ok : EXIT.failed;
}

/** Tells a database numbers, one after the other, as long as it is wanted. */
class Writer {
  readonly told: number[] = [];
  slowest = 0;
  failed = 0;
  #wanted = true;
  readonly #done: Promise<void>;

  constructor(database: Database) {
    this.#done = this.#write(database);
  }

  async #write(database: Database): Promise<void> {
    for (let n = 1; this.#wanted; n++) {
      const began = performance.now();
      try {
        await database.add(n);
        this.told.push(n);
      } catch {
        this.failed++;
        await pause(100);
      }
      this.slowest = Math.max(this.slowest, performance.now() - began);
    }
  }

  async end(): Promise<readonly number[]> {
    this.#wanted = false;
    await this.#done;
    return this.told;
  }
}

/** The demo's own instance and what it shows of it. */
class Stage {
  readonly #context: Context;
  readonly #root = fs.mkdtempSync(path.join(os.tmpdir(), "rexray-sim-demo-"));
  readonly #env: NodeJS.ProcessEnv;
  readonly #program = fs.realpathSync(process.argv[1] ?? "");
  #closed: NodeJS.Signals | undefined;

  constructor(context: Context) {
    this.#context = context;
    const dir = (name: string) => path.join(this.#root, name);
    fs.mkdirSync(dir("state/volumes"), { recursive: true });
    // The database's user has to pass through.
    for (const one of [this.#root, dir("state"), dir("state/volumes")]) fs.chmodSync(one, 0o711);
    fs.writeFileSync(dir("config.yml"), CONFIG);
    this.#env = {
      ...process.env,
      REXRAY_SIM_STATE_DIR: dir("state"),
      REXRAY_SIM_RUN_DIR: dir("run"),
      REXRAY_SIM_PLUGIN_DIR: dir("plugins"),
      REXRAY_SIM_CONFIG: dir("config.yml"),
    };
  }

  sim(...args: string[]): Promise<string> {
    this.#context.out(`$ rexray-sim ${args.join(" ")}\n`);
    return this.#run(this.#program, args);
  }

  dvdcli(...args: string[]): Promise<string> {
    this.#context.out(`$ dvdcli ${args.join(" ")}\n`);
    return this.#run(path.join(path.dirname(this.#program), "dvdcli.js"), args);
  }

  async #status(): Promise<StatusReport> {
    return JSON.parse(await this.#run(this.#program, ["status", "--json"])) as StatusReport;
  }

  async #run(program: string, args: readonly string[]): Promise<string> {
    if (this.#closed !== undefined) throw new SimError("cancelled", `the demo was ended by ${this.#closed}`);
    return output(process.execPath, [program, ...args], this.#env);
  }

  /** What is being done comes to its end; nothing else is begun. */
  close(signal: NodeJS.Signals): void {
    this.#closed ??= signal;
  }

  /** Shows for a while how the writer gets on. */
  async watch(writer: Writer): Promise<void> {
    const end = performance.now() + SHOW_MS;
    while (performance.now() < end) {
      await this.#show(writer);
      await pause(1000);
    }
  }

  /** Until every chunk has two good copies; the nodes that are down do not count. Throws timed_out. */
  async untilHealthy(writer: Writer, down: readonly string[]): Promise<void> {
    const end = performance.now() + HEALTHY_MS;
    for (;;) {
      const { volumes, sds, reasons } = await this.#show(writer);
      const up = sds.every(({ name, state }) => state === "up" || down.includes(name));
      if (up && volumes.every(({ health }) => health === "ok")) return;
      if (performance.now() > end)
        throw new SimError("timed_out", `not healthy after ${HEALTHY_MS / 1000} s: ${reasons.join("; ")}`);
      await pause(500);
    }
  }

  async #show(writer: Writer): Promise<StatusReport> {
    const report = await this.#status();
    const { health, reasons } = report;
    const reason = reasons.find((text) => /rebuil|left/.test(text)) ?? reasons[0];
    const slowest = Math.round(writer.slowest);
    writer.slowest = 0;
    const count = `${writer.told.length} acknowledged, ${writer.failed} refused, slowest ${slowest} ms`;
    this.#context.out(`   ${health.padEnd(8)} ${count}${reason === undefined ? "" : `; ${reason}`}\n`);
    return report;
  }

  killEngine(): void {
    this.#context.out("$ kill -9 the volume's sdc-engine\n");
    const sdc = path.join(this.#root, "run/sdc");
    for (const entry of fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      try {
        const words = fs.readFileSync(`/proc/${entry}/cmdline`, "utf8");
        const cwd = fs.readlinkSync(`/proc/${entry}/cwd`);
        if (words.includes("sdc-engine.js") && cwd.startsWith(`${sdc}/`) && !cwd.includes(".spare"))
          process.kill(Number(entry), "SIGKILL");
      } catch {
        // It has ended, or is a kernel thread.
      }
    }
  }

  clear(): void {
    try {
      execFileSync(process.execPath, [this.#program, "down", "--force"], { env: this.#env, stdio: "ignore" });
    } catch {
      // It never started.
    }
    fs.rmSync(this.#root, { recursive: true, force: true });
  }
}
