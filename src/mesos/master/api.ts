import fs from "node:fs";
import path from "node:path";
import express, { type Express, type Response } from "express";
import type { AgentTask, TaskState } from "../task.ts";
import { isTerminal } from "../task.ts";
import type { Agents, AgentView } from "./agents.ts";

/** Mesos' own endpoints that tools poll (spec/marathon.md 9), of the master and, below `/agent/<id>`, of each agent. */
export interface MesosApiOptions {
  readonly agents: Pick<Agents, "list">;
  /** Tasks of an agent, those that have ended too. */
  readonly tasks: (agent: string) => readonly AgentTask[];
  readonly frameworkId: string;
  readonly address: string;
}

const MOST_READ = 64 * 1024;
const VERSION = "1.11.0";

export function mesosApi(options: MesosApiOptions): Express {
  const { agents, tasks, frameworkId, address } = options;
  const app = express();
  app.disable("x-powered-by");
  const view = (agent: AgentView) => renderAgent(agent, tasks(agent.name));
  const all = () =>
    agents.list().flatMap((agent) => tasks(agent.name).map((task) => renderTask(task, agent, frameworkId)));
  const framework = () => {
    const own = all();
    const ended = ({ state }: { state: TaskState }) => isTerminal(state);
    return {
      id: frameworkId,
      name: "marathon",
      active: true,
      connected: true,
      hostname: address,
      user: "root",
      roles: ["*"],
      role: "*",
      checkpoint: true,
      failover_timeout: 604_800,
      tasks: own.filter((task) => !ended(task) && task.state !== "TASK_UNREACHABLE"),
      unreachable_tasks: own.filter(({ state }) => state === "TASK_UNREACHABLE"),
      completed_tasks: own.filter(ended),
      executors: [],
      offers: [],
    };
  };
  const state = () => ({
    version: VERSION,
    id: frameworkId,
    pid: `master@${address}`,
    hostname: address.split(":")[0],
    leader: `master@${address}`,
    cluster: "rexray-sim",
    activated_slaves: agents.list().filter(({ state: one }) => one === "running").length,
    deactivated_slaves: 0,
    unreachable_slaves: agents.list().filter(({ state: one }) => one === "lost").length,
    flags: {},
    slaves: agents.list().map(view),
    frameworks: [framework()],
    completed_frameworks: [],
    orphan_tasks: [],
    unregistered_frameworks: [],
  });
  const both = (name: string) => [`/${name}`, `/master/${name}`, `/${name}.json`, `/master/${name}.json`];
  app.get(both("state"), (_request, response) => void response.json(state()));
  app.get(both("state-summary"), (_request, response) => {
    const { slaves, frameworks, hostname, cluster } = state();
    response.json({ hostname, cluster, slaves, frameworks });
  });
  app.get(
    both("slaves"),
    (_request, response) => void response.json({ slaves: agents.list().map(view), recovered_slaves: [] }),
  );
  app.get(
    both("frameworks"),
    (_request, response) => void response.json({ frameworks: [framework()], completed_frameworks: [] }),
  );
  app.get(both("tasks"), (request, response) => {
    const { limit = "100", offset = "0", order = "des", task_id: id } = request.query as Record<string, string>;
    const found = all().filter((task) => id === undefined || task.id === id);
    const sorted = order === "asc" ? found : found.toReversed();
    response.json({ tasks: sorted.slice(Number(offset), Number(offset) + Number(limit)) });
  });
  app.get(both("version"), (_request, response) => void response.json({ version: VERSION }));
  app.get(both("health"), (_request, response) => void response.status(200).end());
  app.get("/metrics/snapshot", (_request, response) => void response.json(metrics(agents.list(), all())));

  app.get(["/agent/:id/state", "/agent/:id/slave\\(1\\)/state", "/slave/:id/state"], (request, response) => {
    const agent = agents.list().find(({ id }) => id === request.params["id"]);
    if (agent === undefined) return void response.status(404).json({ message: "No such agent" });
    const own = tasks(agent.name);
    const executor = (task: AgentTask) => ({
      id: task.info.taskId,
      name: "",
      container: task.containerId,
      directory: task.directory,
      resources: task.info.resources,
      tasks: [renderTask(task, agent, frameworkId)],
      queued_tasks: [],
      completed_tasks: [],
    });
    const ended = own.filter(({ status }) => isTerminal(status.state));
    return void response.json({
      ...view(agent),
      flags: { work_dir: agent.workDir },
      master_hostname: address.split(":")[0],
      frameworks: [
        {
          id: frameworkId,
          name: "marathon",
          executors: own.filter(({ status }) => !isTerminal(status.state)).map(executor),
          completed_executors: ended.map(executor),
        },
      ],
      completed_frameworks: [],
    });
  });
  for (const prefix of ["", "/agent/:id", "/slave/:id"]) {
    app.get([`${prefix}/files/browse`, `${prefix}/files/browse.json`], (request, response) => {
      const file = sandboxFile(options, request.query["path"], response);
      if (file === undefined) return;
      const rows = fs.readdirSync(file).map((name) => {
        const { nlink, size, mtimeMs, uid, gid } = fs.statSync(path.join(file, name));
        return {
          path: path.join(file, name),
          nlink,
          size,
          mtime: Math.floor(mtimeMs / 1000),
          mode: "-rw-r--r--",
          uid: String(uid),
          gid: String(gid),
        };
      });
      response.json(rows);
    });
    app.get([`${prefix}/files/read`, `${prefix}/files/read.json`], (request, response) => {
      const file = sandboxFile(options, request.query["path"], response);
      if (file === undefined) return;
      const stat = fs.statSync(file);
      if (stat.isDirectory()) return void response.status(400).send("Cannot read a directory.");
      const offset = Number(request.query["offset"] ?? -1);
      if (offset < 0) return void response.json({ data: "", offset: stat.size });
      const buffer = Buffer.alloc(
        Math.min(MOST_READ, Number(request.query["length"] ?? MOST_READ), Math.max(0, stat.size - offset)),
      );
      const fd = fs.openSync(file, "r");
      const length = fs.readSync(fd, buffer, 0, buffer.length, offset);
      fs.closeSync(fd);
      return void response.json({ data: buffer.toString("utf8", 0, length), offset });
    });
    app.get(`${prefix}/files/download`, (request, response) => {
      const file = sandboxFile(options, request.query["path"], response);
      if (file !== undefined) response.download(file);
    });
  }
  return app;
}

