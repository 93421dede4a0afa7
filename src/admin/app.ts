import express, { type ErrorRequestHandler, type Express } from "express";
import { z } from "zod";
import { asSimError, type ErrorCode, SimError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { AppOverview } from "../marathon/overview.ts";
import type { AgentsApi } from "../mesos/agents-api.ts";
import type { ClusterApi } from "../scaleio/cluster-api.ts";
import type { VolumeService } from "../volumes/service.ts";
import { type DaemonInfo, type DownReport, statusReport, type VolumeInspection } from "./report.ts";

/** What the admin interface works on. */
export interface AdminParts {
  readonly cluster: ClusterApi;
  readonly volumes: VolumeService;
  readonly daemon: DaemonInfo;
  /** Paths of the plugin sockets. */
  readonly plugins: readonly string[];
  /** Addresses of further APIs. */
  readonly apis?: readonly string[];
  /** Undefined: there are none. */
  readonly agents?: AgentsApi | undefined;
  readonly marathonApps?: (() => readonly AppOverview[]) | undefined;
  /** Unmounts what nobody holds, answers, and ends the daemon after the answer. */
  readonly down: (options: { force: boolean }) => Promise<DownReport>;
  readonly log: Log;
}

/** HTTP status of every error code. */
export const HTTP_STATUS: Readonly<Record<ErrorCode, number>> = {
  invalid_argument: 400,
  not_found: 404,
  already_exists: 409,
  in_use: 409,
  cancelled: 499,
  internal: 500,
  state_corrupt: 500,
  state_newer: 500,
  host_failed: 500,
  unavailable: 503,
  no_quorum: 503,
  in_doubt: 503,
  timed_out: 504,
  no_capacity: 507,
};

const downBody = z.strictObject({ force: z.boolean().default(false) });
const deviceBody = z.strictObject({
  name: z.string(),
  path: z.string().optional(),
  sizeBytes: z.int().positive().optional(),
});
const snapshotsBody = z.strictObject({
  snapshots: z
    .array(z.strictObject({ volume: z.string(), name: z.string() }))
    .min(1)
    .max(256),
});
const volumeBody = z.strictObject({ name: z.string(), options: z.record(z.string(), z.string()).default({}) });
const resizeBody = z.strictObject({ sizeBytes: z.int().positive() });
const limitsBody = z.strictObject({
  iops: z.int().min(0).optional(),
  bytesPerSecond: z.int().min(0).optional(),
});
const overwriteBody = z.strictObject({ from: z.string() });
const eventsQuery = z.strictObject({
  after: z.coerce.number().int().min(0).default(0),
  /** Seconds. */
  wait: z.coerce.number().min(0).max(10).default(0),
});
const faultBody = z.strictObject({
  type: z.string(),
  target: z.string(),
  name: z.string().optional(),
  probability: z.number().optional(),
  attributes: z.record(z.string(), z.string()).optional(),
});
const sdsBody = deviceBody.extend({ faultSet: z.string().optional() });

/** Throws invalid_argument, in words that say what is wrong where. */
function understood<T>(route: string, schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body ?? {});
  if (parsed.success) return parsed.data;
  throw new SimError("invalid_argument", `the body of ${route} is wrong: ${z.prettifyError(parsed.error)}`);
}

/** What can be ordered of a node, by name. */
const sdsOrders = (cluster: ClusterApi): Readonly<Record<string, (name: string) => Promise<void>>> => ({
  stop: (name) => cluster.stopSds(name),
  start: (name) => cluster.startSds(name),
  maintenance: (name) => cluster.maintainSds(name),
  remove: (name) => cluster.removeSds(name),
  "abort-removal": (name) => cluster.abortRemoval(name),
});

