import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { replaceFile } from "../../lib/atomic-file.ts";
import { SimError } from "../../lib/errors.ts";
import type { FaultFamily, FaultSpec } from "../../lib/fault.ts";
import { openLogFile } from "../../lib/log-file.ts";
import type { AgentState, AgentStatus, AgentsApi } from "../agents-api.ts";
import { AGENT_FAULTS, AGENT_LOST, AGENT_PARTITIONED } from "../faults/types.ts";
import type { AgentConfig, AgentTask, Resources, TaskInfo } from "../task.ts";
import { AgentClient } from "./agent-client.ts";
import { hasDocker, killAgent, pidOf, recordPid, removeRunDir, runDirOf, settingsFile } from "./processes.ts";

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
  /** Where a simulated host's volumes are mounted. */
  readonly volumesDir: (host: string) => string;
  /** Serves the volumes of a simulated host in this directory of sockets. */
  readonly servePlugins: (host: string, dir: string) => Promise<{ close(): Promise<void> }>;
  /** Fences a host's storage. */
  readonly loseHost: (host: string) => Promise<void>;
  readonly log: (message: string) => void;
}

/** What the framework is told. */
export interface AgentListener {
  /** A task has changed; told again after every start of the daemon. */
  readonly task: (agent: string, task: AgentTask) => void;
  /** All that an agent knows has been told: tasks that it does not know are gone. */
  readonly known: (agent: string, taskIds: ReadonlySet<string>) => void;
  /** stopped: its tasks were ended in order; lost: nobody knows. */
  readonly left: (agent: string, state: AgentState) => void;
}

interface Member {
  readonly settings: AgentSettings;
  readonly config: AgentConfig;
  readonly client: AgentClient;
  /** As it has told them. */
  readonly tasks: Map<string, AgentTask>;
  state: AgentState;
  since: string;
  pid: number | null;
  plugins?: { close(): Promise<void> };
}

const WAIT_MS = 10_000;
const RESTART_MS = 300;
/** How long an agent may take to answer and leave, and how often it is looked for. */
const LEAVE_MS = 10_000;
const LOOK_MS = 20;
const LEAVE_LOOKS = 25;

/** The simulated agents: starts their processes, keeps them alive, listens to them, and lets them be lost. */
export class Agents implements AgentsApi, FaultFamily {
  readonly kinds = AGENT_FAULTS;
  readonly #options: AgentsOptions;
  readonly #members: readonly Member[];
  #listener: AgentListener | undefined;
  #faults: readonly FaultSpec[] = [];
  #closed = false;

