import type { Express, Request, Response } from "express";
import type { AppUpdate } from "../definition/app.ts";
import { absoluteId, readUpdate } from "../definition/define.ts";
import { TEXTS } from "../definition/texts.ts";
import { MarathonError } from "../definition/violations.ts";
import type { Marathon } from "../marathon.ts";
import { taskOf } from "../scheduler/instance.ts";
import { type AppRecord, current } from "../scheduler/store.ts";
import { answer, appEmbeds, bodyOf, checkTime, isTrue, methodNotAllowed, wantsText } from "./http.ts";
import { counts, renderApp, renderEndpoints, renderRunningApp, renderTask, renderTasks } from "./render.ts";

const ALL = new Set(["tasks", "counts", "deployments", "lastTaskFailure"]);
/** What may follow an application's id in a path; the id itself has as many parts as it likes. */
const SUFFIX = /^(?<id>\/.*?)\/(?<what>restart|tasks|versions)(?:\/(?<rest>[^/]+))?\/?$/;

/** `/v2/apps` (spec/marathon.md 6.2). */
export function appRoutes(app: Express, marathon: Marathon, address: string): void {
  app.get(/^\/v2\/apps\/?$/, (request, response) => {
    const embed = embedOf(request);
    const apps = marathon.apps().filter((record) => isWanted(record, request));
    response.json({ apps: apps.map((record) => renderRunningApp(marathon, record, embed)) });
  });
  app.post(/^\/v2\/apps\/?$/, async (request, response) => {
    const update = readUpdate(bodyOf(request));
    const id = absoluteId(update.id ?? "");
    const absent = () => {
      if (marathon.find(id) !== undefined) throw new MarathonError(409, TEXTS.tree.appExists(id));
    };
    const begun = await marathon.changes.make(() => [{ id, after: marathon.changes.define(id, update, undefined) }], {
      force: isTrue(request.query["force"]),
      absent,
      made: () => tellPost(marathon, request, id),
    });
    const record = marathon.app(id);
    const version = current(record);
    response.location(`http://${address}${id}`);
    answer(response, begun, 201, {
      ...renderApp(version),
      ...counts({ ...record, instances: [] }),
      deployments: [{ id: begun.deploymentId }],
    });
  });
  app.all(/^\/v2\/apps\/?$/, async (request, response) => {
    if (!["PUT", "PATCH"].includes(request.method)) throw methodNotAllowed();
    const updates = bodyOf(request);
    if (!Array.isArray(updates))
      throw new MarathonError(422, TEXTS.shape.message, { details: [{ path: "/", errors: [TEXTS.shape.array] }] });
    const read = updates.map((one) => readUpdate(one));
    const begun = await marathon.changes.make(
      () =>
        read.map((update) => {
          const id = absoluteId(update.id ?? "");
          const before = request.method === "PATCH" ? marathon.app(id) : marathon.find(id);
          return { id, after: marathon.changes.define(id, update, before && current(before).app) };
        }),
      { force: isTrue(request.query["force"]) },
    );
    answer(response, begun, 200, begun);
  });
  app.all(/^\/v2\/apps(?<path>\/.+)$/, async (request, response) => {
    const path = (request.params as Record<string, string>)["path"] as string;
    const { id, what, rest } = SUFFIX.exec(path)?.groups ?? {};
    if (id !== undefined && what === "restart" && rest === undefined) return restart(marathon, id, request, response);
    if (id !== undefined && what === "tasks") return tasks(marathon, id, rest, request, response);
    if (id !== undefined && what === "versions") return versions(marathon, id, rest, response);
    return one(marathon, path, request, response);
  });
}

async function one(marathon: Marathon, path: string, request: Request, response: Response): Promise<void> {
  const force = isTrue(request.query["force"]);
  if (request.method === "GET" && path.endsWith("/*")) {
    const base = path.slice(0, -1);
    const below = marathon.apps().filter((record) => current(record).app.id.startsWith(base));
    response.json({ "*": below.map((record) => renderRunningApp(marathon, record, embedOf(request))) });
    return;
  }
  const id = absoluteId(path);
  switch (request.method) {
    case "GET": {
      response.json({ app: renderRunningApp(marathon, marathon.app(id), ALL) });
      return;
    }
    case "PUT":
    case "PATCH": {
      const update = readUpdate(bodyOf(request));
      const created = marathon.find(id) === undefined;
      const whole = !isTrue(request.query["partialUpdate"], true) && request.method === "PUT";
      const begun = await marathon.changes.make(
        () => [{ id, after: updated(marathon, id, update, { must: request.method === "PATCH", whole }) }],
        { force, made: () => tellPost(marathon, request, id) },
      );
      answer(response, begun, created ? 201 : 200, begun);
      return;
    }
    case "DELETE": {
      marathon.app(id);
      const begun = await marathon.changes.make(() => [{ id, after: null }], {
        force: isTrue(request.query["force"], true),
        made: () => tellPost(marathon, request, id),
      });
      answer(response, begun, 200, begun);
      return;
    }
    default:
      throw methodNotAllowed();
  }
}

