import { setTimeout as pause } from "node:timers/promises";
import t from "tap";
import { afterFailure, NO_BACKOFF } from "../../src/marathon/scheduler/backoff.ts";
import { Usages } from "../../src/marathon/scheduler/usage.ts";
import { waitFor } from "../helpers/wait.ts";
import { fakeWorld, plain } from "./fake-agents.ts";
import { stateful } from "./world.ts";

// What the scheduler decides, with the real Marathon over agents that are not: no process, no volume, no second is spent.

t.test("an application without instances is removed at once, and its id is free again", async (t) => {
  const world = await fakeWorld(t);
  await world.post(plain("/none", { instances: 0 }));
  t.equal((await world.call("DELETE", "/v2/apps/none")).status, 200);
  await world.settled();
  t.equal((await world.call("POST", "/v2/apps", plain("/none"))).status, 201);
});

const CHECKS: [string, object][] = [
  ["a health check", { healthChecks: [{ protocol: "COMMAND", command: { value: "true" } }] }],
  ["a readiness check", { readinessChecks: [{}] }],
];
for (const [what, more] of CHECKS)
  t.test(`${what} is added under 0/0: the old instance, which has none, is well and goes first`, async (t) => {
    const world = await fakeWorld(t);
    await world.post(stateful("/m", "v1"));
    const [old] = world.agents.living();
    t.equal((await world.call("PUT", "/v2/apps/m", more)).status, 200);
    await waitFor(
      () =>
        world.agents
          .living()
          .some(({ info, status }) => info.taskId !== old?.info.taskId && status.state === "TASK_RUNNING"),
      { what: "the new one" },
    );
    t.match(
      world.agents.log.map((line) => line.replace(/ .*/, "")),
      [
        ...["TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_KILLED"],
        ...["TASK_STAGING", "TASK_STARTING", "TASK_RUNNING"],
      ],
    );
  });

t.test("an old instance without checks is well whatever its state: one that hangs is replaced", async (t) => {
  const world = await fakeWorld(t);
  world.agents.held.add("m");
  await world.call("POST", "/v2/apps", stateful("/m", "v1"));
  await waitFor(() => world.agents.living().length === 1, { what: "it to be staged" });
  world.agents.held.clear();
  t.equal((await world.call("PUT", "/v2/apps/m?force=true", { env: { A: "1" } })).status, 200);
  await world.settled();
  t.equal(world.agents.living().length, 1);
});

t.test("fewer instances and another configuration at once: as many as shall be run all the time", async (t) => {
  const world = await fakeWorld(t);
  await world.post(plain("/up", { instances: 6 }));
  Object.assign(world.agents, { startMs: 60, killMs: 20 });
  await world.call("PUT", "/v2/apps/up", { instances: 4, env: { A: "1" } });
  let least = 6;
  await waitFor(
    () => {
      const running = world.agents.living().filter(({ status }) => status.state === "TASK_RUNNING").length;
      least = Math.min(least, running);
      return world.marathon.store.deployments.length === 0;
    },
    { what: "the end of it", every: 1 },
  );
  t.equal(least, 4);
});

t.test("a task that is killed with scale=true is the only one that goes", async (t) => {
  const world = await fakeWorld(t);
  await world.post(plain("/s", { instances: 3 }));
  const [oldest, ...others] = world.agents.living().map(({ info }) => info.taskId);
  t.equal((await world.call("DELETE", `/v2/apps/s/tasks/${oldest}?scale=true`)).status, 200);
  await world.settled();
  await pause(20);
  t.same(
    world.agents.living().map(({ info }) => info.taskId),
    others,
  );
});

const LOSS = { inactiveAfterSeconds: 1, expungeAfterSeconds: 600 };

t.test("an agent is lost, then the application is changed: it comes up elsewhere at once", async (t) => {
  const world = await fakeWorld(t);
  const check = { healthChecks: [{ protocol: "COMMAND", command: { value: "true" } }] };
  for (const [id, more] of [
    ["/bare", {}],
    ["/ill", check],
  ] as const) {
    await world.call("POST", "/v2/apps", stateful(id, id.slice(1), { unreachableStrategy: LOSS, ...more }));
    await waitFor(() => world.agents.living(id.slice(1)).some(({ status }) => status.state === "TASK_RUNNING"), {
      what: `${id} to run`,
    });
  }
  const old = world.agents.living().map(({ info }) => info.taskId);
  const hosts = new Set([...world.agents.tasks.values()].map(({ agent }) => agent));
  for (const host of hosts) world.agents.lose(host);
  for (const id of ["bare", "ill"])
    t.equal((await world.call("PUT", `/v2/apps/${id}?force=true`, { env: { A: "1" } })).status, 200);
  const next = await waitFor(
    () => {
      const later = world.agents.living().filter(({ info }) => !old.includes(info.taskId));
      return later.length === 2 && later.every(({ status }) => status.state === "TASK_RUNNING") ? later : undefined;
    },
    { what: "both elsewhere" },
  );
  t.equal(next.length, 2, "also the one that was never well, when it is inactive");
  await waitFor(() => world.marathon.deployments.of("/bare").length === 0, { what: "the end of the deployment" });
});

