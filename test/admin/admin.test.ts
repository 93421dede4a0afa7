import { mkdtemp, rm, stat } from "node:fs/promises";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { adminApp, HTTP_STATUS } from "../../src/admin/app.ts";
import { AdminClient, NoDaemonError } from "../../src/admin/client.ts";
import { serveAdmin } from "../../src/admin/serve.ts";
import { runFiles } from "../../src/lib/dirs.ts";
import { ERROR_CODES, type ErrorCode, SimError } from "../../src/lib/errors.ts";
import { FakeCluster, FakeVolumes, silent } from "./fakes.ts";

async function served(test: { teardown(work: () => Promise<void>): void }) {
  const runDir = await mkdtemp(path.join(os.tmpdir(), "rexray-sim-admin-"));
  const cluster = new FakeCluster();
  const volumes = new FakeVolumes();
  const daemon = { pid: 1, version: "0", startedAt: "2024-05-01T10:00:00Z", stateDir: "/state", runDir };
  const app = adminApp({
    cluster,
    volumes,
    daemon,
    plugins: ["/plugins/rexray.sock"],
    down: async ({ force }) => ({ remaining: await volumes.shutdown({ force }) }),
    log: silent,
  });
  const socket = runFiles(runDir).adminSocket;
  const server = await serveAdmin(app, socket);
  test.teardown(async () => {
    await server.close();
    await rm(runDir, { recursive: true });
  });
  return { client: new AdminClient(runDir), cluster, volumes, daemon, socket, runDir };
}

/** A request that the client would never send. */
function raw(socketPath: string, method: string, url: string, body = ""): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json" };
    const request = http.request({ socketPath, method, path: url, headers, agent: false }, (response) => {
      let text = "";
      response
        .on("data", (part) => (text += part))
        .on("end", () => resolve({ status: response.statusCode ?? 0, text }));
    });
    request.once("error", reject).end(body);
  });
}

t.test("status has exactly the promised keys, and volumes have their mount points", async (t) => {
  const { client, daemon } = await served(t);
  const report = await client.status();
  t.same(Object.keys(report).sort(), [
    "alerts",
    "apis",
    "daemon",
    "health",
    "isCurrent",
    "mdm",
    "plugins",
    "pools",
    "reasons",
    "scans",
    "sds",
    "volumes",
  ]);
  t.same(report.daemon, daemon);
  t.same(report.plugins, ["/plugins/rexray.sock"]);
  t.match(report.volumes, [{ name: "pg", health: "ok", mountpoint: "/state/volumes/pg/data" }]);
});

t.test("a volume is answered with its layout, and with its chunks on request only", async (t) => {
  const { client } = await served(t);
  const short = await client.volume("pg", { chunks: false });
  t.equal(short.mountpoint, "/state/volumes/pg/data");
  t.notOk("chunks" in short);
  t.equal((await client.volume("pg", { chunks: true })).chunks?.length, 1);
  await t.rejects(client.volume("no/such", { chunks: false }), { code: "not_found", message: /no\/such/ });
});

t.test("an SDS is stopped and started; an unknown one is the daemon's own error", async (t) => {
  const { client, cluster } = await served(t);
  await client.sds("sds2", "stop");
  t.equal((await client.status()).health, "degraded");
  await client.sds("sds2", "start");
  t.same(cluster.orders, ["stop sds2", "start sds2"]);
  await t.rejects(client.sds("sds9", "stop"), new SimError("not_found", 'no SDS is called "sds9"'));
});

t.test("down passes force on and answers what remains", async (t) => {
  const { client, volumes } = await served(t);
  volumes.held = [{ name: "pg", heldBy: ["postgres (4711)"] }];
  t.same(await client.down({ force: false }), { remaining: volumes.held });
  t.same(await client.down({ force: true }), { remaining: [] });
  t.same(volumes.orders, ["shutdown", "shutdown force"]);
});

t.test("bad requests get a JSON error and do nothing", async (t) => {
  const { socket, volumes } = await served(t);
  for (const [method, url, body, status, code] of [
    ["GET", "/nothing", "", 404, "not_found"],
    ["GET", "/down", "", 404, "not_found"],
    ["POST", "/down", "{", 400, "invalid_argument"],
    ["POST", "/down", '{"force":"yes"}', 400, "invalid_argument"],
    ["POST", "/down", '{"forse":true}', 400, "invalid_argument"],
    ["POST", "/down", `{"x":"${"x".repeat(200_000)}"}`, 400, "invalid_argument"],
    ["GET", "/volumes/%ff", "", 400, "invalid_argument"],
    ["GET", "/volumes/..%2f..%2fetc", "", 404, "not_found"],
  ] as const) {
    const answer = await raw(socket, method, url, body);
    t.equal(answer.status, status, `${method} ${url}`);
    t.match(JSON.parse(answer.text), { code, message: String });
  }
  t.same(volumes.orders, []);
});

t.test("every error code has a status, and comes back as it was thrown", async (t) => {
  const { client, cluster } = await served(t);
  t.same(Object.keys(HTTP_STATUS).sort(), Object.keys(ERROR_CODES).sort());
  for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
    cluster.stopSds = async () => {
      throw new SimError(code, `text of ${code}`);
    };
    await t.rejects(client.sds("sds1", "stop"), new SimError(code, `text of ${code}`));
  }
});

t.test("only the owner may use the socket", async (t) => {
  const { socket } = await served(t);
  t.equal((await stat(socket)).mode & 0o777, 0o600);
});

t.test("without a daemon the error names the run directory and the remedy", async (t) => {
  const runDir = await mkdtemp(path.join(os.tmpdir(), "rexray-sim-admin-"));
  t.teardown(() => rm(runDir, { recursive: true }));
  const error = await new AdminClient(runDir).status().catch((thrown: unknown) => thrown);
  t.ok(error instanceof NoDaemonError);
  t.equal((error as Error).message, `no rexray-sim runs with run directory ${runDir}: start it with \`rexray-sim up\``);
});

t.test("the socket file of a dead run is replaced", async (t) => {
  const { socket, client } = await served(t);
  const app = adminApp({
    cluster: new FakeCluster(),
    volumes: new FakeVolumes(),
    daemon: { pid: 2, version: "0", startedAt: "", stateDir: "", runDir: "" },
    plugins: [],
    down: async () => ({ remaining: [] }),
    log: silent,
  });
  const second = await serveAdmin(app, socket);
  t.teardown(() => second.close());
  t.equal((await client.status()).daemon.pid, 2);
});
