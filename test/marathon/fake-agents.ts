import fs from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import type { Test } from "tap";
import { marathonApi } from "../../src/marathon/api/app.ts";
import { Marathon } from "../../src/marathon/marathon.ts";
import type { MarathonEvent } from "../../src/marathon/scheduler/events.ts";
import type { AgentListener, Agents, AgentView } from "../../src/mesos/master/agents.ts";
import { type AgentTask, isTerminal, type TaskInfo, type TaskState, type TaskStatus } from "../../src/mesos/task.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait.ts";
import { ask, type Caller } from "./world.ts";

/** Agents without processes: a task is what is said of it here. */
export class FakeAgents {
  /** Milliseconds from launch to TASK_RUNNING, and from kill to TASK_KILLED. */
  startMs = 1;
  killMs = 5;
  /** Tasks by these names are staged and never run. */
  readonly held = new Set<string>();
  readonly tasks = new Map<string, AgentTask & { readonly agent: string; killing?: boolean }>();
  readonly states = new Map<string, AgentView["state"]>();
  /** What has happened, in order: "TASK_RUNNING a.instance-…". */
  readonly log: string[] = [];
  resources = { cpus: 64, mem: 65_536, disk: 100_000 };
  #listener: AgentListener | undefined;

  async start(listener: AgentListener): Promise<void> {
    this.#listener = listener;
    for (const { name, state } of this.list()) if (state === "running") this.#tellAll(name);
  }

  async close(): Promise<void> {
    this.#listener = undefined;
  }

  list(): AgentView[] {
    return [1, 2, 3].map((number) => ({
      name: `agent-${number}`,
      id: `S${number}`,
      attributes: {},
      resources: this.resources,
      ports: [31_000 + number * 1000, 31_999 + number * 1000],
      state: this.states.get(`agent-${number}`) ?? "running",
      pid: 1,
      docker: true,
      since: "",
      workDir: "",
    }));
  }

  async launch(agent: string, info: TaskInfo): Promise<void> {
    const { taskId, name } = info;
    if (this.tasks.has(taskId)) return;
    const status = { taskId, state: "TASK_STAGING", message: "", timestamp: "" } as const;
    this.tasks.set(taskId, { agent, info, status, containerId: "", directory: "" });
    this.say(taskId, "TASK_STAGING");
    if (this.held.has(name)) return;
    await pause(this.startMs);
    this.say(taskId, "TASK_STARTING");
    this.say(taskId, "TASK_RUNNING");
  }

  async kill(_agent: string, taskId: string): Promise<void> {
    const task = this.tasks.get(taskId);
    if (task === undefined || task.killing === true) return;
    task.killing = true;
    this.say(taskId, "TASK_KILLING");
    await pause(this.killMs);
    this.say(taskId, "TASK_KILLED");
  }

  /** A task's agent tells of it. */
  say(taskId: string, state: TaskState, message = "", more: Partial<TaskStatus> = {}): void {
    const task = this.tasks.get(taskId);
    if (task === undefined || isTerminal(task.status.state)) return;
    const status = { taskId, state, message, timestamp: new Date().toISOString(), ...more };
    const told = { ...task, status };
    this.tasks.set(taskId, told);
    this.log.push(`${state} ${taskId}`);
    if ((this.states.get(task.agent) ?? "running") === "running") this.#listener?.task(task.agent, told);
  }

  /** Nobody hears of an agent any more; its tasks run on. */
  lose(agent: string, { tell = true } = {}): void {
    this.states.set(agent, "lost");
    if (tell) this.#listener?.left(agent, "lost");
  }

  back(agent: string): void {
    this.states.set(agent, "running");
    this.#tellAll(agent);
  }

  living(name?: string): AgentTask[] {
    return [...this.tasks.values()].filter(
      ({ info, status }) => !isTerminal(status.state) && (name === undefined || info.name === name),
    );
  }

  #tellAll(agent: string): void {
    const own = [...this.tasks.values()].filter((task) => task.agent === agent);
    for (const task of own) this.#listener?.task(agent, task);
    this.#listener?.known(agent, new Set(own.map(({ info }) => info.taskId)));
  }
}

/** The real Marathon and its API over agents that are not. */
export class FakeWorld {
  readonly events: MarathonEvent[] = [];

  constructor(
    readonly agents: FakeAgents,
    readonly dir: string,
    readonly marathon: Marathon,
    readonly url: string,
    readonly close: () => Promise<void>,
  ) {
    marathon.events.listen((event) => this.events.push(event));
  }

  readonly call: Caller = (method, url, body, headers) => ask(`${this.url}${url}`, method, body, headers);

  /** Waits until no deployment is under way. */
  async settled(): Promise<void> {
    await waitFor(() => this.marathon.store.deployments.length === 0, { what: "all deployments to end", every: 5 });
  }

  /** Posts an application and waits for its deployment to end. */
  async post(app: object): Promise<void> {
    const { status, body } = await this.call("POST", "/v2/apps", app);
    if (status !== 201) throw new Error(JSON.stringify(body));
    const { deployments } = this.marathon;
    await waitFor(() => deployments.of(body.id).length === 0, { what: `${body.id} to be deployed`, every: 2 });
  }

  /** As if nothing had ever been there. */
  async clear(): Promise<void> {
    for (const { versions } of this.marathon.apps()) await this.call("DELETE", `/v2/apps${versions[0]?.app.id}`);
    await this.settled();
    this.agents.tasks.clear();
    this.events.length = 0;
  }

  /** What API and scheduler say of an application. */
  async app(id: string) {
    return (await this.call("GET", `/v2/apps${id}`)).body.app;
  }

  types = (): string[] =>
    this.events.map(({ eventType, condition }) => (condition === undefined ? eventType : `${eventType} ${condition}`));
}

/** @param before a world that is no more, whose state directory and agents go on */
export async function fakeWorld(t: Test, before?: FakeWorld, { externalVolumes = true } = {}): Promise<FakeWorld> {
  const dir = before?.dir ?? tempDir("marathon");
  const agents = before?.agents ?? new FakeAgents();
  const log = (message: string) => t.comment(message);
  const marathon = new Marathon({ stateDir: dir, agents: agents as unknown as Agents, externalVolumes, log });
  await marathon.start();
  const server = http.createServer(marathonApi({ marathon, address: "[::1]:8080", mesos: "[::1]:5051", log }));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  let closed = false;
  const close = async () => {
    if (closed) return;
    closed = true;
    server.close();
    server.closeAllConnections();
    await marathon.close({ drain: false });
  };
  t.teardown(async () => {
    await close();
    fs.rmSync(dir, { recursive: true, force: true });
  });
  return new FakeWorld(agents, dir, marathon, `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close);
}

/** A small application. */
export const plain = (id: string, more: object = {}): Record<string, unknown> => ({
  id,
  cmd: "sleep 1000",
  cpus: 0.1,
  mem: 32,
  ...more,
});
