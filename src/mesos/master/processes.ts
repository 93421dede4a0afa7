import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { replaceFile } from "../../lib/atomic-file.ts";
import { kill } from "../../lib/kill.ts";
import { openLogFile } from "../../lib/log-file.ts";
import { killContainers, removeGroups } from "../host/container-files.ts";
import { killDockerContainers } from "../host/docker-engine.ts";
import type { AgentConfig } from "../task.ts";

const LOOK_MS = 20;
/** How long killed processes may take to be gone (ms). */
const SWEEP_MS = 2_000;

/** An agent's own directory among those of the run: sockets, its settings, its process id. */
export const runDirOf = (runDir: string, agent: string): string => path.join(runDir, "agents", agent);

/** Where its process reads its settings; it outlives the process, so that the agent's tasks are found again. */
const settingsFile = ({ socket }: AgentConfig): string => path.join(path.dirname(socket), "agent.json");

/** Agents that have been started with this run directory, whatever the configuration has now, and whether or not they live. */
export function knownAgents(runDir: string): AgentConfig[] {
  const dir = path.join(runDir, "agents");
  const names = fs.existsSync(dir) ? fs.readdirSync(dir) : [];
  return names.flatMap((name) => {
    try {
      return [JSON.parse(fs.readFileSync(path.join(dir, name, "agent.json"), "utf8")) as AgentConfig];
    } catch {
      // It was never started.
      return [];
    }
  });
}

/** Removes what an agent that has ended with its tasks has in the run directory, and the directory of all with the last one. */
export async function removeRunDir(runDir: string, agent: string): Promise<void> {
  const dir = runDirOf(runDir, agent);
  await fs.promises.rm(dir, { recursive: true, force: true });
  await fs.promises.rmdir(path.dirname(dir)).catch(() => undefined);
}

/** Starts an agent's process, which outlives the daemon. */
export async function startAgent(config: AgentConfig, program: string, log: (message: string) => void): Promise<void> {
  const file = settingsFile(config);
  await replaceFile(file, JSON.stringify(config));
  const logFile = path.join(config.workDir, "agent.log");
  const out = openLogFile(logFile);
  const child = spawn(process.execPath, [program, file], { stdio: ["ignore", out, out], detached: true, cwd: "/" });
  fs.closeSync(out);
  child.once("error", (error) => log(`agent ${config.name}: ${error.message}`));
  child.once("exit", (code) => {
    if (code !== 0 && code !== null) log(`agent ${config.name} has ended with status ${code}: ${logFile} says why`);
  });
  child.unref();
  if (child.pid !== undefined) fs.writeFileSync(pidFile(config), String(child.pid), { mode: 0o600 });
}

/** The agent's process, if it lives: a number may have gone to another program. */
export function pidOf(config: AgentConfig): number | null {
  try {
    const pid = Number(fs.readFileSync(pidFile(config), "utf8"));
    return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("mesos-agent.js") ? pid : null;
  } catch {
    return null;
  }
}

/** Ends an agent and its tasks at once, as a machine that is switched off would. Returns when its process is gone. */
export async function killAgent(config: AgentConfig): Promise<void> {
  const pid = pidOf(config);
  if (pid !== null) kill(pid, "SIGKILL");
  killContainers(metaDir(config));
  await killDockerContainers(config.name);
  while (pidOf(config) !== null) await pause(LOOK_MS);
}

/** After {@link killAgent}, when nothing keeps the tasks' processes from ending: takes away what their limits were set with. */
export async function sweepContainers(config: AgentConfig): Promise<void> {
  const end = Date.now() + SWEEP_MS;
  while (!removeGroups(metaDir(config)) && Date.now() < end) await pause(LOOK_MS);
}

const metaDir = ({ workDir }: AgentConfig) => path.join(workDir, "meta");

const pidFile = ({ socket }: AgentConfig) => path.join(path.dirname(socket), "agent.pid");
