import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import type { Writable } from "node:stream";
import { kill } from "../../lib/kill.ts";
import { processId } from "../../lib/process-id.ts";
import { limitContainer } from "../host/cgroups.ts";
import { containerFiles, exitStatus, initOf, runs } from "../host/container-files.ts";
import type { TaskInfo } from "../task.ts";
import type { Bind } from "./isolator.ts";
import type { Namespace } from "./namespace.ts";
import { openOutput } from "./sandbox.ts";
import { commandAs, userOf } from "./users.ts";

/** How often the end of a task is looked for whose executor is not our child. */
const POLL_MS = 200;

export interface ContainerDirs {
  /** Where the executor keeps its files. */
  readonly meta: string;
  /** The task's working directory. */
  readonly sandbox: string;
}

/**
 * The processes of MESOS containers: a small executor for each, which outlives the agent, writes down how its task ended, and
 * is found again by its process id.
 */
export class Containers {
  readonly #executor: string;
  readonly #namespace: () => Promise<Namespace>;

  /**
   * @param executor mesos-executor.sh
   * @param namespace the one that tasks' own are made from
   */
  constructor(executor: string, namespace: () => Promise<Namespace>) {
    this.#executor = executor;
    this.#namespace = namespace;
  }

  /** Starts a task; `ended` is called with its exit status, also when an agent before this one had started it. */
  async start(
    { command, env, resources, user }: TaskInfo,
    { meta, sandbox }: ContainerDirs,
    binds: readonly Bind[],
    ended: (status: number) => void,
  ): Promise<void> {
    const namespace = await this.#namespace();
    const lines = binds.flatMap(({ source, target, readOnly }) => [source, target, readOnly ? "ro" : "rw"]);
    fs.writeFileSync(containerFiles(meta).binds, lines.map((line) => `${line}\n`).join(""), { mode: 0o600 });
    const groups = limitContainer(path.basename(meta), resources);
    fs.writeFileSync(containerFiles(meta).cgroups, groups.map((line) => `${line}\n`).join(""), { mode: 0o600 });
    const [out, err] = [openOutput(sandbox, "stdout"), openOutput(sandbox, "stderr")];
    const plain = "shell" in command ? ["/bin/sh", "-c", command.shell] : command.argv;
    const argv = user === undefined ? plain : commandAs(userOf(user), plain);
    const [enter = "", ...rest] = namespace.enter(["sh", this.#executor, "--task", meta, sandbox, ...argv]);
    const child = spawn(enter, rest, {
      cwd: sandbox,
      env: environment(env),
      stdio: ["ignore", out, err, namespace.fd, "pipe"],
      detached: true,
    });
    for (const fd of [out, err]) fs.closeSync(fd);
    this.#watch(child, meta, ended);
    const id = child.pid === undefined ? undefined : processId(child.pid);
    if (id !== undefined) fs.writeFileSync(containerFiles(meta).executor, JSON.stringify(id), { mode: 0o600 });
    // It begins when it is told to, and is told to when the next agent would find it. Should this one die before, it reads
    // the end of its input and begins nothing that nobody knows of.
    const go = child.stdio[4] as Writable;
    go.once("error", () => undefined).end(id === undefined ? "" : "go\n");
  }

  /** Watches a task that another agent process had started. */
  adopt({ meta }: ContainerDirs, ended: (status: number) => void): void {
    const look = () => {
      if (runs(meta)) return;
      clearInterval(timer);
      ended(exitStatus(meta));
    };
    const timer = setInterval(look, POLL_MS);
    look();
  }

  /** To the task, not to those that look after it. False when it is not there yet, so that nobody could hear it. */
  signal({ meta }: ContainerDirs, signal: "SIGTERM" | "SIGKILL"): boolean {
    const init = fs.existsSync(containerFiles(meta).started) ? initOf(meta) : undefined;
    if (init === undefined) return false;
    kill(init, signal);
    return true;
  }

  /** Runs a shell command in the task's namespaces; answers what is wrong, undefined when its status is 0. */
  run(
    { meta, sandbox }: ContainerDirs,
    command: string,
    env: Readonly<Record<string, string>>,
    timeoutMs: number,
  ): Promise<string | undefined> {
    const init = initOf(meta);
    if (init === undefined) return Promise.resolve("the task has ended");
    const words = ["--target", String(init), "--mount", "--pid", `--wd=${sandbox}`, "/bin/sh", "-c", command];
    const child = spawn("nsenter", words, { env: environment(env), stdio: "ignore", detached: true });
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        if (child.pid !== undefined) kill(-child.pid, "SIGKILL");
        resolve("Command timed out");
      }, timeoutMs);
      child.once("error", (error) => {
        clearTimeout(timer);
        resolve(error.message);
      });
      child.once("exit", (status, signal) => {
        clearTimeout(timer);
        resolve(status === 0 ? undefined : `Command exited with status ${status ?? signal}`);
      });
    });
  }

  #watch(child: ChildProcess, meta: string, ended: (status: number) => void): void {
    child.once("error", () => ended(127));
    child.once("exit", () => ended(exitStatus(meta)));
    child.unref();
  }
}

const environment = (env: Readonly<Record<string, string>>) => ({
  PATH: process.env["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin",
  ...env,
});
