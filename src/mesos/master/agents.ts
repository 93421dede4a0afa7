import fs from "node:fs";
import path from "node:path";
import { replaceFile } from "../../lib/atomic-file.ts";
import { SimError } from "../../lib/errors.ts";
import type { FaultFamily, FaultSpec } from "../../lib/fault.ts";
import { KeyedMutex } from "../../lib/mutex.ts";
import type { AgentState, AgentStatus, AgentsApi } from "../agents-api.ts";
import { AGENT_FAULTS, awayBy } from "../faults/types.ts";
import type { AgentConfig, AgentTask, Resources, TaskInfo } from "../task.ts";
import { AgentClient } from "./agent-client.ts";
import { AgentStates } from "./agent-states.ts";
import { departure } from "./departure.ts";
import { Ear } from "./ear.ts";
import { EngineWatch } from "./engine-watch.ts";
import { killAgent, pidOf, removeRunDir, runDirOf, startAgent, sweepContainers } from "./processes.ts";

/** An agent as it is configured. */
export interface AgentSettings {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly resources: Resources;
  /** First and last port that tasks are given. */
  readonly ports: readonly [number, number];
}

export interface AgentView extends AgentSettings, AgentStatus {
  readonly workDir: string;
}

export interface AgentsOptions {
  readonly agents: readonly AgentSettings[];
  readonly stateDir: string;
  readonly runDir: string;
  /** Where mesos-agent.js, mesos-executor.sh and dvdcli.js lie. */
  readonly binDir: string;
  readonly dvdcli: string | undefined;
  /** As long as an agent may be silent before it is taken for unreachable (s). */
  readonly timeoutSeconds: number;
  /** Where a simulated host's volumes are mounted. */
  readonly volumesDir: (host: string) => string;
  /** Serves the volumes of a simulated host in this directory of sockets. */
  readonly servePlugins: (host: string, dir: string) => Promise<{ close(): Promise<void> }>;
  /** Fences a host's storage: it can neither write any more nor have anything mounted, until it is back. */
  readonly loseHost: (host: string) => Promise<void>;
  readonly hostIsBack: (host: string) => void;
  readonly log: (message: string) => void;
}

/** What the framework is told. */
export interface AgentListener {
  /** A task has changed; told again after every start of the daemon. */
  readonly task: (agent: string, task: AgentTask) => void;
  /** All that an agent knows has been told: tasks that it does not know are gone. */
  readonly known: (agent: string, taskIds: ReadonlySet<string>) => void;
  /** stopped: its tasks were ended in order; lost: they died with it; unreachable: nobody knows. */
  readonly left: (agent: string, state: AgentState) => void;
  /** What waits may find a place now. */
  readonly lookAgain: () => void;
}

interface Member {
  readonly settings: AgentSettings;
  readonly config: AgentConfig;
  readonly client: AgentClient;
  readonly ear: Ear;
  pid: number | null;
  /** Breaks off a stop that is under way. */
  stopping?: AbortController;
  plugins?: { close(): Promise<void> };
}

/** How long an agent may take to leave when all end. */
const LEAVE_MS = 10_000;

/** The simulated agents: starts their processes, keeps them alive, listens to them, and lets them be lost. */
export class Agents implements AgentsApi, FaultFamily {
  readonly kinds = AGENT_FAULTS;
  readonly #options: AgentsOptions;
  readonly #members: readonly Member[];
  readonly #states: AgentStates;
  /** An agent's orders wait for each other. */
  readonly #orders = new KeyedMutex();
  readonly #engine = new EngineWatch();
  #listener: AgentListener | undefined;
  #faults: readonly FaultSpec[] = [];
  #closed = false;

