import { randomUUID } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { probePort } from "../../lib/probe.ts";
import { readFaults } from "../faults/read-faults.ts";
import { isWithoutIsolator } from "../faults/types.ts";
import { forgetContainer } from "../host/cgroups.ts";
import { checkpointsOf, NO_STATUS } from "../host/container-files.ts";
import { type AgentConfig, type AgentTask, isTerminal, type TaskInfo, type TaskStatus } from "../task.ts";
import { Containers } from "./containers.ts";
import type { DockerContainers } from "./docker-containers.ts";
import { Dvdcli } from "./dvdcli.ts";
import { fetchFiles } from "./fetcher.ts";
import { followHealth } from "./health.ts";
import { hostBinds } from "./host-volumes.ts";
import { Isolator } from "./isolator.ts";
import { Namespace } from "./namespace.ts";
import { giveTo, sayAsExecutor } from "./sandbox.ts";
import { environmentOf } from "./task-environment.ts";
import { readTask, writeTask } from "./task-record.ts";
import { outcome, statusOf } from "./task-status.ts";
import { userOf } from "./users.ts";

interface Running extends AgentTask {
  status: TaskStatus;
  killed: boolean;
  seq: number;
  /** Ends its health check. */
  unfollow?: () => void;
  /** Breaks off what it still waits for before it starts. */
  readonly starting: AbortController;
}

/** Ended tasks that are still shown, so that their logs can be read. */
const MOST_ENDED = 1000;
/** How often it is looked whether a task that was asked to end has. */
const KILL_POLL_MS = 50;

/**
 * A Mesos-style agent: takes tasks, mounts their volumes, runs them, and tells what becomes of them. Everything that it has to
 * know after being killed is in the meta directory; the tasks themselves run on.
 */
export class Agent {
  readonly #config: AgentConfig;
  readonly #containers: Containers;
  readonly #isolator: Isolator;
  readonly #log: (message: string) => void;
  readonly #tasks = new Map<string, Running>();
  #dockerContainers: DockerContainers | undefined;
  #opened: Promise<Namespace> | undefined;
  #seq = 0;
  readonly #waiting = new Set<() => void>();

  constructor(config: AgentConfig, log: (message: string) => void) {
    this.#config = config;
    this.#log = log;
    this.#containers = new Containers(config.executor, () => this.#namespace());
    const { dvdcli: program, faultsFile, ...limits } = config;
    const dvdcli = new Dvdcli({
      ...limits,
      program,
      faults: () => readFaults(faultsFile),
      namespace: () => this.#namespace(),
    });
    try {
      dvdcli.check();
    } catch (error) {
      // Tasks without volumes, and DOCKER ones, do without it.
      log(String(error));
    }
    this.#isolator = new Isolator(dvdcli, checkpointsOf(config.workDir), log);
  }