/** A file below some agent's work directory, nothing else; answers the error itself. */
function sandboxFile({ agents }: MesosApiOptions, wanted: unknown, response: Response): string | undefined {
  if (typeof wanted !== "string") {
    response.status(400).send("Expecting 'path=value' in query.");
    return undefined;
  }
  try {
    const real = fs.realpathSync(wanted);
    if (agents.list().some(({ workDir }) => real.startsWith(`${fs.realpathSync(workDir)}/slaves/`))) return real;
  } catch {
    // Not there.
  }
  response.status(404).end();
  return undefined;
}

function renderAgent({ id, name, attributes, resources, ports, state, since }: AgentView, tasks: readonly AgentTask[]) {
  const live = tasks.filter(({ status }) => !isTerminal(status.state));
  const sum = (of: (task: AgentTask) => number) => live.reduce((total, task) => total + of(task), 0);
  return {
    id,
    hostname: name,
    port: 5051,
    pid: `slave(1)@${name}:5051`,
    attributes,
    active: state === "running",
    registered_time: Date.parse(since) / 1000,
    resources: { ...resources, gpus: 0, ports: `[${ports[0]}-${ports[1]}]` },
    used_resources: {
      cpus: sum(({ info }) => info.resources.cpus),
      mem: sum(({ info }) => info.resources.mem),
      disk: sum(({ info }) => info.resources.disk),
      gpus: 0,
    },
    offered_resources: { cpus: 0, mem: 0, disk: 0, gpus: 0 },
    reserved_resources: {},
    unreserved_resources: { ...resources, gpus: 0, ports: `[${ports[0]}-${ports[1]}]` },
    version: VERSION,
    capabilities: [],
  };
}

function renderTask({ info, status, containerId }: AgentTask, agent: AgentView, frameworkId: string) {
  return {
    id: info.taskId,
    name: info.name,
    framework_id: frameworkId,
    executor_id: "",
    slave_id: agent.id,
    state: status.state,
    role: "*",
    resources: { ...info.resources, gpus: 0 },
    labels: Object.entries(info.labels).map(([key, value]) => ({ key, value })),
    statuses: [
      {
        state: status.state,
        timestamp: Date.parse(status.timestamp) / 1000,
        container_status: { container_id: { value: containerId }, network_infos: [] },
      },
    ],
  };
}

function metrics(agents: readonly AgentView[], tasks: readonly { state: TaskState }[]): Record<string, number> {
  const count = (state: TaskState) => tasks.filter((task) => task.state === state).length;
  const total = (key: "cpus" | "mem" | "disk") => agents.reduce((sum, { resources }) => sum + resources[key], 0);
  return {
    "master/elected": 1,
    "master/uptime_secs": process.uptime(),
    "master/slaves_active": agents.filter(({ state }) => state === "running").length,
    "master/slaves_connected": agents.filter(({ state }) => state === "running").length,
    "master/slaves_disconnected": 0,
    "master/slaves_unreachable": agents.filter(({ state }) => state === "lost").length,
    "master/tasks_running": count("TASK_RUNNING"),
    "master/tasks_staging": count("TASK_STAGING"),
    "master/tasks_failed": count("TASK_FAILED"),
    "master/tasks_finished": count("TASK_FINISHED"),
    "master/tasks_killed": count("TASK_KILLED"),
    "master/tasks_lost": count("TASK_LOST"),
    "master/cpus_total": total("cpus"),
    "master/mem_total": total("mem"),
    "master/disk_total": total("disk"),
    "master/frameworks_active": 1,
  };
}
