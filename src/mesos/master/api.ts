import express, { type ErrorRequestHandler, type Express } from "express";
import { type AgentTask, isTerminal, type TaskState } from "../task.ts";
import type { Agents, AgentView } from "./agents.ts";
import { filesRoutes } from "./files-api.ts";
import { metrics, renderAgent, renderTask, resourcesOf, stateOf, taskCounts } from "./render.ts";

/** Mesos' own endpoints that tools poll (spec/marathon.md 9), of the master and, below `/agent/<id>`, of each agent. */
export interface MesosApiOptions {
  readonly agents: Pick<Agents, "list">;
  /** Tasks of an agent, those that have ended too. */
  readonly tasks: (agent: string) => readonly AgentTask[];
  readonly frameworkId: string;
  readonly address: string;
  /** Of Marathon's API. */
  readonly marathonAddress: string;
  /** Whether answers may be scripts: those are read by whatever page includes them. */
  readonly jsonp: boolean;
}

const VERSION = "1.11.0";
/** Ended tasks that are shown: `--max_completed_tasks_per_framework`. */
const MOST_COMPLETED = 1000;

export function mesosApi(options: MesosApiOptions): Express {
  const { agents, tasks, frameworkId, address, marathonAddress } = options;
  const app = express();
  app.disable("x-powered-by").set("jsonp callback name", "jsonp");
  app.use((request, response, next) => {
    // A browser says where the page is from that asks.
    const foreign = ["cross-site", "same-site"].includes(request.get("sec-fetch-site") ?? "");
    if (options.jsonp && !foreign) response.json = response.jsonp;
    next();
  });
  const view = (agent: AgentView) => ({ ...renderAgent(agent, tasks(agent.name)), version: VERSION });
  const all = () =>
    agents.list().flatMap((agent) => tasks(agent.name).map((task) => renderTask(task, agent, frameworkId)));
  const startedAt = Date.now() / 1000;
  const framework = () => {
    const own = all();
    const ended = ({ state }: { state: TaskState }) => isTerminal(state);
    const reachable = own.filter((task) => !ended(task) && task.state !== "TASK_UNREACHABLE");
    const used = resourcesOf(reachable.map(({ resources }) => resources));
    return {
      id: frameworkId,
      name: "marathon",
      active: true,
      connected: true,
      hostname: address,
      webui_url: `http://${marathonAddress}`,
      user: "root",
      roles: ["*"],
      role: "*",
      checkpoint: true,
      failover_timeout: 604_800,
      registered_time: startedAt,
      resources: used,
      used_resources: used,
      offered_resources: resourcesOf([]),
      tasks: reachable,
      unreachable_tasks: own.filter(({ state }) => state === "TASK_UNREACHABLE"),
      completed_tasks: own.filter(ended).slice(-MOST_COMPLETED),
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
    start_time: startedAt,
    elected_time: startedAt,
    activated_slaves: agents.list().filter(({ state: one }) => one === "running").length,
    deactivated_slaves: 0,
    unreachable_slaves: agents.list().filter(({ state: one }) => one === "lost" || one === "unreachable").length,
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
    const { hostname, cluster, frameworks } = state();
    const slaves = agents.list().map((agent) => {
      const own = tasks(agent.name);
      return {
        ...view(agent),
        ...taskCounts(own.map((task) => ({ state: stateOf(task, agent) }))),
        framework_ids: [frameworkId],
      };
    });
    const slaveIds = agents.list().filter(({ name }) => tasks(name).length > 0);
    response.json({
      hostname,
      cluster,
      slaves,
      frameworks: frameworks.map((one) => ({ ...one, ...taskCounts(all()), slave_ids: slaveIds.map(({ id }) => id) })),
    });
  });
  app.get(
    both("slaves"),
    (_request, response) => void response.json({ slaves: agents.list().map(view), recovered_slaves: [] }),
  );
  app.get(
    both("frameworks"),
    (_request, response) => void response.json({ frameworks: [framework()], completed_frameworks: [] }),
  );
  app.get(both("roles"), (_request, response) => {
    const { used_resources: resources } = framework();
    response.json({ roles: [{ name: "*", weight: 1, frameworks: [frameworkId], resources }] });
  });
  app.get(both("redirect"), (_request, response) => response.redirect(307, `//${address}`));
  app.get(both("tasks"), (request, response) => {
    const text = (key: string) => (request.query[key] === undefined ? undefined : String(request.query[key]));
    const [offset, limit] = [Number(text("offset") ?? 0) || 0, Number(text("limit") ?? 100) || 0];
    const found = all()
      .filter(({ id }) => id === (text("task_id") ?? id))
      .filter((task) => task.framework_id === (text("framework_id") ?? task.framework_id));
    const sorted = text("order") === "asc" ? found : found.toReversed();
    response.json({ tasks: sorted.slice(offset, offset + limit) });
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
      queued_tasks: [],
      ...(isTerminal(task.status.state)
        ? { tasks: [], completed_tasks: [renderTask(task, agent, frameworkId)] }
        : { tasks: [renderTask(task, agent, frameworkId)], completed_tasks: [] }),
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
  filesRoutes(app, agents);
  app.use((_request, response) => void response.status(404).end());
  app.use(plainError);
  return app;
}

/** A request that cannot be answered: in a line of text, as Mesos has it. */
const plainError: ErrorRequestHandler = (error: unknown, _request, response, next) => {
  if (response.headersSent) return next(error);
  const known = typeof error === "object" && error !== null && "status" in error ? Number(error.status) : 500;
  return void response
    .status(known)
    .type("text/plain")
    .send(error instanceof Error ? error.message : String(error));
};
