import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import t, { type Test } from "tap";
import { adminApp, HTTP_STATUS } from "../../src/admin/app.ts";
import { AdminClient, NoDaemonError } from "../../src/admin/client.ts";
import { serveAdmin } from "../../src/admin/serve.ts";
import { runFiles } from "../../src/lib/dirs.ts";
import { ERROR_CODES, type ErrorCode, SimError } from "../../src/lib/errors.ts";
import { Faults } from "../../src/scaleio/faults/faults.ts";
import type { SystemState } from "../../src/scaleio/model.ts";
import { FakeCluster, FakeVolumes, silent } from "./fakes.ts";

async function served(test: { teardown(work: () => Promise<void>): void }, cluster = new FakeCluster()) {
  const runDir = await mkdtemp(path.join(os.tmpdir(), "rexray-sim-admin-"));
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

/** The product's own faults behind the socket, on two nodes and an MDM without a quorum. */
async function withFaults(t: Test) {
  const stateDir = await mkdtemp(path.join(os.tmpdir(), "rexray-sim-admin-"));
  t.teardown(() => rm(stateDir, { recursive: true }));
  const sds = ["sds-1", "sds-2"].map((name) => ({ name, state: "up", devices: [{ name: "dev-1" }] }));
  const told: string[] = [];
  const faults = new Faults({
    stateDir,
    state: () => ({ sds, volumes: new Map() }) as unknown as SystemState,
    hosts: ["host-1"],
    changed: async () => undefined,
    revive: async (target) => void told.push(`revive ${target}`),
    stopSds: async (name) => void told.push(`stop ${name}`),
    startSds: async (name) => void told.push(`start ${name}`),
    mdmDown: async (members) => {
      if (members.length > 0) throw new SimError("no_quorum", "fewer than two members take changes");
    },
    tell: (name, text) => told.push(`${name} ${text}`),
    log: (message) => t.fail(message),
  });
  const { socket } = await served(t, Object.assign(new FakeCluster(), { faults }));
  const ask = async (method: string, url: string, body?: unknown) => {
    const { status, text } = await raw(socket, method, url, typeof body === "string" ? body : JSON.stringify(body));
    return { status, answer: JSON.parse(text) };
  };
  return { ask, told, book: path.join(stateDir, "faults.json") };
}

t.test("faults are put on, listed and taken away by plain requests", async (t) => {
  const { ask, told } = await withFaults(t);
  const wobble = { name: "wobble", type: "slow", target: "sds-1", probability: 0.5, attributes: { ms: "50" } };
  t.strictSame(await ask("POST", "/faults", wobble), { status: 200, answer: wobble });
  const plain = {
    name: "io-error-1",
    type: "io-error",
    target: "sds-2/dev-1",
    probability: 1,
    attributes: { on: "both" },
  };
  const { type, target } = plain;
  t.strictSame(
    await ask("POST", "/faults", { type, target }),
    { status: 200, answer: plain },
    "all else has a default",
  );
  const { answer } = await ask("GET", "/faults");
  t.strictSame(answer.faults, [wobble, plain]);
  t.match(
    answer.kinds.find((kind: { type: string }) => kind.type === "slow"),
    { help: /takes longer/, attributes: { ms: { help: /how much longer/, default: "20" } } },
  );
  t.strictSame(await ask("DELETE", "/faults/wobble"), { status: 200, answer: {} });
  t.strictSame((await ask("GET", "/faults")).answer.faults, [plain]);
  t.match((await ask("POST", "/faults", { type: "sds-stop", target: "sds-1" })).status, 200);
  t.strictSame(await ask("DELETE", "/faults"), { status: 200, answer: {} });
  t.strictSame((await ask("GET", "/faults")).answer.faults, []);
  t.strictSame(told, [
    "FAULT_INJECTED fault wobble (slow) is on sds-1",
    "FAULT_INJECTED fault io-error-1 (io-error) is on sds-2/dev-1",
    "FAULT_REMOVED fault wobble is off sds-1",
    "revive sds-1",
    "FAULT_INJECTED fault sds-stop-1 (sds-stop) is on sds-1",
    "stop sds-1",
    "FAULT_REMOVED fault io-error-1 is off sds-2/dev-1",
    "FAULT_REMOVED fault sds-stop-1 is off sds-1",
    "revive sds-2/dev-1",
  ]);
});

t.test("a fault that makes no sense is an error in the API's form, and leaves nothing behind", async (t) => {
  const { ask, book } = await withFaults(t);
  const slow = { type: "slow", target: "sds-1" };
  await ask("POST", "/faults", { ...slow, name: "there" });
  const before = { faults: (await ask("GET", "/faults")).answer.faults, book: await readFile(book, "utf8") };
  for (const [body, status, code, message] of [
    [{ type: "gremlin", target: "sds-1" }, 400, "invalid_argument", /no fault of type "gremlin"; the types are .*slow/],
    [{ type: "toString", target: "sds-1" }, 400, "invalid_argument", /no fault of type "toString"/],
    [
      { type: "slow", target: "sds-9" },
      404,
      "not_found",
      /cannot be on "sds-9"; it can be on sds-1, sds-1\/dev-1, sds-2/,
    ],
    [{ type: "sds-stop", target: "sds-1/dev-1" }, 404, "not_found", /it can be on sds-1, sds-2$/],
    [{ ...slow, probability: 0 }, 400, "invalid_argument", /the probability 0 is not above 0 and at most 1/],
    [{ ...slow, probability: 1.01 }, 400, "invalid_argument", /the probability 1.01 is not above 0 and at most 1/],
    [{ ...slow, probability: -1 }, 400, "invalid_argument", /the probability -1 is not above 0 and at most 1/],
    [
      { ...slow, probability: "1" },
      400,
      "invalid_argument",
      /the body of \/faults is wrong: .*number.*\n.*probability/,
    ],
    [{ type: "sds-stop", target: "sds-1", probability: 0.5 }, 400, "invalid_argument", /it takes no probability/],
    [{ ...slow, attributes: { ms: "fast" } }, 400, "invalid_argument", /ms "fast" is not how much longer/],
    [
      { ...slow, attributes: { ms: 50 } },
      400,
      "invalid_argument",
      /the body of \/faults is wrong: .*string.*\n.*attributes.ms/,
    ],
    [{ ...slow, attributes: { colour: "red" } }, 400, "invalid_argument", /has no attribute "colour"; it has ms/],
    [{ ...slow, attributes: { constructor: "x" } }, 400, "invalid_argument", /has no attribute "constructor"/],
    [{ ...slow, colour: "red" }, 400, "invalid_argument", /the body of \/faults is wrong: .*"colour"/],
    [{ ...slow, name: "a/b" }, 400, "invalid_argument", /"a\/b" is no name for a fault/],
    [{ ...slow, name: "there" }, 409, "already_exists", /there is a fault called "there" already/],
    [{ type: "slow" }, 400, "invalid_argument", /the body of \/faults is wrong: .*\n.*target/],
    ["", 400, "invalid_argument", /the body of \/faults is wrong: .*\n.*type/],
    ["[]", 400, "invalid_argument", /the body of \/faults is wrong: .*object/],
    ['{"type": "slow", "target": "sds-1"', 400, "invalid_argument", /the request cannot be read: .*JSON/],
    ["slow", 400, "invalid_argument", /the request cannot be read: .*JSON/],
    [{ type: "mdm-down", target: "mdm-1" }, 503, "no_quorum", /fewer than two members take changes/],
  ] as const) {
    const what = `POST /faults ${JSON.stringify(body)}`;
    const { status: answered, answer } = await ask("POST", "/faults", body);
    t.equal(answered, status, what);
    t.strictSame(Object.keys(answer).sort(), ["code", "message"], what);
    t.match(answer, { code, message }, what);
    t.strictSame((await ask("GET", "/faults")).answer.faults, before.faults, what);
    t.equal(await readFile(book, "utf8"), before.book, what);
  }
  for (const name of ["none", "%20", "..%2fthere"]) {
    const { status, answer } = await ask("DELETE", `/faults/${name}`);
    t.equal(status, 404, name);
    t.match(answer, { code: "not_found", message: /^no fault is called ".*"; there are: there$/ });
  }
  t.equal((await ask("PUT", "/faults", slow)).status, 404);
  t.strictSame((await ask("GET", "/faults")).answer.faults, before.faults);
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
