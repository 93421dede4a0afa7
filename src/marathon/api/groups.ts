import type { Express } from "express";
import { absoluteId, readUpdate } from "../definition/define.ts";
import { MarathonError } from "../definition/violations.ts";
import type { Marathon } from "../marathon.ts";
import { planDeployment } from "../scheduler/deployment.ts";
import { current } from "../scheduler/store.ts";
import { answer, bodyOf, isTrue } from "./http.ts";
import { renderRunningApp } from "./render.ts";

interface GroupBody {
  readonly id?: string;
  readonly apps?: readonly unknown[];
  readonly groups?: readonly GroupBody[];
  readonly scaleBy?: number;
}

/** `/v2/groups` (spec/marathon.md 6.5). A group is nothing of its own: it is what the ids of applications have in common. */
export function groupRoutes(app: Express, marathon: Marathon): void {
  app.all(/^\/v2\/groups(?<path>\/.*)?$/, async (request, response) => {
    const path = absoluteId(decodeURIComponent((request.params as Record<string, string>)["path"] ?? "/"));
    const force = isTrue(request.query["force"]);
    switch (request.method) {
      case "GET": {
        if (path !== "/" && below(marathon, path).length === 0) throw missing(path);
        response.json(renderGroup(marathon, path));
        return;
      }
      case "POST":
      case "PUT": {
        const body = bodyOf(request) as GroupBody;
        const base = absoluteId(body.id ?? path, path);
        if (request.method === "POST") checkNew(marathon, base);
        const define = () =>
          body.scaleBy === undefined ? changes(marathon, base, body) : scaled(marathon, base, body.scaleBy);
        if (isTrue(request.query["dryRun"])) {
          response.json({
            steps: planDeployment(
              define().map((change) => ({ ...change, before: null })),
              "",
            ).steps,
          });
          return;
        }
        const begun = await marathon.change(define, { force });
        answer(response, begun, request.method === "POST" ? 201 : 200, begun);
        return;
      }
      case "DELETE": {
        const going = below(marathon, path);
        if (going.length === 0 && path !== "/") throw missing(path);
        const begun = await marathon.change(() => going.map((id) => ({ id, after: null })), { force });
        answer(response, begun, 200, begun);
        return;
      }
      default:
        throw new MarathonError(405, "Method Not Allowed");
    }
  });
}

const missing = (path: string) => new MarathonError(404, `Group '${path}' does not exist`);

const below = (marathon: Marathon, path: string): string[] =>
  marathon
    .apps()
    .map((record) => current(record).app.id)
    .filter((id) => path === "/" || id.startsWith(`${path}/`));

function checkNew(marathon: Marathon, path: string): void {
  if (marathon.find(path) !== undefined) throw new MarathonError(409, `An app with the path ${path} already exists.`);
  if (path !== "/" && below(marathon, path).length > 0)
    throw new MarathonError(409, `Group ${path} is already created. Use PUT to change this group.`);
}

/** All applications of the group as they shall be; what is there and not named goes. */
function changes(marathon: Marathon, base: string, body: GroupBody) {
  const wanted = flatten(base, body).map(({ id, json }) => {
    const record = marathon.find(id);
    return { id, after: marathon.define(id, readUpdate(json), record && current(record).app) };
  });
  const gone = body.apps === undefined && body.groups === undefined ? [] : below(marathon, base);
  const named = new Set(wanted.map(({ id }) => id));
  return [...wanted, ...gone.filter((id) => !named.has(id)).map((id) => ({ id, after: null }))];
}

function flatten(base: string, { apps = [], groups = [] }: GroupBody): { id: string; json: unknown }[] {
  return [
    ...apps.map((json) => ({ id: absoluteId(String((json as { id?: unknown }).id ?? ""), base), json })),
    ...groups.flatMap((group) => flatten(absoluteId(group.id ?? "", base), group)),
  ];
}

function scaled(marathon: Marathon, base: string, factor: number) {
  return below(marathon, base).map((id) => {
    const { app } = current(marathon.app(id));
    return { id, after: marathon.define(id, { instances: Math.ceil(app.instances * factor) }, app) };
  });
}

/** Without `enforceRole`, which newer ones have too: Debian's python3-marathon refuses a group that has it. */
function renderGroup(marathon: Marathon, path: string): Record<string, unknown> {
  const prefix = path === "/" ? "/" : `${path}/`;
  const ids = below(marathon, path);
  const own = ids.filter((id) => !id.slice(prefix.length).includes("/"));
  const children = new Set(
    ids.filter((id) => !own.includes(id)).map((id) => prefix + (id.slice(prefix.length).split("/")[0] as string)),
  );
  const newest = ids
    .map((id) => current(marathon.app(id)).version)
    .toSorted()
    .at(-1);
  return {
    id: path,
    apps: own.map((id) => renderRunningApp(marathon, marathon.app(id), new Set(["tasks"]))),
    pods: [],
    groups: [...children].map((child) => renderGroup(marathon, child)),
    dependencies: [],
    version: newest ?? new Date(0).toISOString(),
  };
}
