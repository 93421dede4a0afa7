import express, { type ErrorRequestHandler, type Express } from "express";
import { arrayOf, object, optional, string } from "../definition/shape.ts";
import { MarathonError, refuse, Violations } from "../definition/violations.ts";
import type { Marathon } from "../marathon.ts";
import { taskOf } from "../scheduler/instance.ts";
import { appRoutes } from "./apps.ts";
import { eventStream } from "./event-stream.ts";
import { groupRoutes } from "./groups.ts";
import { answer, bodyOf, isTrue, mediaTypes, methodNotAllowed, pathOf, wantsText } from "./http.ts";
import { info } from "./info.ts";
import { metrics, prometheus } from "./metrics.ts";
import { renderDeployment, renderEndpoints, renderQueue, renderTask } from "./render.ts";

export interface ApiOptions {
  readonly marathon: Marathon;
  /** host:port under which the API is reached. */
  readonly address: string;
  /** host:port of Mesos' endpoints. */
  readonly mesos: string;
  readonly log: (message: string) => void;
}

/** The `/v2` API (spec/marathon.md 6). */
export function marathonApi({ marathon, address, mesos, log }: ApiOptions): Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.set("query parser", "extended");
  app.use((request, response, next) => {
    response.set({
      "Cache-Control": "no-cache, no-store, must-revalidate",
      Pragma: "no-cache",
      Expires: "0",
      "X-Marathon-Leader": `http://${address}`,
      "X-Frame-Options": "DENY",
      "X-XSS-Protection": "1; mode=block",
    });
    // `//` inside paths is tolerated.
    request.url = request.url.replace(/^[^?]*/, (path) => path.replace(/\/{2,}/g, "/"));
    next();
  });
  app.use(express.text({ type: () => true, limit: "5mb" }));

  app.use(mediaTypes);

  app.get("/ping", (request, response) => {
    if (request.accepts(["text/plain", "json"]) === "json") response.json("pong");
    else response.type("text/plain").send("pong");
  });
  app.get("/", (_request, response) => response.redirect(302, "/ui/"));
  app.get("/metrics", (_request, response) => void response.json(metrics(marathon)));
  app.get("/metrics/prometheus", (_request, response) => {
    response.type("text/plain; version=0.0.4").send(prometheus(marathon));
  });
  app.get("/v2/events", (request, response) => eventStream(marathon, request, response));
  app.get("/v2/info", (_request, response) => {
    response.json(info(marathon, address, mesos));
  });
  app.get("/v2/leader", (_request, response) => {
    response.json({ leader: address });
  });
  app.delete("/v2/leader", (_request, response) => {
    marathon.abdicate();
    response.json({ message: "Leadership abdicated" });
  });
  app.get("/v2/pods", (_request, response) => {
    response.json([]);
  });
  app.get("/v2/deployments", (_request, response) => {
    response.json(marathon.store.deployments.map((one) => renderDeployment(marathon, one)));
  });
  app.delete("/v2/deployments/:id", async (request, response) => {
    const begun = await marathon.changes.cancel(request.params.id, { force: isTrue(request.query["force"]) });
    if (begun === undefined) response.status(202).end();
    else response.json(begun);
  });
  app.get("/v2/queue", (request, response) => {
    const offers = [request.query["embed"]].flat().includes("lastUnusedOffers");
    response.json({ queue: renderQueue(marathon, { offers }) });
  });
  app.delete("/v2/queue/*id/delay", (request, response) => {
    const id = pathOf(request.params["id"]);
    if (marathon.scheduler.waiting(id) === undefined)
      throw new MarathonError(404, `Application ${id} not found in tasks queue.`);
    marathon.scheduler.resetDelay(id);
    response.status(204).end();
  });
  taskRoutes(app, marathon);
  appRoutes(app, marathon, address);
  groupRoutes(app, marathon);
  app.use((request) => {
    if (OTHER_ROUTES.test(request.path)) throw methodNotAllowed();
    throw new MarathonError(500, "URI not found");
  });
  app.use(render(log));
  return app;
}

/** Those that do not look at the method themselves. */
const OTHER_ROUTES =
  /^\/(?:ping|metrics(?:\/prometheus)?|v2\/(?:info|leader|pods|events|deployments(?:\/[^/]+)?|queue|queue\/.+\/delay|tasks(?:\/delete)?))\/?$/;

const TASK_ID = /\.(?:instance-|marathon-)?[0-9a-f-]{36}/;
const toDelete = object<{ readonly ids: string[] }>({ ids: optional(arrayOf(string()), []) });

function taskRoutes(app: Express, marathon: Marathon): void {
  app.get("/v2/tasks", (request, response) => {
    if (wantsText(request)) return void response.type("text/plain").send(renderEndpoints(marathon.apps()));
    const wanted = [request.query["status"] ?? []].flat().map(String);
    const agents = marathon.agents.list();
    const tasks = marathon.apps().flatMap((record) =>
      record.instances
        .filter((instance) => {
          const state = taskOf(instance)?.state;
          return (
            state !== undefined &&
            (wanted.length === 0 || wanted.some((word) => state === `TASK_${word.toUpperCase()}`))
          );
        })
        .map((instance) => renderTask(record.versions[0]?.app.id ?? "", record, instance, agents)),
    );
    return void response.json({ tasks });
  });
  app.post("/v2/tasks/delete", async (request, response) => {
    const violations = new Violations();
    const { ids } = toDelete(bodyOf(request), "", violations);
    refuse(violations, "shape");
    for (const id of ids)
      if (!TASK_ID.test(id))
        throw new MarathonError(400, `Invalid task id '${id}'. [The task id doesn't match the known pattern]`);
    const found = ids.flatMap((id) => marathon.findTask(id) ?? []);
    const agents = marathon.agents.list();
    const tasks = found.map(({ id, instance }) => renderTask(id, marathon.app(id), instance, agents));
    const begun = await marathon.killTasks(found, {
      scale: isTrue(request.query["scale"]),
      force: isTrue(request.query["force"]),
    });
    if (begun === undefined) response.json({ tasks });
    else answer(response, begun, 200, begun);
  });
}

function render(log: (message: string) => void): ErrorRequestHandler {
  return (error: unknown, request, response, next) => {
    if (response.headersSent) return next(error);
    if (error instanceof MarathonError) return void response.status(error.status).json(error.body);
    const status = statusOf(error);
    if (status === undefined) log(`${request.method} ${request.path}: ${error instanceof Error ? error.stack : error}`);
    const message = error instanceof Error ? error.message : String(error);
    return void response.status(status ?? 500).json({ message });
  };
}

/** What Express and its body parser throw for a malformed request carries a 4xx status. */
function statusOf(error: unknown): number | undefined {
  const status = typeof error === "object" && error !== null && "status" in error ? error.status : undefined;
  return typeof status === "number" && status >= 400 && status < 500 ? status : undefined;
}