  /** Throws state_corrupt. */
  constructor(options: AgentsOptions) {
    this.#options = options;
    this.#states = new AgentStates(path.join(options.stateDir, "agents.json"));
    this.#members = options.agents.map((settings, index) => {
      const run = runDirOf(options.runDir, settings.name);
      const config: AgentConfig = {
        name: settings.name,
        id: `${index.toString(16).padStart(8, "0")}-S${index}`,
        workDir: path.join(options.stateDir, "agents", settings.name),
        socket: path.join(run, "agent.sock"),
        pluginDir: path.join(run, "plugins"),
        volumesDir: options.volumesDir(settings.name),
        dvdcli: options.dvdcli ?? path.join(options.binDir, "dvdcli.js"),
        faultsFile: path.join(run, "faults.json"),
        executor: path.join(options.binDir, "mesos-executor.sh"),
        mountTimeoutSeconds: 120,
        unmountTimeoutSeconds: 600,
      };
      const client = new AgentClient(config.socket);
      const { name } = settings;
      const ear = new Ear({
        client,
        timeoutMs: options.timeoutSeconds * 1000,
        task: (task) => this.#listener?.task(name, task),
        known: (taskIds) => this.#orders.run(name, () => this.#heard(name, taskIds)),
        silent: () => this.#orders.run(name, () => this.#silent(name)),
        revive: () => this.#revive(name),
        log: (message) => options.log(`agent ${name}: ${message}`),
      });
      return { settings, config, client, ear, pid: null };
    });
  }

  /** Serves every agent's plugins, starts those agents that are to run, and ends what others have left to do. */
  async start(listener: AgentListener): Promise<void> {
    this.#listener = listener;
    await this.#engine.start(() => listener.lookAgain());
    for (const member of this.#members) {
      const { name } = member.settings;
      fs.mkdirSync(member.config.pluginDir, { recursive: true, mode: 0o755 });
      // Users of tasks pass through it to their sandboxes.
      fs.mkdirSync(member.config.workDir, { recursive: true, mode: 0o711 });
      member.plugins = await this.#options.servePlugins(name, member.config.pluginDir);
      member.pid = pidOf(member.config);
      const { state } = this.#states.of(name);
      if (state === "running") member.ear.listen();
      // The daemon may have died between the word and the deed. Unreachable ones wait for the faults to be known.
      else if (state === "lost") await this.#orders.run(name, () => this.#gone(member));
      else if (state === "stopped") this.#inBackground(name, () => this.#leave(member));
      else listener.left(name, state);
    }
  }

  list(): AgentView[] {
    return this.#members.map(({ settings, config, pid }) => ({
      ...settings,
      id: config.id,
      workDir: config.workDir,
      docker: this.#engine.answers,
      ...this.#states.of(settings.name),
      pid,
    }));
  }

  /** What the agent has told of; of those that have ended only the last ones. */
  tasks(agent: string): readonly AgentTask[] {
    return this.#member(agent).ear.tasks;
  }

  /** Throws when the agent cannot be reached. */
  async launch(agent: string, info: TaskInfo): Promise<void> {
    await this.#reachable(agent).client.launch(info);
  }

  /** Throws when the agent cannot be reached. */
  async kill(agent: string, taskId: string): Promise<void> {
    await this.#reachable(agent).client.kill(taskId);
  }

  /** Graceful: tasks are ended, volumes given back, then the agent leaves. Throws not_found, unavailable. */
  async stop(agent: string): Promise<void> {
    const member = this.#member(agent);
    await this.#orders.run(agent, async () => {
      const state = this.#stateOf(member);
      if (state === "stopped") return;
      if (state !== "running")
        throw new SimError(
          "unavailable",
          `${agent} cannot leave in order: it is ${state}; \`rexray-sim agent kill ${agent}\` ends what it may still run`,
        );
      await this.#states.set(agent, "stopped");
      await this.#leave(member);
    });
  }

  /** The host is lost: its processes die at once, its storage is fenced, what it had mapped stays mapped. Throws not_found. */
  async lose(agent: string): Promise<void> {
    const member = this.#member(agent);
    // It need not wait for tasks that take their time to end.
    member.stopping?.abort();
    await this.#orders.run(agent, async () => {
      if (this.#stateOf(member) === "lost") return;
      await this.#states.set(agent, "lost");
      await this.#gone(member);
    });
  }

  /** Throws not_found, and unavailable when a fault keeps it away. */
  async restart(agent: string): Promise<void> {
    const member = this.#member(agent);
    await this.#orders.run(agent, async () => {
      const fault = this.#faults.find((one) => awayBy([one]) !== undefined && one.target === agent);
      if (this.#stateOf(member) === "running") return;
      if (fault !== undefined)
        throw new SimError(
          "unavailable",
          `${agent} cannot be started: fault ${fault.name} keeps it away; \`rexray-sim fault rm ${fault.name}\` brings it back`,
        );
      this.#options.hostIsBack(agent);
      await this.#states.set(agent, "running");
      if (!this.#closed) member.ear.listen();
    });
  }

  targets(): string[] {
    return this.#members.map(({ settings }) => settings.name);
  }

  /** As {@link FaultFamily} has it: agents look at their file of faults when they need it. */
  async apply(faults: readonly FaultSpec[], removed: readonly FaultSpec[]): Promise<void> {
    this.#faults = faults;
    for (const { settings, config } of this.#members) {
      fs.mkdirSync(path.dirname(config.faultsFile), { recursive: true, mode: 0o700 });
      await replaceFile(config.faultsFile, JSON.stringify(faults.filter(({ target }) => target === settings.name)));
    }
    // A fault may be on an agent that the configuration has no more.
    for (const member of this.#members) {
      const { name } = member.settings;
      const on = ({ target }: FaultSpec) => target === name;
      const away = awayBy(faults.filter(on));
      const before = awayBy(removed.filter(on));
      if (away === "host") await this.lose(name);
      else if (away === "network") await this.#cutOff(member);
      else if (before !== undefined && KEPT[before] === this.#stateOf(member)) await this.restart(name);
      // It was silent when the last daemon ended.
      else if (this.#stateOf(member) === "unreachable" && !member.ear.listens) member.ear.listen();
    }
  }

  /** @param drain end all tasks and agents too; else they go on, for the next daemon to find */
  async close({ drain }: { drain: boolean }): Promise<void> {
    this.#closed = true;
    this.#engine.stop();
    for (const { ear, stopping } of this.#members) {
      ear.stop();
      stopping?.abort();
    }
    if (drain) await Promise.all(this.#members.map((member) => this.#end(member)));
    await Promise.all(this.#members.map(({ plugins }) => plugins?.close()));
    if (!drain) return;
    for (const { config } of this.#members) await removeRunDir(this.#options.runDir, config.name);
  }

  /** In order if it answers, also when it is only just starting; by force if not. */
  async #end({ client, config }: Member): Promise<void> {
    await departure(config, { client, signal: AbortSignal.timeout(LEAVE_MS), log: this.#options.log });
    await killAgent(config);
    await sweepContainers(config);
  }

  /** It ends its tasks and leaves; in the end it has left and holds nothing, whatever became of its process meanwhile. */
  async #leave(member: Member): Promise<void> {
    const { config, ear, client } = member;
    ear.stop();
    const stopping = new AbortController();
    member.stopping = stopping;
    if (this.#closed) stopping.abort();
    await departure(config, {
      client,
      signal: stopping.signal,
      start: () => this.#start(config),
      told: (tasks) => ear.note(tasks),
      log: this.#options.log,
    });
    delete member.stopping;
    if (stopping.signal.aborted) return;
    // One that was killed over it has left tasks behind.
    await killAgent(config);
    await sweepContainers(config);
    member.pid = null;
    this.#listener?.left(config.name, "stopped");
  }

  /** The deed to the word that a host is lost; done again, it changes nothing. */
  async #gone(member: Member): Promise<void> {
    const { config, ear } = member;
    ear.stop();
    await killAgent(config);
    await this.#options.loseHost(config.name);
    member.pid = null;
    this.#listener?.left(config.name, "lost");
    // Processes that waited for their volume die of the fence.
    await sweepContainers(config);
  }

  /** Nobody listens to it any more; it does not know. */
  async #cutOff(member: Member): Promise<void> {
    const { name } = member.settings;
    await this.#orders.run(name, async () => {
      member.ear.stop();
      if (this.#stateOf(member) !== "running") return;
      await this.#states.set(name, "unreachable");
      this.#listener?.left(name, "unreachable");
    });
  }

  async #silent(name: string): Promise<void> {
    const member = this.#member(name);
    if (this.#stateOf(member) !== "running" || this.#closed) return;
    const { timeoutSeconds, log } = this.#options;
    log(`agent ${name} has not answered for ${timeoutSeconds} s and is taken for unreachable`);
    await this.#states.set(name, "unreachable");
    this.#listener?.left(name, "unreachable");
  }

  async #heard(name: string, taskIds: ReadonlySet<string>): Promise<void> {
    const member = this.#member(name);
    if (!member.ear.listens) return;
    if (this.#stateOf(member) === "unreachable") await this.#states.set(name, "running");
    member.pid = pidOf(member.config);
    this.#listener?.known(name, taskIds);
  }

  /** A process that is there and starting must not get a rival. */
  async #revive(name: string): Promise<void> {
    const { config } = this.#member(name);
    if (pidOf(config) !== null) return;
    await this.#orders.run(name, async () => {
      if (!this.#member(name).ear.listens || pidOf(config) !== null || this.#closed) return;
      await this.#start(config);
    });
  }

  #start(config: AgentConfig): Promise<void> {
    return startAgent(config, path.join(this.#options.binDir, "mesos-agent.js"), this.#options.log);
  }

  #inBackground(name: string, order: () => Promise<void>): void {
    this.#orders.run(name, order).catch((error) => this.#options.log(`agent ${name}: ${String(error)}`));
  }

  #stateOf({ settings }: Member): AgentState {
    return this.#states.of(settings.name).state;
  }

  #reachable(name: string): Member {
    const member = this.#member(name);
    const state = this.#stateOf(member);
    if (state !== "running") throw new SimError("unavailable", `${name} is ${state}`);
    return member;
  }

  #member(name: string): Member {
    const member = this.#members.find(({ settings }) => settings.name === name);
    if (member !== undefined) return member;
    const names = this.#members.map(({ settings }) => settings.name).join(", ") || "none";
    throw new SimError("not_found", `no agent is called "${name}"; there are ${names}`);
  }
}

/** The state in which a fault keeps an agent, which leaves it when the fault is taken away. */
const KEPT = { host: "lost", network: "unreachable" } as const satisfies Record<string, AgentState>;