  constructor(options: AgentsOptions) {
    this.#options = options;
    const known = readStates(this.#file);
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
      const { state = "running", since = now() } = known[settings.name] ?? {};
      return { settings, config, client, tasks: new Map(), state, since, pid: null };
    });
  }

  /** Serves every agent's plugins and starts those agents that are to run. */
  async start(listener: AgentListener): Promise<void> {
    this.#listener = listener;
    for (const member of this.#members) {
      fs.mkdirSync(member.config.pluginDir, { recursive: true, mode: 0o755 });
      fs.mkdirSync(member.config.workDir, { recursive: true, mode: 0o755 });
      member.plugins = await this.#options.servePlugins(member.settings.name, member.config.pluginDir);
      if (member.state === "running") void this.#keep(member);
    }
  }

  list(): AgentView[] {
    return this.#members.map(({ settings, config, state, since, pid }) => ({
      ...settings,
      id: config.id,
      workDir: config.workDir,
      docker: hasDocker(),
      state,
      since,
      pid,
    }));
  }

  /** All that the agent has told of; those that have ended too. */
  tasks(agent: string): readonly AgentTask[] {
    return [...this.#member(agent).tasks.values()];
  }

  /** Throws when the agent's process does not answer. */
  async launch(agent: string, info: TaskInfo): Promise<void> {
    await this.#member(agent).client.launch(info);
  }

  async kill(agent: string, taskId: string): Promise<void> {
    await this.#member(agent).client.kill(taskId);
  }

  /** Graceful: tasks are ended, volumes given back, then the agent leaves. Throws not_found. */
  async stop(agent: string): Promise<void> {
    const member = this.#member(agent);
    if (member.state !== "running") return;
    await this.#become(member, "stopped");
    await member.client.drain().catch((error) => this.#options.log(`agent ${agent}: ${String(error)}`));
    this.#listener?.left(agent, "stopped");
  }

  /** The host is lost: its processes die at once, its storage is fenced, what it had mapped stays mapped. Throws not_found. */
  async lose(agent: string): Promise<void> {
    const member = this.#member(agent);
    if (member.state === "lost") return;
    await this.#become(member, "lost");
    await killAgent(member.config);
    await this.#options.loseHost(agent);
    this.#listener?.left(agent, "lost");
  }

  /** Nobody listens to it any more; it does not know. */
  async #cutOff(agent: string): Promise<void> {
    const member = this.#member(agent);
    if (member.state === "lost") return;
    await this.#become(member, "lost");
    this.#listener?.left(agent, "lost");
  }

  /** Throws not_found, and unavailable when a fault keeps it away. */
  async restart(agent: string): Promise<void> {
    const member = this.#member(agent);
    if (member.state === "running") return;
    const fault = this.#faults.find((one) => isAway(one) && one.target === agent);
    if (fault !== undefined)
      throw new SimError(
        "unavailable",
        `${agent} cannot be started: fault ${fault.name} keeps it lost; \`rexray-sim fault rm ${fault.name}\` brings it back`,
      );
    await this.#become(member, "running");
    void this.#keep(member);
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
    for (const name of this.targets()) {
      const types = faults.filter(({ target }) => target === name).map(({ type }) => type);
      if (types.includes(AGENT_LOST)) await this.lose(name);
      else if (types.includes(AGENT_PARTITIONED)) await this.#cutOff(name);
      else if (removed.some((fault) => fault.target === name && isAway(fault))) await this.restart(name);
    }
  }

  /** @param drain end all tasks and agents too; else they go on, for the next daemon to find */
  async close({ drain }: { drain: boolean }): Promise<void> {
    this.#closed = true;
    if (drain) await Promise.all(this.#members.map((member) => this.#end(member)));
    await Promise.all(this.#members.map(({ plugins }) => plugins?.close()));
    if (!drain) return;
    for (const { config } of this.#members) await removeRunDir(this.#options.runDir, config.name);
  }

  /** In order if it answers, also when it is only just starting; by force if not. */
  async #end({ client, config }: Member): Promise<void> {
    const { name } = config;
    const end = Date.now() + LEAVE_MS;
    while (pidOf(config) !== null && Date.now() < end) {
      await client.drain().catch((error) => this.#options.log(`agent ${name}: ${String(error)}`));
      for (let i = 0; i < LEAVE_LOOKS && pidOf(config) !== null; i++) await pause(LOOK_MS);
    }
    if (pidOf(config) !== null) await killAgent(config);
  }

  /** Listens to an agent as long as it is to run; starts its process whenever nobody answers. */
  async #keep(member: Member): Promise<void> {
    let seq = 0;
    while (member.state === "running" && !this.#closed) {
      try {
        const answer = await member.client.tasks(seq, seq === 0 ? 0 : WAIT_MS);
        if (member.state !== "running" || this.#closed) return;
        for (const task of answer.tasks) {
          member.tasks.set(task.info.taskId, task);
          this.#listener?.task(member.settings.name, task);
        }
        if (seq === 0) {
          member.pid = pidOf(member.config);
          this.#listener?.known(member.settings.name, new Set(answer.tasks.map(({ info }) => info.taskId)));
        }
        seq = Math.max(answer.seq, 1);
      } catch {
        if (this.#closed || member.state !== "running") return;
        // A process that is there and starting must not get a rival.
        if (pidOf(member.config) === null) await this.#spawn(member);
        seq = 0;
        await pause(RESTART_MS);
      }
    }
  }

  async #spawn({ config }: Member): Promise<void> {
    const file = settingsFile(config);
    await replaceFile(file, JSON.stringify(config));
    const log = openLogFile(path.join(config.workDir, "agent.log"));
    const program = path.join(this.#options.binDir, "mesos-agent.js");
    const child = spawn(process.execPath, [program, file], { stdio: ["ignore", log, log], detached: true, cwd: "/" });
    child.once("error", (error) => this.#options.log(`agent ${config.name}: ${error.message}`));
    child.unref();
    fs.closeSync(log);
    if (child.pid !== undefined) recordPid(config, child.pid);
  }

  async #become(member: Member, state: AgentState): Promise<void> {
    member.pid = pidOf(member.config);
    member.state = state;
    member.since = now();
    const states = Object.fromEntries(
      this.#members.map(({ settings, ...rest }) => [settings.name, { state: rest.state, since: rest.since }]),
    );
    await replaceFile(this.#file, JSON.stringify(states));
  }

  #member(name: string): Member {
    const member = this.#members.find(({ settings }) => settings.name === name);
    if (member !== undefined) return member;
    const names = this.#members.map(({ settings }) => settings.name).join(", ") || "none";
    throw new SimError("not_found", `no agent is called "${name}"; there are ${names}`);
  }

  get #file(): string {
    return path.join(this.#options.stateDir, "agents.json");
  }
}

function readStates(file: string): Record<string, { state: AgentState; since: string }> {
  if (!fs.existsSync(file)) return {};
  try {
    return JSON.parse(fs.readFileSync(file, "utf8")) as Record<string, { state: AgentState; since: string }>;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new SimError("state_corrupt", `${file} cannot be read (${why}): remove it, and all agents are started`);
  }
}

const isAway = ({ type }: FaultSpec) => type === AGENT_LOST || type === AGENT_PARTITIONED;

const now = () => new Date().toISOString();
