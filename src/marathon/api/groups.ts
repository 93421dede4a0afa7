import type { Express, Request, Response } from "express";
import { absoluteId, readUpdate } from "../definition/define.ts";
import { appsOf, type GroupUpdate, groupsOf, readGroup } from "../definition/group.ts";
import { TEXTS } from "../definition/texts.ts";
import { MarathonError } from "../definition/violations.ts";
import type { Marathon } from "../marathon.ts";
import type { AppChange } from "../scheduler/deployment.ts";
import { current, type Groups } from "../scheduler/store.ts";
import { ALL_SHOWN, groupTree, isBelow, type Shown, versionsAt, versionTimes } from "./group-tree.ts";
import { answer, appEmbeds, bodyOf, checkTime, isTrue, methodNotAllowed } from "./http.ts";
import { renderApp, renderRunningApp } from "./render.ts";

const VERSIONS = /^(?<group>.*)\/versions(?:\/(?<time>[^/]+))?\/?$/;

/** `/v2/groups` (spec/marathon.md 6.5). */
export function groupRoutes(app: Express, marathon: Marathon): void {
  app.all(/^\/v2\/groups(?<path>\/.*)?$/, async (request, response) => {
    const path = (request.params as Record<string, string>)["path"] ?? "/";
    const { group, time } = VERSIONS.exec(path)?.groups ?? {};
    if (group !== undefined && request.method === "GET") {
      history(marathon, absoluteId(group), time, response);
      return;
    }
    await whole(marathon, absoluteId(path), request, response);
  });
}

async function whole(marathon: Marathon, path: string, request: Request, response: Response): Promise<void> {
  const force = isTrue(request.query["force"]);
  switch (request.method) {
    case "GET": {
      checkThere(marathon, path);
      const { shown, embed } = embedOf(request);
      const apps = marathon.apps().map((record) => {
        const { app, version } = current(record);
        return { id: app.id, version, json: renderRunningApp(marathon, record, embed) };
      });
      response.json(groupTree(path, apps, marathon.store.groups, shown));
      return;
    }
    case "POST":
    case "PUT": {
      const update = readGroup(bodyOf(request));
      const base = absoluteId(update.id ?? path, path);
      const define = () => changes(marathon, base, update);
      const absent = () => {
        if (request.method === "POST") checkNew(marathon, base);
      };
      if (isTrue(request.query["dryRun"])) {
        response.json({ steps: marathon.changes.plan(define, grouped(marathon.store.groups, base, update, "")) });
        return;
      }
      const groups = (now: Groups, version: string) => grouped(now, base, update, version);
      const begun = await marathon.changes.make(define, { force, absent, groups });
      answer(response, begun, request.method === "POST" ? 201 : 200, begun);
      return;
    }
    case "DELETE": {
      checkThere(marathon, path);
      const going = below(marathon, path);
      const groups = (now: Groups) => without(now, (group) => group === path || isBelow(group, path));
      const begun = await marathon.changes.make(() => going.map((id) => ({ id, after: null })), { force, groups });
      answer(response, begun, 200, begun);
      return;
    }
    default:
      throw methodNotAllowed();
  }
}

/** The times of its versions, or what it was at one of them. */
function history(marathon: Marathon, path: string, time: string | undefined, response: Response): void {
  checkThere(marathon, path);
  if (time === undefined) {
    response.json(versionTimes(marathon.apps(), path));
    return;
  }
  checkTime(time);
  const apps = versionsAt(marathon.apps(), time).map((one) => ({
    id: one.app.id,
    version: one.version,
    json: renderApp(one),
  }));
  response.json(groupTree(path, apps, marathon.store.groups));
}

const below = (marathon: Marathon, path: string): string[] =>
  marathon
    .apps()
    .map((record) => current(record).app.id)
    .filter((id) => isBelow(id, path));

/** It was made, or something is in it. */
const isThere = (marathon: Marathon, path: string): boolean =>
  path === "/" ||
  below(marathon, path).length > 0 ||
  Object.keys(marathon.store.groups).some((group) => group === path || isBelow(group, path));

function checkThere(marathon: Marathon, path: string): void {
  if (!isThere(marathon, path)) throw new MarathonError(404, `Group '${path}' does not exist`);
}

function checkNew(marathon: Marathon, path: string): void {
  if (marathon.find(path) !== undefined) throw new MarathonError(409, TEXTS.tree.pathExists(path));
  if (path !== "/" && isThere(marathon, path)) throw new MarathonError(409, TEXTS.tree.groupExists(path));
}

const without = (groups: Groups, gone: (path: string) => boolean): Groups =>
  Object.fromEntries(Object.entries(groups).filter(([path]) => !gone(path)));

/** The groups after an update: as with applications, those that are there and not named go. */
function grouped(now: Groups, base: string, update: GroupUpdate, version: string): Groups {
  if (update.scaleBy !== undefined || update.version !== undefined) return now;
  const whole = update.apps !== undefined || update.groups !== undefined;
  const kept = whole ? without(now, (path) => isBelow(path, base) && path !== base) : now;
  const named = groupsOf(base, update).map(({ path, dependencies }) => {
    const known = now[path]?.dependencies ?? [];
    return [path, { dependencies: path === base && update.dependencies === undefined ? known : dependencies, version }];
  });
  return { ...kept, ...Object.fromEntries(named) };
}

/** `embed=group.groups`, `group.apps`, `group.apps.tasks` and their like; none of them: everything. */
function embedOf(request: Request): { shown: Shown; embed: ReadonlySet<string> } {
  const words = [request.query["embed"] ?? []].flat().map(String);
  if (words.length === 0) return { shown: ALL_SHOWN, embed: new Set(["tasks"]) };
  const has = (what: string) => words.some((word) => word === `group.${what}` || word.startsWith(`group.${what}.`));
  return { shown: { apps: has("apps"), groups: has("groups"), pods: has("pods") }, embed: appEmbeds(words) };
}

type Change = Omit<AppChange, "before">;

function changes(marathon: Marathon, base: string, update: GroupUpdate): Change[] {
  if (update.scaleBy !== undefined) return scaled(marathon, base, update.scaleBy);
  if (update.version !== undefined) return reverted(marathon, base, update.version);
  return replaced(marathon, base, update);
}

/** All applications of the group as they shall be; what is there and not named goes. */
function replaced(marathon: Marathon, base: string, update: GroupUpdate): Change[] {
  const wanted = appsOf(base, update).map(({ id, json }) => {
    const record = marathon.find(id);
    return { id, after: marathon.changes.define(id, readUpdate(json), record && current(record).app) };
  });
  const named = new Set(wanted.map(({ id }) => id));
  const gone = update.apps === undefined && update.groups === undefined ? [] : below(marathon, base);
  return [...wanted, ...gone.filter((id) => !named.has(id)).map((id) => ({ id, after: null }))];
}

function scaled(marathon: Marathon, base: string, factor: number): Change[] {
  return below(marathon, base).map((id) => {
    const { app } = current(marathon.app(id));
    return { id, after: marathon.changes.define(id, { instances: Math.ceil(app.instances * factor) }, app) };
  });
}

/** Applications as they were; younger ones go. What was removed meanwhile is not remembered. */
function reverted(marathon: Marathon, base: string, time: string): Change[] {
  checkTime(time);
  const then = new Map(versionsAt(marathon.apps(), time).map(({ app }) => [app.id, app]));
  return below(marathon, base).map((id) => ({ id, after: then.get(id) ?? null }));
}