  /** Finds the tasks of a former process again. */
  recover(): void {
    const dir = path.join(this.#config.workDir, "meta");
    fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
    const living = new Set<string>();
    for (const containerId of fs.readdirSync(dir)) {
      const task = readTask(path.join(dir, containerId));
      if (task === undefined) continue;
      const running: Running = {
        ...task,
        killed: task.status.state === "TASK_KILLING",
        seq: ++this.#seq,
        starting: new AbortController(),
      };
      this.#tasks.set(task.info.taskId, running);
      if (isTerminal(task.status.state)) continue;
      living.add(containerId);
    }
    this.#awaited(this.#isolator.recover(living));
    for (const task of this.#tasks.values()) if (living.has(task.containerId)) this.#adopt(task);
  }

  #adopt(task: Running): void {
    this.#follow(task);
    const ended = (status: number) => this.#ended(task, status);
    if (task.info.docker === undefined) this.#containers.adopt(this.#dirs(task), ended);
    else
      void this.#docker()
        .then((docker) => docker.adopt(task.containerId, task.directory, ended))
        .catch(() => ended(NO_STATUS));
    // Whom its end was asked of is not there any more.
    if (task.killed) this.#terminate(task);
  }

  /** Made once, and again when that has failed. */
  #namespace(): Promise<Namespace> {
    this.#opened ??= Namespace.open(this.#config).catch((error: unknown) => {
      this.#opened = undefined;
      throw error;
    });
    return this.#opened;
  }

  /** Loaded when it is needed: not every machine has Docker. */
  async #docker(): Promise<DockerContainers> {
    const { DockerContainers: Containers } = await import("./docker-containers.ts");
    this.#dockerContainers ??= new Containers(this.#config, this.#log);
    return this.#dockerContainers;
  }

  /** Returns at once; what becomes of it is told by {@link after}. A task that is known is left as it is. */
  launch(info: TaskInfo): void {
    if (this.#tasks.has(info.taskId)) return;
    const containerId = randomUUID();
    const { workDir, id } = this.#config;
    const runs = path.join(workDir, "slaves", id, "frameworks", info.frameworkId, "executors", info.taskId, "runs");
    const directory = path.join(runs, containerId);
    const status = statusOf(info.taskId, "TASK_STAGING", "");
    const task: Running = {
      info,
      status,
      containerId,
      directory,
      killed: false,
      seq: 0,
      starting: new AbortController(),
    };
    // Whose tasks there are is nobody else's business; the sandbox itself is open, as Mesos' are.
    fs.mkdirSync(runs, { recursive: true, mode: 0o711 });
    fs.mkdirSync(directory, { mode: 0o755 });
    for (const name of ["stdout", "stderr"]) fs.writeFileSync(path.join(directory, name), "");
    fs.mkdirSync(this.#dirs(task).meta, { recursive: true, mode: 0o700 });
    fs.rmSync(path.join(runs, "latest"), { force: true });
    fs.symlinkSync(containerId, path.join(runs, "latest"));
    this.#tasks.set(info.taskId, task);
    this.#tell(task, status);
    void this.#start(task);
    this.#forgetOld();
  }

  /** SIGTERM, and SIGKILL when the grace period is over. */
  kill(taskId: string): void {
    const task = this.#tasks.get(taskId);
    if (task === undefined || task.killed || isTerminal(task.status.state)) return;
    task.killed = true;
    task.unfollow?.();
    const wasRunning = task.status.state === "TASK_RUNNING";
    this.#tell(task, statusOf(taskId, "TASK_KILLING", ""));
    if (wasRunning) this.#terminate(task);
    else task.starting.abort();
  }

  /** The tasks that have changed since; waits for the first change. */
  async after(seq: number, waitMs: number): Promise<{ seq: number; tasks: AgentTask[] }> {
    if (this.#seq <= seq) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          clearTimeout(timer);
          this.#waiting.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, waitMs);
        this.#waiting.add(wake);
      });
    }
    const tasks = [...this.#tasks.values()].filter((task) => task.seq > seq);
    return {
      seq: this.#seq,
      tasks: tasks.map(({ info, status, containerId, directory }) => ({ info, status, containerId, directory })),
    };
  }

  /** Before the agent leaves for good: every task ended, every volume given back. */
  async drain(): Promise<void> {
    const living = () => [...this.#tasks.values()].filter(({ status }) => !isTerminal(status.state));
    while (living().length > 0) {
      for (const { info } of living()) this.kill(info.taskId);
      await this.after(this.#seq, 1000);
    }
    await Promise.all([...this.#cleanups]);
  }

  readonly #cleanups = new Set<Promise<unknown>>();

  async #start(task: Running): Promise<void> {
    const { info, containerId, directory } = task;
    const { signal } = task.starting;
    try {
      await fetchFiles(info.fetch, directory, signal);
      // As with Mesos, the sandbox is the task's user's; its volumes are whose their files are.
      if (info.user !== undefined && info.docker === undefined) giveTo(directory, userOf(info.user));
      if (info.docker !== undefined) {
        this.#starting(task);
        const dockerInfo = { ...info, docker: info.docker, env: environmentOf(task, this.#config) };
        const docker = await this.#docker();
        const addresses = await docker.start(dockerInfo, { containerId, sandbox: directory, signal }, (status) =>
          this.#ended(task, status),
        );
        this.#started(task, addresses);
        return;
      }
      const bare = isWithoutIsolator(readFaults(this.#config.faultsFile));
      const volumes = bare ? [] : await this.#isolator.prepare(containerId, info.volumes, directory);
      const binds = [...volumes, ...hostBinds(info, directory)];
      if (task.killed) return this.#ended(task, NO_STATUS);
      sayAsExecutor(directory, [
        "Received SUBSCRIBED event",
        `Subscribed executor on ${this.#config.name}`,
        "Received LAUNCH event",
        `Starting task ${info.taskId}`,
      ]);
      this.#starting(task);
      await this.#containers.start(
        { ...info, env: environmentOf(task, this.#config) },
        this.#dirs(task),
        binds,
        (status) => this.#ended(task, status),
      );
      this.#started(task);
    } catch (error) {
      if (task.killed) return this.#ended(task, NO_STATUS);
      const text = error instanceof Error ? error.message : String(error);
      this.#finish(task, {
        ...statusOf(
          info.taskId,
          "TASK_FAILED",
          `Failed to ${info.docker === undefined ? "launch container" : "run docker container"}: ${text}`,
        ),
        reason: "REASON_CONTAINER_LAUNCH_FAILED",
      });
    }
  }

  /** It is the executor's now. */
  #starting(task: Running): void {
    if (!task.killed) this.#tell(task, statusOf(task.info.taskId, "TASK_STARTING", ""));
  }

  #started(task: Running, addresses: readonly string[] = []): void {
    const status = statusOf(task.info.taskId, task.killed ? "TASK_KILLING" : "TASK_RUNNING", "");
    this.#tell(task, addresses.length === 0 ? status : { ...status, addresses });
    if (task.killed) this.#terminate(task);
    else this.#follow(task);
  }

  /** Makes the health check of a task that runs. */
  #follow(task: Running): void {
    const { healthCheck, taskId } = task.info;
    if (healthCheck === undefined || task.status.state !== "TASK_RUNNING") return;
    task.unfollow = followHealth(healthCheck, {
      run: async (command, timeoutMs) =>
        task.info.docker === undefined
          ? this.#containers.run(this.#dirs(task), command, environmentOf(task, this.#config), timeoutMs)
          : (await this.#docker()).run(task.containerId, command, timeoutMs),
      probe: async (probe) =>
        task.info.docker === undefined ? probePort(probe) : (await this.#docker()).probe(task.containerId, probe),
      tell: (healthy, why = "") => {
        if (task.status.state === "TASK_RUNNING")
          this.#tell(task, { ...task.status, healthy, message: why, timestamp: new Date().toISOString() });
      },
      kill: () => this.kill(taskId),
    });
  }

  #terminate(task: Running): void {
    if (task.info.docker !== undefined) {
      const { containerId, info } = task;
      void this.#docker()
        .then((docker) => docker.stop(containerId, info.killGraceSeconds))
        .catch((error: unknown) => this.#log(`task ${info.taskId}: ${error instanceof Error ? error.message : error}`));
      return;
    }
    const end = performance.now() + task.info.killGraceSeconds * 1000;
    let told = false;
    const look = () => {
      if (isTerminal(task.status.state)) return;
      if (!told) told = this.#containers.signal(this.#dirs(task), "SIGTERM");
      if (performance.now() >= end) this.#containers.signal(this.#dirs(task), "SIGKILL");
      setTimeout(look, KILL_POLL_MS);
    };
    look();
  }

  #ended(task: Running, exit: number): void {
    if (isTerminal(task.status.state)) return;
    this.#finish(task, { ...outcome(task, exit), timestamp: new Date().toISOString(), taskId: task.info.taskId });
  }

  /** As in Mesos the status is told first, and then the volumes are given back. */
  #finish(task: Running, status: TaskStatus): void {
    task.unfollow?.();
    this.#tell(task, status);
    forgetContainer(task.containerId);
    this.#awaited(
      this.#isolator
        .cleanup(task.containerId)
        .catch((error: unknown) =>
          this.#log(`task ${task.info.taskId}: ${error instanceof Error ? error.message : error}`),
        ),
    );
  }

  /** An agent does not leave before volumes are given back. */
  #awaited(cleanup: Promise<unknown>): void {
    const counted = cleanup.finally(() => this.#cleanups.delete(counted));
    this.#cleanups.add(counted);
  }

  #tell(task: Running, status: TaskStatus): void {
    task.status = status;
    task.seq = ++this.#seq;
    writeTask(this.#dirs(task).meta, task);
    for (const wake of [...this.#waiting]) wake();
  }

  #dirs({ containerId, directory }: AgentTask): { meta: string; sandbox: string } {
    return { meta: path.join(this.#config.workDir, "meta", containerId), sandbox: directory };
  }

  #forgetOld(): void {
    const ended = [...this.#tasks.values()].filter(({ status }) => isTerminal(status.state));
    for (const task of ended.slice(0, Math.max(0, ended.length - MOST_ENDED))) {
      this.#tasks.delete(task.info.taskId);
      fs.rmSync(this.#dirs(task).meta, { recursive: true, force: true });
      // The executor's directory: it has had this one run.
      fs.rmSync(path.resolve(task.directory, "../.."), { recursive: true, force: true });
    }
  }
}
