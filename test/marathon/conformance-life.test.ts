import t from "tap";
import { isTerminal } from "../../src/mesos/task.ts";
import { waitFor } from "../helpers/wait.ts";
import { M, V, without } from "./conformance-apps.ts";
import { type FakeWorld, fakeWorld, plain } from "./fake-agents.ts";

// spec/marathon.md 10.4 by its numbers, with agents that are not. What needs real ones is in the files of real tasks.

const uuid = (taskId: string) => taskId.replace(/\._app\.\d+$/, "");
/** The task of an application that runs. */
const running = (world: FakeWorld, name: string, not: readonly string[] = []) =>
  waitFor(
    () => {
      const task = world.agents
        .living(name)
        .find(({ info, status }) => status.state === "TASK_RUNNING" && !not.includes(info.taskId));
      return task && { id: task.info.taskId, agent: world.agents.tasks.get(task.info.taskId)?.agent ?? "" };
    },
    { what: `a task of ${name}`, every: 2 },
  );
const states = (world: FakeWorld, ids: readonly string[]) =>
  world.agents.log.map((line) => line.replace(/^TASK_(\w+) (.*)$/, (_all, state, id) => `${ids.indexOf(id)} ${state}`));

t.test("107 strategy 0/0: the old one ends first, there are never two", async (t) => {
  const world = await fakeWorld(t);
  await world.post(M());
  const old = await running(world, "m");
  world.agents.log.length = 0;
  await world.call("PATCH", "/v2/apps/m", { env: { A: "1" } });
  const next = await running(world, "m", [old.id]);
  t.same(states(world, [old.id, next.id]), ["0 KILLING", "0 KILLED", "1 STAGING", "1 STARTING", "1 RUNNING"]);
});

t.test("108 the default strategy of external volumes: two tasks contend for one volume for a moment", async (t) => {
  const world = await fakeWorld(t);
  await world.post(without(M(V()), "upgradeStrategy"));
  const old = await running(world, "m");
  world.agents.log.length = 0;
  await world.call("PATCH", "/v2/apps/m", { env: { A: "1" } });
  const next = await running(world, "m", [old.id]);
  await world.settled();
  await waitFor(() => world.agents.living("m").length === 1, { what: "the end of the old one" });
  t.same(states(world, [old.id, next.id]), ["1 STAGING", "1 STARTING", "1 RUNNING", "0 KILLING", "0 KILLED"]);
});

t.test("110 a task that ends by itself without an error: the same delay, and nobody remembers it", async (t) => {
  const world = await fakeWorld(t);
  await world.post(plain("/a"));
  const { id } = await running(world, "a");
  world.agents.say(id, "TASK_FINISHED", "Command exited with status 0");
  t.match((await world.call("GET", "/v2/queue")).body.queue, [{ app: { id: "/a" }, delay: { overdue: false } }]);
  const [ended, ...others] = (await world.app("/a")).tasks;
  t.match(ended, { id, state: "TASK_FINISHED", host: /^agent-/, slaveId: /^S/, ports: [] }, "it is shown until then");
  t.notOk(others.length > 0 || "version" in ended || "stagedAt" in ended || "startedAt" in ended);
  t.match((await world.call("GET", "/v2/tasks")).body.tasks, [{ id }]);
  t.same((await world.call("GET", "/v2/tasks?status=running")).body.tasks, []);
  t.equal((await world.app("/a")).lastTaskFailure, undefined);
  await world.call("DELETE", "/v2/queue/a/delay");
  t.equal((await running(world, "a")).id, id.replace(/1$/, "2"), "its instance stays");
});

t.test("111 a task is killed: another instance, no delay, no failure", async (t) => {
  const world = await fakeWorld(t);
  await world.post(plain("/a"));
  const { id } = await running(world, "a");
  t.match(await world.call("DELETE", `/v2/apps/a/tasks/${id}`), { status: 200, body: { task: { id } } });
  const next = await running(world, "a", [id]);
  t.not(uuid(next.id), uuid(id));
  t.equal(world.agents.tasks.get(id)?.status.state, "TASK_KILLED");
  t.equal(world.marathon.app("/a").backoff.delayMs, 0);
  t.equal((await world.app("/a")).lastTaskFailure, undefined);
});

