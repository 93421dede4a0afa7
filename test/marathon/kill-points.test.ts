import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import path from "node:path";
import t, { type Test } from "tap";
import { current } from "../../src/marathon/scheduler/store.ts";
import { waitFor } from "../helpers/wait.ts";
import { type FakeWorld, fakeWorld, plain } from "./fake-agents.ts";

// The daemon dies after any of its writes, and whatever it had not put on disk is gone. What it had answered holds, nothing is
// half done, and nothing is locked for ever.

/** What a user asks for, one after the other, and what there is then: instances and A of the environment, by id. */
const ORDERS: [string, string, object | undefined, Record<string, string>][] = [
  ["POST", "/v2/apps", plain("/a"), { "/a": "1 -" }],
  ["POST", "/v2/apps", plain("/none", { instances: 0 }), { "/a": "1 -", "/none": "0 -" }],
  ["PUT", "/v2/apps/a", { env: { A: "x" }, instances: 2 }, { "/a": "2 x", "/none": "0 -" }],
  ["DELETE", "/v2/apps/none", undefined, { "/a": "2 x" }],
  [
    "PUT",
    "/v2/groups/g",
    { apps: [plain("b"), plain("c", { dependencies: ["b"] })] },
    { "/a": "2 x", "/g/b": "1 -", "/g/c": "1 -" },
  ],
  ["DELETE", "/v2/groups/g", undefined, { "/a": "2 x" }],
  ["DELETE", "/v2/apps/a", undefined, {}],
];

/** From the given write on, every write fails. Answers how to end that, and whether it has come to it. */
function dieAfter(t: Test, writes: number): { died: () => boolean; revive: () => void } {
  const { rename } = fs.promises;
  const { rmSync } = fs;
  let left = writes;
  const dead = () => left-- <= 0;
  const death = () => new Error("the daemon is dead");
  fs.promises.rename = async (from, to) => {
    if (dead()) throw death();
    await rename(from, to);
  };
  fs.rmSync = (file, options) => {
    if (dead()) throw death();
    rmSync(file, options);
  };
  syncBuiltinESMExports();
  const revive = () => {
    Object.assign(fs.promises, { rename });
    fs.rmSync = rmSync;
    syncBuiltinESMExports();
  };
  t.teardown(revive);
  return { died: () => left < 0, revive };
}

const seen = (world: FakeWorld): Record<string, string> =>
  Object.fromEntries(
    world.marathon
      .apps()
      .map((record) => current(record).app)
      .map(({ id, instances, env }) => [id, `${instances} ${env["A"] ?? "-"}`] as const)
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );

async function lifeUntil(t: Test, writes: number): Promise<boolean> {
  const world = await fakeWorld(t);
  const { died, revive } = dieAfter(t, writes);
  let held: Record<string, string> = {};
  let asked = held;
  for (const [method, url, body, then] of ORDERS) {
    asked = then;
    const { status } = await world.call(method, url, body);
    if (status < 300) held = then;
    await waitFor(() => died() || world.marathon.store.deployments.length === 0, { what: "the order", every: 1 });
    if (died()) break;
  }
  const ended = !died();
  await world.close();
  revive();
  const next = await fakeWorld(t, world);
  await next.settled();
  const now = JSON.stringify(seen(next));
  if (![held, asked].some((one) => JSON.stringify(one) === now))
    t.fail(`after ${writes} writes: ${now}, neither ${JSON.stringify(held)} nor ${JSON.stringify(asked)}`);
  const wanted = Object.entries(seen(next)).flatMap(([id, text]) => Array(Number.parseInt(text, 10)).fill(id));
  await waitFor(
    () => {
      const running = next.agents.living().filter(({ status }) => status.state === "TASK_RUNNING");
      const names = running.map(({ info }) => `/${info.name.split(".").toReversed().join("/")}`);
      return JSON.stringify(names.toSorted()) === JSON.stringify(wanted.toSorted());
    },
    { what: `the tasks of ${now} after ${writes} writes`, every: 2 },
  );
  for (const id of Object.keys(seen(next)))
    if ((await next.call("PUT", `/v2/apps${id}`, { labels: { later: "1" } })).status !== 200) t.fail(`${id} is locked`);
  await next.settled();
  await next.close();
  return ended;
}

t.test("every write may be the last one", { timeout: 120_000 }, async (t) => {
  let writes = 0;
  while (!(await lifeUntil(t, writes))) writes++;
  t.ok(writes > 20, `${writes} writes`);
});

t.test("a disk that is full: nothing has changed, and the same works when there is room again", async (t) => {
  const world = await fakeWorld(t);
  await world.post(plain("/a"));
  const file = path.join(world.dir, "marathon/marathon.json");
  fs.rmSync(file);
  fs.mkdirSync(file);
  const refused = await world.call("PUT", "/v2/apps/a", { env: { A: "1" } });
  t.equal(refused.status, 500);
  t.equal((await world.call("POST", "/v2/apps", plain("/b"))).status, 500);
  t.same((await world.app("/a")).env, {}, "the old one is shown");
  t.same((await world.app("/a")).deployments, []);
  t.equal((await world.call("GET", "/v2/apps/b")).status, 404);
  fs.rmdirSync(file);
  t.equal((await world.call("PUT", "/v2/apps/a", { env: { A: "1" } })).status, 200);
  t.equal((await world.call("POST", "/v2/apps", plain("/b"))).status, 201);
  await world.settled();
});