t.test("an agent is lost in the middle of a deployment: it ends on the others", async (t) => {
  const world = await fakeWorld(t);
  await world.post(plain("/d", { instances: 3, unreachableStrategy: LOSS }));
  const old = new Set(world.agents.tasks.keys());
  world.agents.held.add("d");
  await world.call("PUT", "/v2/apps/d", { env: { A: "1" } });
  const staged = await waitFor(() => [...world.agents.tasks.values()].find(({ info }) => !old.has(info.taskId)), {
    what: "a new task",
  });
  world.agents.lose(staged.agent);
  world.agents.held.clear();
  for (const { info } of world.agents.living("d"))
    if (!old.has(info.taskId)) world.agents.say(info.taskId, "TASK_RUNNING");
  await world.settled();
  const tasks: { host: string; state: string }[] = (await world.app("/d")).tasks;
  t.equal(tasks.filter(({ host, state }) => host !== staged.agent && state === "TASK_RUNNING").length, 3);
  t.ok(
    tasks.some(({ state }) => state === "TASK_UNREACHABLE"),
    "what is not given up yet is shown",
  );
});

t.test("times after a loss go on over a start of the daemon", async (t) => {
  const world = await fakeWorld(t);
  const on = (agent: string) => ({ constraints: [["hostname", "CLUSTER", agent]] });
  await world.post(
    plain("/x", { ...on("agent-1"), unreachableStrategy: { inactiveAfterSeconds: 1, expungeAfterSeconds: 1 } }),
  );
  await world.post(plain("/y", { unreachableStrategy: LOSS, ...on("agent-1") }));
  await world.post(plain("/z", on("agent-2")));
  world.agents.lose("agent-1");
  await world.close();
  // It dies between the record of the loss and the word of it.
  world.agents.lose("agent-2", { tell: false });
  const next = await fakeWorld(t, world);
  t.match((await next.app("/x")).tasks, [{ state: "TASK_UNREACHABLE" }]);
  t.same((await next.app("/z")).tasks, [], "nobody was told of it, and it is expunged");
  await waitFor(async () => (await next.app("/x")).tasks.length === 0, { what: "the expunge" });
  await waitFor(async () => (await next.call("GET", "/v2/queue")).body.queue.length === 3, { what: "three that wait" });
  t.match((await next.app("/y")).tasks, [{ state: "TASK_UNREACHABLE" }], "it waits for its agent yet");
});

