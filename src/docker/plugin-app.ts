import express, { type ErrorRequestHandler, type Express, type Request, type Response } from "express";
import { asSimError } from "../lib/errors.ts";
import { onMachine } from "../lib/machine-paths.ts";
import type { VolumeService, VolumeView } from "../volumes/service.ts";
import { errorText, REFUSED } from "./errors.ts";
import { creating, mounting, named, parse } from "./requests.ts";

const CONTENT_TYPE = "application/vnd.docker.plugins.v1.2+json";
/** A volume name and a few options are far below this. */
const BODY_LIMIT = "256kb";

type Operation = (body: unknown, signal: AbortSignal) => Promise<Record<string, unknown>>;

/**
 * The Docker volume plugin protocol over a volume service (docker-volume-plugin.md 2 to 5). The whole contract is the table
 * below.
 *
 * @param restarted called when the engine introduces itself, which it does once in its life
 */
export function pluginApp(service: VolumeService, restarted: () => void): Express {
  const operations: Record<string, Operation> = {
    Create: async (body) => {
      const { name, opts } = parse(creating, body);
      await service.create(name, opts ?? {});
      return {};
    },
    Remove: async (body) => {
      await service.remove(parse(named, body).name);
      return {};
    },
    Mount: async (body, signal) => {
      const { name, id } = parse(mounting, body);
      return { Mountpoint: await service.mount(name, id ?? "", signal) };
    },
    Unmount: async (body) => {
      const { name, id } = parse(mounting, body);
      await service.unmount(name, id ?? "");
      return {};
    },
    Path: async (body) => ({ Mountpoint: await service.path(parse(named, body).name) }),
    Get: async (body) => ({ Volume: full(await service.get(parse(named, body).name)) }),
    List: async () => ({
      Volumes: (await service.list()).map(({ name, mountpoint }) => ({ Name: name, Mountpoint: mountpoint })),
    }),
    Capabilities: async () => ({ Capabilities: { Scope: "global" } }),
  };

  const app = express();
  app.disable("x-powered-by").disable("etag");
  // The engine sends no Content-Type.
  app.use(express.json({ type: () => true, limit: BODY_LIMIT }));
  app.post("/Plugin.Activate", (_request, response) => {
    send(response, 200, { Implements: ["VolumeDriver"] });
    restarted();
  });
  for (const [operation, perform] of Object.entries(operations)) {
    app.post(`/VolumeDriver.${operation}`, async (request: Request, response: Response) => {
      // The caller has gone when the connection ends before the answer has been sent.
      const gone = new AbortController();
      response.once("close", () => {
        if (!response.writableFinished) gone.abort();
      });
      try {
        send(response, 200, { ...(await perform(request.body, gone.signal)), Err: "" });
      } catch (thrown) {
        const error = asSimError(thrown);
        send(response, REFUSED, { Err: onMachine(errorText(operation, volumeOf(request.body, operation), error)) });
      }
    });
  }
  app.use((request, response) => {
    send(response, 404, { Err: `${request.method} ${request.path} is no call of the volume plugin protocol` });
  });
  app.use(badBody);
  return app;
}

function full({ name, mountpoint, createdAt, status }: VolumeView): Record<string, unknown> {
  return { Name: name, Mountpoint: mountpoint, CreatedAt: createdAt, Status: status };
}

function volumeOf(body: unknown, operation: string): string | undefined {
  if (operation === "List" || operation === "Capabilities") return undefined;
  if (typeof body !== "object" || body === null) return "";
  const entry = Object.entries(body).find(([key]) => key.toLowerCase() === "name");
  return typeof entry?.[1] === "string" ? entry[1] : "";
}

function send(response: Response, status: number, body: Record<string, unknown>): void {
  if (response.headersSent || response.destroyed) return;
  response
    .status(status)
    .set("Content-Type", CONTENT_TYPE)
    .end(`${JSON.stringify(body)}\n`);
}

/** Bodies that are too long or no JSON: Express's own answer would be a page, which Docker shows to the user as it is. */
const badBody: ErrorRequestHandler = (error: { status?: number; message?: string }, _request, response, _next) => {
  const status = error.status ?? 500;
  const words =
    status === 413
      ? `the request body is larger than ${BODY_LIMIT}`
      : `the request body cannot be read: ${error.message}`;
  send(response, status, { Err: words });
};
