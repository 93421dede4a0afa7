import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { killContainers } from "../agent/containers.ts";
import type { AgentConfig } from "../task.ts";

const LOOK_MS = 20;

/** An agent's own directory among those of the run: sockets, its settings, its process id. */
export const runDirOf = (runDir: string, agent: string): string => path.join(runDir, "agents", agent);

/** Where its process reads its settings; it outlives the process, so that the agent's tasks are found again. */
export const settingsFile = ({ socket }: AgentConfig): string => path.join(path.dirname(socket), "agent.json");

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

export function recordPid(config: AgentConfig, pid: number): void {
  fs.writeFileSync(pidFile(config), String(pid), { mode: 0o600 });
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
  if (pid !== null) killProcess(pid);
  killContainers(path.join(config.workDir, "meta"));
  await killDocker(config.name);
  while (pidOf(config) !== null) await pause(LOOK_MS);
}

/** Whether there is the socket of a Docker engine, as its clients find it. */
export function hasDocker(): boolean {
  const host = process.env["DOCKER_HOST"] ?? "unix:///var/run/docker.sock";
  return !host.startsWith("unix://") || fs.existsSync(host.slice("unix://".length));
}

const pidFile = ({ socket }: AgentConfig) => path.join(path.dirname(socket), "agent.pid");

async function killDocker(agent: string): Promise<void> {
  if (!hasDocker()) return;
  const { killDockerContainers } = await import("../agent/docker-containers.ts");
  // An engine that does not answer runs nothing.
  await killDockerContainers(agent).catch(() => undefined);
}

function killProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}