/** Somebody has written an application; of one that goes only its id is told. */
function tellPost(marathon: Marathon, request: Request, id: string): void {
  const record = marathon.find(id);
  marathon.events.emit("api_post_event", {
    clientIp: request.ip ?? "",
    uri: request.path,
    appDefinition: record === undefined ? { id } : renderApp(current(record)),
  });
}

/** A version alone means: go back to that one. */
function updated(
  marathon: Marathon,
  id: string,
  update: AppUpdate,
  { must, whole }: { must: boolean; whole: boolean },
) {
  const record = must ? marathon.app(id) : marathon.find(id);
  const { version, id: named, ...others } = update;
  void named;
  if (version !== undefined && record !== undefined) {
    if (Object.keys(others).length > 0)
      throw new MarathonError(422, TEXTS.app.message, { details: [{ path: "/", errors: [TEXTS.app.version] }] });
    const old = record.versions.find((one) => one.version === version);
    if (old === undefined) throw new MarathonError(404, `App '${id}' does not exist in version ${version}`);
    return old.app;
  }
  return marathon.changes.define(id, others, whole ? undefined : record && current(record).app);
}

async function restart(marathon: Marathon, path: string, request: Request, response: Response): Promise<void> {
  if (request.method !== "POST") throw methodNotAllowed();
  const id = absoluteId(path);
  const begun = await marathon.changes.make(() => [{ id, after: current(marathon.app(id)).app, restart: true }], {
    force: isTrue(request.query["force"]),
  });
  answer(response, begun, 200, begun);
}

async function tasks(
  marathon: Marathon,
  path: string,
  taskId: string | undefined,
  request: Request,
  response: Response,
): Promise<void> {
  const id = absoluteId(path);
  const record = marathon.app(id);
  if (request.method === "GET") {
    if (wantsText(request)) response.type("text/plain").send(renderEndpoints([record]));
    else response.json({ tasks: renderTasks(marathon, id, record) });
    return;
  }
  if (request.method !== "DELETE") throw methodNotAllowed();
  const [scale, wipe, force] = (["scale", "wipe", "force"] as const).map((key) => isTrue(request.query[key]));
  if (scale === true && wipe === true) throw new MarathonError(400, "You cannot use scale and wipe at the same time.");
  const host = request.query["host"];
  const targets = record.instances
    .filter((instance) => {
      const task = taskOf(instance);
      return task !== undefined && (host === undefined || host === task.agent);
    })
    .map((instance) => ({ id, instance }));
  const found =
    taskId === undefined ? targets : targets.filter(({ instance }) => marathon.findTask(taskId)?.instance === instance);
  if (taskId !== undefined && found.length === 0) throw new MarathonError(404, `Task '${taskId}' does not exist`);
  const agents = marathon.agents.list();
  const rendered = found.map(({ instance }) => renderTask(id, record, instance, agents));
  const begun = await marathon.killTasks(found, { scale: scale === true, force: force === true });
  if (begun !== undefined) answer(response, begun, 200, begun);
  else if (taskId === undefined) response.json({ tasks: rendered });
  else response.json({ task: rendered[0] });
}

function versions(marathon: Marathon, path: string, wanted: string | undefined, response: Response): void {
  const record = marathon.app(absoluteId(path));
  if (wanted === undefined) {
    response.json({ versions: record.versions.map(({ version }) => version) });
    return;
  }
  checkTime(wanted);
  const found = record.versions.find(({ version }) => version === wanted);
  if (found === undefined)
    throw new MarathonError(404, `App '${absoluteId(path)}' does not exist in version ${wanted}`);
  response.json(renderApp(found));
}

/** `embed=apps.tasks` and its like; counts and deployments are always there. */
function embedOf(request: Request): ReadonlySet<string> {
  return appEmbeds([request.query["embed"] ?? []].flat().map(String));
}

function isWanted(record: AppRecord, request: Request): boolean {
  const { app } = current(record);
  const has = (text: string, part: unknown) =>
    part === undefined || text.toLowerCase().includes(String(part).toLowerCase());
  const { id, cmd, label } = request.query;
  return (
    has(app.id, id) && has(app.cmd ?? "", cmd) && matchesLabels(app.labels, label === undefined ? "" : String(label))
  );
}

/** Label selectors: `a`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b)`; a comma means and. */
function matchesLabels(labels: Readonly<Record<string, string>>, selector: string): boolean {
  return selector
    .split(/,(?![^(]*\))/)
    .map((part) => part.trim())
    .filter(Boolean)
    .every((part) => {
      const set = /^(?<key>\S+)\s+(?<not>not)?in\s*\((?<values>[^)]*)\)$/.exec(part)?.groups;
      if (set !== undefined) {
        const values = (set["values"] ?? "").split(",").map((value) => value.trim());
        const own = labels[set["key"] ?? ""];
        return (own !== undefined && values.includes(own)) === (set["not"] === undefined);
      }
      const [key = "", operator, value] = part.split(/\s*(==|!=)\s*/);
      if (operator === "==") return labels[key] === value;
      return operator === "!=" ? labels[key] !== value : key in labels;
    });
}