t.test(
  "112 delays after failures: 1, 2, 4, 8 seconds; another configuration ends them, scaling does not",
  async (t) => {
    const world = await fakeWorld(t);
    await world.post(plain("/f", { backoffSeconds: 1, backoffFactor: 2 }));
    const delays: number[] = [];
    for (let i = 0; i < 4; i++) {
      const { id } = await running(world, "f");
      world.agents.say(id, "TASK_FAILED");
      const record = world.marathon.app("/f");
      delays.push(record.backoff.delayMs / 1000);
      t.ok(record.backoff.until > Date.now(), "nothing is started before");
      t.equal(world.agents.living("f").length, 0);
      // As if it were over.
      record.backoff = { ...record.backoff, until: Date.now() };
      world.marathon.scheduler.look("/f");
    }
    t.same(delays, [1, 2, 4, 8]);
    await running(world, "f");
    await world.call("PUT", "/v2/apps/f?force=true", { instances: 2 });
    t.equal(world.marathon.app("/f").backoff.delayMs, 8000);
    await world.call("PUT", "/v2/apps/f?force=true", { env: { A: "1" } });
    t.equal(world.marathon.app("/f").backoff.delayMs, 0);
  },
);

t.test("114 a lost agent returns after its task was replaced: the old one is killed", async (t) => {
  const world = await fakeWorld(t);
  await world.post(M());
  const old = await running(world, "m");
  world.agents.lose(old.agent);
  const next = await running(world, "m", [old.id]);
  t.not(uuid(next.id), uuid(old.id));
  world.agents.back(old.agent);
  await waitFor(() => world.agents.tasks.get(old.id)?.status.state === "TASK_KILLED", { what: "the old one to end" });
  t.match(
    world.events.find(({ eventType }) => eventType === "unknown_instance_terminated_event"),
    { instanceId: uuid(old.id), runSpecId: "/m", condition: "Killed" },
  );
  t.equal(world.agents.tasks.get(next.id)?.status.state, "TASK_RUNNING", "the new one has the volume");
});

t.test("115 an agent is back before its task is given up: the younger one is killed", async (t) => {
  const world = await fakeWorld(t);
  await world.post(plain("/a", { unreachableStrategy: { inactiveAfterSeconds: 1, expungeAfterSeconds: 3600 } }));
  const old = await running(world, "a");
  world.agents.lose(old.agent);
  const next = await running(world, "a", [old.id]);
  world.agents.back(old.agent);
  await waitFor(() => world.agents.tasks.get(next.id)?.status.state === "TASK_KILLED", { what: "one of them to end" });
  t.match((await world.app("/a")).tasks, [{ id: old.id, state: "TASK_RUNNING" }]);
});

t.test("116 a strategy that is disabled: never replaced, and shown", async (t) => {
  const world = await fakeWorld(t);
  await world.post(plain("/a", { unreachableStrategy: "disabled" }));
  const { id, agent } = await running(world, "a");
  world.agents.lose(agent);
  t.match((await world.app("/a")).tasks, [{ id, state: "TASK_UNREACHABLE" }]);
  t.equal(world.agents.tasks.size, 1);
  world.agents.back(agent);
  t.match((await world.app("/a")).tasks, [{ id, state: "TASK_RUNNING" }]);
});

t.test("117 pinned to the lost host: its replacement is queued", async (t) => {
  const world = await fakeWorld(t);
  await world.post(plain("/a", { constraints: [["hostname", "CLUSTER", "agent-1"]] }));
  world.agents.lose("agent-1");
  const [item] = await waitFor(
    async () => {
      const { queue } = (await world.call("GET", "/v2/queue?embed=lastUnusedOffers")).body;
      return queue.length === 1 && queue;
    },
    { what: "the queue" },
  );
  t.match(item, { app: { id: "/a" }, count: 1, lastUnusedOffers: [{ reason: ["UnfulfilledConstraint"] }] });
  const summary: { reason: string; declined: number }[] = item.processedOffersSummary.rejectSummaryLastOffers;
  t.equal(summary.find(({ reason }) => reason === "UnfulfilledConstraint")?.declined, 2);
  t.ok(
    [...world.agents.tasks.values()].every(({ status }) => !isTerminal(status.state)),
    "the old one may run on",
  );
});