/** The administration interface: JSON over HTTP, one route a question or order, errors as {code, message}. */
export function adminApp(parts: AdminParts): Express {
  const { cluster, volumes } = parts;
  const app = express();
  app.disable("x-powered-by");
  app.use(express.json());

  app.get("/status", async (_request, response) => {
    response.json(await statusReport(cluster, volumes, parts.plugins, parts.daemon, parts.apis));
  });

  app.get("/volumes/:name", async (request, response) => {
    const { name } = request.params;
    const layout = await cluster.layout(name, { chunks: request.query["chunks"] === "1" });
    const inspection: VolumeInspection = { ...layout, mountpoint: await volumes.path(name) };
    response.json(inspection);
  });

  app.post("/volumes", async (request, response) => {
    const { name, options } = understood("/volumes", volumeBody, request.body);
    const before = await isThere(volumes, name);
    await volumes.create(name, options);
    if (!(await isThere(volumes, name)))
      throw new SimError("unavailable", `volume ${name} is not made: the configuration disables that (create.disable)`);
    response.json({ created: !before });
  });

  // As people expect it, while for Docker a volume that is not there is success.
  app.delete("/volumes/:name", async (request, response) => {
    const { name } = request.params;
    if (!(await isThere(volumes, name)))
      throw new SimError("not_found", `no volume is called "${name}": \`rexray-sim volume ls\` lists them`);
    await volumes.remove(name);
    if (await isThere(volumes, name))
      throw new SimError("unavailable", `volume ${name} stays: the configuration disables removal (remove.disable)`);
    response.json({});
  });

  app.post("/snapshots", async (request, response) => {
    await volumes.snapshot(understood("/snapshots", snapshotsBody, request.body).snapshots);
    response.json({});
  });

  app.post("/volumes/:name/resize", async (request, response) => {
    await volumes.resize(request.params.name, understood("/volumes/NAME/resize", resizeBody, request.body).sizeBytes);
    response.json({});
  });

  app.post("/volumes/:name/limits", async (request, response) => {
    await cluster.limit(request.params.name, understood("/volumes/NAME/limits", limitsBody, request.body));
    response.json({});
  });

  app.post("/volumes/:name/scan", async (request, response) => {
    response.json(await cluster.scan(request.params.name));
  });

  app.post("/volumes/:name/overwrite", async (request, response) => {
    await volumes.overwrite(
      request.params.name,
      understood("/volumes/NAME/overwrite", overwriteBody, request.body).from,
    );
    response.json({});
  });

  for (const [order, carryOut] of Object.entries(sdsOrders(cluster))) {
    app.post(`/sds/:name/${order}`, async (request, response) => {
      await carryOut(request.params["name"] as string);
      response.json({});
    });
  }

  app.post("/sds", async (request, response) => {
    await cluster.addSds(understood("/sds", sdsBody, request.body));
    response.json({});
  });

  app.post("/sds/:name/devices", async (request, response) => {
    await cluster.addDevice(request.params.name, understood("/sds/NAME/devices", deviceBody, request.body));
    response.json({});
  });

  app.delete("/sds/:name/devices/:device", async (request, response) => {
    await cluster.removeDevice(request.params.name, request.params.device);
    response.json({});
  });

  app.post("/sds/:name/devices/:device/clear", async (request, response) => {
    await cluster.clearDevice(request.params.name, request.params.device);
    response.json({});
  });

  app.post("/sds/:name/devices/:device/resize", async (request, response) => {
    const { sizeBytes } = understood("/sds/NAME/devices/NAME/resize", resizeBody, request.body);
    await cluster.resizeDevice(request.params.name, request.params.device, sizeBytes);
    response.json({});
  });

  app.get("/apps", (_request, response) => {
    response.json(parts.marathonApps?.() ?? []);
  });

  app.get("/agents", (_request, response) => {
    response.json(parts.agents?.list() ?? []);
  });

  for (const order of ["stop", "lose", "restart"] as const) {
    app.post(`/agents/:name/${order}`, async (request, response) => {
      if (parts.agents === undefined)
        throw new SimError("unavailable", "there are no agents: set simulator.agents to a number of them");
      await parts.agents[order](request.params["name"] as string);
      response.json({});
    });
  }

  app.get("/events", async (request, response) => {
    const { after, wait } = understood("/events", eventsQuery, request.query);
    response.json(await cluster.events(after, wait * 1000));
  });

  app.get("/faults", (_request, response) => {
    response.json({ faults: cluster.faults.list(), kinds: cluster.faults.kinds() });
  });

  app.post("/faults", async (request, response) => {
    response.json(await cluster.faults.add(understood("/faults", faultBody, request.body)));
  });

  app.delete("/faults/:name", async (request, response) => {
    await cluster.faults.remove(request.params.name);
    response.json({});
  });

  app.delete("/faults", async (_request, response) => {
    await cluster.faults.reset();
    response.json({});
  });

  app.post("/down", async (request, response) => {
    response.json(await parts.down(understood("/down", downBody, request.body)));
  });

  app.use((request) => {
    throw new SimError("not_found", `there is no ${request.method} ${request.path} here`);
  });
  app.use(renderError(parts.log));
  return app;
}

function isThere(volumes: VolumeService, name: string): Promise<boolean> {
  return volumes.get(name).then(
    () => true,
    (error: unknown) => {
      if (error instanceof SimError && error.code === "not_found") return false;
      throw error;
    },
  );
}

/** Express knows an error handler by its four parameters. */
function renderError(log: Log): ErrorRequestHandler {
  return (thrown: unknown, request, response, _next) => {
    const error = isBadRequest(thrown)
      ? new SimError("invalid_argument", `the request cannot be read: ${thrown.message}`, { cause: thrown })
      : asSimError(thrown);
    if (error.code === "internal") log.error({ err: thrown, path: request.path }, "admin request failed");
    response.status(HTTP_STATUS[error.code]).json({ code: error.code, message: error.message });
  };
}

/** What Express and its body parser throw for a malformed request carries a 4xx status. */
function isBadRequest(error: unknown): error is Error {
  if (!(error instanceof Error) || !("status" in error)) return false;
  return typeof error.status === "number" && error.status >= 400 && error.status < 500;
}