t.test("what cannot be done waits, with the reason, rather than being run as something else", async (t) => {
  const world = await fakeWorld(t);
  const volume = (more: object) => ({ container: { type: "MESOS", volumes: [{ containerPath: "d", ...more }] } });
  const bridge = [{ mode: "container/bridge" }];
  const cases: [string, object, RegExp][] = [
    ["/persistent", volume({ mode: "RW", persistent: { size: 10 } }), /persistent local volumes are not supported/],
    ["/secret", volume({ secret: "password" }), /secrets are not supported/],
    ["/env", { env: { A: { secret: "password" } } }, /secrets are not supported/],
    ["/bridge", { networks: bridge, container: { type: "MESOS" } }, /MESOS containers have no networks of their own/],
    ["/none", { networks: bridge }, /MESOS containers have no networks of their own/],
    ["/executor", { executor: "/opt/executor" }, /executors of one's own are not supported/],
    ["/image", { container: { type: "MESOS", docker: { image: "x" } } }, /images for MESOS containers/],
  ];
  for (const [id, more, why] of cases) {
    t.equal((await world.call("POST", "/v2/apps", plain(id, more))).status, 201, id);
    await waitFor(() => world.marathon.scheduler.waiting(id)?.texts.some((text) => why.test(text)), {
      what: `${id}: ${why}`,
    });
  }
  t.equal(world.agents.tasks.size, 0);
});

t.test("delays after failures: how they grow, what resets them", async (t) => {
  const settings = { backoffSeconds: 1, backoffFactor: 2, maxLaunchDelaySeconds: 5 };
  let backoff = NO_BACKOFF;
  const delays = [];
  let now = 1_000_000;
  for (let i = 0; i < 5; i++) {
    backoff = afterFailure(backoff, settings, now);
    delays.push(backoff.delayMs / 1000);
    now = backoff.until;
  }
  t.same(delays, [1, 2, 4, 5, 5], "112 and never longer than maxLaunchDelaySeconds");
  t.equal(afterFailure(backoff, settings, now + 6000).delayMs, 1000, "a quiet period resets it");

  const world = await fakeWorld(t);
  const fail = async (state: "TASK_FAILED" | "TASK_FINISHED" = "TASK_FAILED") => {
    const task = await waitFor(() => world.agents.living().find(({ status }) => status.state === "TASK_RUNNING"), {
      what: "a task",
    });
    world.agents.say(task.info.taskId, state, "Command exited");
  };
  const delay = () => (world.marathon.app("/f").backoff.delayMs / 1000).toString();
  const app = plain("/f", { backoffSeconds: 1, backoffFactor: 2 });
  await world.post(app);
  await fail();
  t.equal(delay(), "1");
  await world.call("DELETE", "/v2/queue/f/delay");
  t.equal(delay(), "0", "taken away");
  await fail("TASK_FINISHED");
  t.equal(delay(), "1", "110 an end without an error counts too");
  t.match((await world.app("/f")).lastTaskFailure, { state: "TASK_FAILED" }, "110 and is remembered by nobody");
  await world.call("PUT", "/v2/apps/f?force=true", { instances: 2 });
  t.equal(delay(), "1", "112 scaling does not reset it");
  await world.call("PUT", "/v2/apps/f?force=true", { env: { A: "1" } });
  t.equal(delay(), "0", "112 another configuration does");
});

t.test("a task that its health check kills is the last failure, in Marathon's words", async (t) => {
  const world = await fakeWorld(t);
  const check = { protocol: "TCP", gracePeriodSeconds: 0, intervalSeconds: 1, maxConsecutiveFailures: 1 };
  await world.call("POST", "/v2/apps", plain("/ill", { healthChecks: [check] }));
  const failure = await waitFor(async () => (await world.app("/ill")).lastTaskFailure, { what: "the kill" });
  t.match(failure, {
    state: "TASK_KILLED",
    message: /^Task was killed since health check failed\. Reason: .*ECONNREFUSED/,
  });
});

t.test("old instances are charged what they were started with", async (t) => {
  const world = await fakeWorld(t);
  world.agents.resources = { cpus: 4, mem: 65_536, disk: 0 };
  await world.post(plain("/a", { instances: 3, cpus: 1, constraints: [["hostname", "UNIQUE"]] }));
  world.agents.held.add("a");
  const slow = { cpus: 2, upgradeStrategy: { minimumHealthCapacity: 1, maximumOverCapacity: 0 }, constraints: [] };
  await world.call("PUT", "/v2/apps/a", slow);
  // 3 of 12 are taken, and one new one takes 2.
  await waitFor(() => world.agents.tasks.size === 4, { what: "a new one" });
  await world.call("POST", "/v2/apps", plain("/b", { cpus: 3, instances: 2 }));
  await waitFor(() => world.agents.living("b").length === 2, { what: "both to fit beside the old ones" });
});

t.test("DOCKER tasks have five seconds to end, MESOS tasks three", async (t) => {
  const world = await fakeWorld(t);
  await world.post(plain("/m"));
  await world.post(plain("/d", { container: { type: "DOCKER", docker: { image: "x" } } }));
  const grace = ["m", "d"].map((name) => world.agents.living(name)[0]?.info.killGraceSeconds);
  t.same(grace, [3, 5]);
});

t.test("sums of what is taken do not drift, and a port that two use is taken until both are gone", async (t) => {
  const usages = new Usages();
  const use = (ports: number[]) => ({ agent: "a", ports, cpus: 0.1, mem: 0.7, disk: 0 });
  for (let i = 0; i < 1000; i++) usages.set(`${i}`, use([i % 2]));
  for (let i = 0; i < 998; i++) usages.set(`${i}`, undefined);
  usages.set("998", use([1]));
  t.same(usages.on("a"), { cpus: 0.2, mem: 1.4, disk: 0, ports: new Set([1]) });
  usages.set("998", undefined);
  t.same(usages.on("a").ports, new Set([1]));
  usages.set("999", undefined);
  t.same(usages.on("a"), { cpus: 0, mem: 0, disk: 0, ports: new Set() });
});
