import t from "tap";
import { type Json, M, NONE, V } from "./conformance-apps.ts";
import { fakeWorld } from "./fake-agents.ts";

// spec/marathon.md 10.1 by its numbers: applications that others are in the way of, and updates.
const LIMITED = /^Number of instances is limited to 1 when declaring DVDI volumes in app \[/;

t.test("rows 59 to 67", async (t) => {
  const world = await fakeWorld(t);
  t.afterEach(() => world.clear());
  const second = M(V(), { id: "/m2" });
  const shared = V({}, { shared: true });
  const post = (body: Json) => world.call("POST", "/v2/apps", body);
  const conflict = (name: string, other: string) =>
    `Volume name 'v1' in ${name} conflicts with volume(s) of same name in app(s): ${other}`;
  const errors = (answer: { body: { details: { errors: string[] }[] } }) =>
    answer.body.details.flatMap((one) => one.errors).toSorted();

  t.test("59 one name in two applications", async (t) => {
    await post(M());
    t.same(errors(await post(second)), [conflict("/m", "/m2"), conflict("/m2", "/m")]);
  });
  t.test("60 also when one has no instances", async (t) => {
    await post(M(V(), { instances: 0 }));
    t.same(errors(await post(second)), [conflict("/m", "/m2"), conflict("/m2", "/m")]);
  });
  t.test("61 both share it", async (t) => {
    await post(M(shared));
    t.equal((await post(M(shared, { id: "/m2" }))).status, 201);
  });
  t.test("62 only one shares it", async (t) => {
    await post(M());
    t.same(errors(await post(M(shared, { id: "/m2" }))), [conflict("/m2", "/m")]);
  });
  t.test("63 in two groups of one group", async (t) => {
    const groups = ["a", "b"].map((id) => ({ id, apps: [M(V(), { id: "m" })] }));
    const { status, body } = await world.call("POST", "/v2/groups", { id: "/g", groups });
    t.equal(status, 422);
    for (const { path } of body.details) t.match(path, /^\/groups\(/);
  });
  t.test("64 two instances by an update", async (t) => {
    await post(M());
    await world.settled();
    const { status, body } = await world.call("PATCH", "/v2/apps/m", { instances: 2 });
    t.match({ status, details: body.details }, { status: 422, details: [{ path: "/", errors: [LIMITED] }] });
    t.equal((await world.app("/m")).instances, 1, "what is stored is unchanged");
  });
  t.test("65 a volume that comes later brings its rules", async (t) => {
    const { container } = M();
    await post({ id: "/m", cmd: "sleep 100", cpus: 0.1, mem: 32 });
    await world.settled();
    const refused = await world.call("PUT", "/v2/apps/m", { container });
    t.match(refused, { status: 422, body: { details: [{ path: "/upgradeStrategy/maximumOverCapacity" }] } });
    t.equal((await world.call("PUT", "/v2/apps/m", { container, upgradeStrategy: NONE })).status, 200);
  });
  t.test("66 another size starts it anew", async (t) => {
    await post(M());
    await world.settled();
    const { container } = M(V({}, { size: 2 }));
    const { status } = await world.call("PUT", "/v2/apps/m", { container });
    t.equal(status, 200);
    const [deployment] = (await world.call("GET", "/v2/deployments")).body;
    t.match(deployment, { steps: [{ actions: [{ action: "RestartApplication", app: "/m" }] }] });
  });
  t.test("67 a group is scaled", async (t) => {
    await post(M());
    await world.settled();
    const scaled = await world.call("PUT", "/v2/groups/", { scaleBy: 2 });
    t.match(scaled, { status: 422, body: { details: [{ errors: [LIMITED] }] } });
  });
});
