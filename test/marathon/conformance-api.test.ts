import t from "tap";
import { waitFor } from "../helpers/wait.ts";
import { M } from "./conformance-apps.ts";
import { fakeWorld, plain } from "./fake-agents.ts";

// spec/marathon.md 10.3 by its numbers: what is asked, and what is answered. One world serves them all.

const SLEEP = { cmd: "sleep 1000", cpus: 0.1, mem: 32 };

t.test("the API, by rows", async (t) => {
  const world = await fakeWorld(t);
  const { call } = world;
  const shape = (path: string, error: string) => ({
    status: 422,
    body: { message: "Invalid JSON", details: [{ path, errors: [error] }] },
  });
  const rules = (path: string, error: string) => ({
    status: 422,
    body: { message: "Object is not valid", details: [{ path, errors: [error] }] },
  });
  // Fits nowhere: its deployment goes on for ever.
  const stuck = async (id: string) => (await call("POST", "/v2/apps", plain(id, { cpus: 99 }))).body;
  await world.post(M());
  await world.post(plain("/a"));

  t.test("82 no JSON", async (t) => {
    t.match(await call("POST", "/v2/apps", "{"), { status: 400, body: { message: "Invalid JSON", details: String } });
  });

  t.test("83 an empty body", async (t) => {
    t.match(await call("POST", "/v2/apps"), { status: 400, body: { message: "Please specify data in JSON format" } });
  });

  t.test("84 an id that is a number", async (t) => {
    t.match(await call("POST", "/v2/apps", { id: 1 }), shape("/id", "error.expected.jsstring"));
  });

  t.test("85 a part of an instance", async (t) => {
    t.match(await call("POST", "/v2/apps", plain("/x", { instances: 0.1 })), shape("/instances", "error.expected.int"));
  });

  t.test("86 an id twice", async (t) => {
    const again = await call("POST", "/v2/apps", M());
    t.match(again, { status: 409, body: { message: "An app with id [/m] already exists." } });
    t.notOk("deployments" in again.body);
  });

  t.test("87 an update of what is being deployed", async (t) => {
    const { deployments } = await stuck("/s87");
    const locked = await call("PUT", "/v2/apps/s87", { cpus: 98 });
    t.match(locked, { status: 409, body: { message: /^App is locked by one or more deployments\./, deployments } });
    t.equal(locked.headers.get("marathon-deployment-id"), null);
  });

  t.test("88 the same by force, in any case", async (t) => {
    await stuck("/s88");
    for (const [cpus, force] of ["true", "True"].entries())
      t.equal((await call("PUT", `/v2/apps/s88?force=${force}`, { cpus: 97 - cpus })).status, 200, force);
  });

  t.test("89 a removal needs no force", async (t) => {
    await stuck("/s89");
    t.equal((await call("DELETE", "/v2/apps/s89")).status, 200);
  });

  t.test("90 a restart of what is being deployed", async (t) => {
    await stuck("/s90");
    t.equal((await call("POST", "/v2/apps/s90/restart")).status, 409);
  });

  t.test("91 an update that changes nothing", async (t) => {
    const { version } = await world.app("/a");
    const same = await call("PUT", "/v2/apps/a", SLEEP);
    t.match(same, { status: 200, body: { version, deploymentId: String } });
    t.equal((await world.app("/a")).version, version);
    t.same((await world.app("/a")).deployments, []);
  });

  t.test("92 an update of what is not there", async (t) => {
    const created = await call("PUT", "/v2/apps/new", SLEEP);
    t.match(created, { status: 201, body: { version: String, deploymentId: String } });
  });

  t.test("93 a patch of what is not there", async (t) => {
    const { status, body } = await call("PATCH", "/v2/apps/none", SLEEP);
    t.match({ status, body }, { status: 404, body: { message: "App '/none' does not exist" } });
  });

  t.test("94 back to an old version", async (t) => {
    await world.post(plain("/v", { env: { A: "old" } }));
    const { version } = await world.app("/v");
    const { body } = await call("PUT", "/v2/apps/v", { env: { A: "new" } });
    t.equal((await call("PUT", "/v2/apps/v?force=true", { version })).status, 200);
    const back = await world.app("/v");
    t.same(back.env, { A: "old" });
    t.ok(back.version > body.version, "under a new version");
    const { versions } = (await call("GET", "/v2/apps/v/versions")).body;
    t.same([versions.length, versions[1], versions[2]], [3, body.version, version], "newest first");
    t.match((await call("GET", `/v2/apps/v/versions/${body.version}`)).body, { id: "/v", env: { A: "new" } });
  });

  t.test("95 a version that is no time", async (t) => {
    const message = "Invalid timestamp provided 'foo'. Expecting ISO-8601 datetime string.";
    t.match(await call("GET", "/v2/apps/a/versions/foo"), { status: 422, body: { message } });
  });

  t.test("96 a route that is not there", async (t) => {
    t.match(await call("GET", "/v2/nothing"), { status: 500, body: { message: "URI not found" } });
  });

  t.test("97 scale and wipe", async (t) => {
    const message = "You cannot use scale and wipe at the same time.";
    t.match(await call("DELETE", "/v2/apps/a/tasks?scale=true&wipe=true"), { status: 400, body: { message } });
  });

  t.test("98 a task is killed with scale", async (t) => {
    await world.post(plain("/k", { instances: 2 }));
    const [task] = (await world.app("/k")).tasks;
    const scaled = await call("DELETE", `/v2/apps/k/tasks/${task.id}?scale=true`);
    t.match(scaled, { status: 200, body: { version: String, deploymentId: String } });
    t.equal((await world.app("/k")).instances, 1);
  });

  t.test("99 a delay is taken away", async (t) => {
    const message = "Application /a not found in tasks queue.";
    t.match(await call("DELETE", "/v2/queue/a/delay"), { status: 404, body: { message } });
    await stuck("/s99");
    t.match(await call("DELETE", "/v2/queue/s99/delay"), { status: 204, body: "" });
  });

  t.test("100 a deployment is dropped", async (t) => {
    const { deployments } = await stuck("/s100");
    const listed = (await call("GET", "/v2/deployments")).body;
    t.match(listed.at(-1), { id: deployments[0].id, affectedApps: ["/s100"], currentStep: 2, totalSteps: 2 });
    t.match(await call("DELETE", `/v2/deployments/${deployments[0].id}?force=true`), { status: 202, body: "" });
    t.match(await world.app("/s100"), { cpus: 99, deployments: [] }, "what it has brought about stays");
  });

  t.test("101 the deployment of a first POST is taken back", async (t) => {
    const { deployments } = await stuck("/s101");
    const back = await call("DELETE", `/v2/deployments/${deployments[0].id}`);
    t.match(back, { status: 200, body: { version: String, deploymentId: String } });
    await waitFor(async () => (await call("GET", "/v2/apps/s101")).status === 404, { what: "it to be gone" });
    const message = "DeploymentPlan none does not exist";
    t.match(await call("DELETE", "/v2/deployments/none"), { status: 404, body: { message } });
  });

  t.test("102 events without the header", async (t) => {
    t.equal((await call("GET", "/v2/events")).status, 405);
  });

  t.test("103 a command of one letter", async (t) => {
    t.match(await call("POST", "/v2/apps", plain("/x", { cmd: "x" })), rules("/", "must not be an empty string"));
  });

  t.test("104 nothing to run", async (t) => {
    const text = "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.";
    t.match(await call("POST", "/v2/apps", { id: "/x" }), rules("/", text));
  });

  t.test("105 UNIQUE with a value", async (t) => {
    const unique = plain("/x", { constraints: [["hostname", "UNIQUE", "x"]] });
    t.match(await call("POST", "/v2/apps", unique), rules("/constraints(0)", "UNIQUE does not accept a value"));
  });

  t.test("106 an unknown key is not kept", async (t) => {
    const { status, body } = await call("POST", "/v2/apps", plain("/foo", { foo: 1 }));
    t.equal(status, 201);
    t.notOk("foo" in body || "foo" in (await world.app("/foo")));
  });

  t.test("what is not there, and what is no task's id", async (t) => {
    t.match(await call("GET", "/v2/groups/none"), { status: 404, body: { message: "Group '/none' does not exist" } });
    const task = await call("DELETE", "/v2/apps/a/tasks/none");
    t.match(task, { status: 404, body: { message: "Task 'none' does not exist" } });
    const wrong = await call("POST", "/v2/tasks/delete", { ids: ["x"] });
    t.match(wrong, { status: 400, body: { message: /^Invalid task id 'x'/ } });
  });
});
