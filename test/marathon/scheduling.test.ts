import t from "tap";
import { requiresFuse } from "../helpers/requires.ts";
import { waitFor } from "../helpers/wait.ts";
import { startWorld, stateful, type Task, type World } from "./world.ts";

// Where and when instances run (spec/marathon.md 7.3, 8, 10.4), by the numbers of the cases.
const skip = requiresFuse();
const SLEEP = { cmd: "exec sleep 1000", cpus: 0.1, mem: 16, portDefinitions: [] };
const PREEMPT =
  "libstorage:\n  integration:\n    volume:\n      operations:\n        mount:\n          preempt: true\n";

/** The greatest number of tasks that an application had at once, looked at until it has settled. */
async function mostAtOnce(world: World, id: string, change: () => Promise<unknown>, old: string): Promise<number> {
  let most = 0;
  await change();
  await waitFor(
    async () => {
      const app = await world.app(id);
      const living = app.tasks.filter(({ state }) => ["TASK_RUNNING", "TASK_KILLING", "TASK_STAGING"].includes(state));
      most = Math.max(most, living.length);
      return app.deployments.length === 0 && living.length === 1 && living[0]?.id !== old;
    },
    { what: "the new task", deadline: 20_000, every: 5 },
  );
  return most;
}

t.test("upgrades", { skip, timeout: 60_000 }, async (t) => {
  const world = await startWorld(t);
  await world.call("POST", "/v2/apps", stateful("/m", "v1"));
  const first = await world.runs("/m");
  const kill = () => world.call("PATCH", "/v2/apps/m", { env: { A: "1" } });
  t.equal(await mostAtOnce(world, "/m", kill, first.id), 1, "107 with 0/0 never two tasks");

  await world.call("POST", "/v2/apps", { id: "/plain", ...SLEEP });
  const plain = await world.runs("/plain");
  const over = () => world.call("PATCH", "/v2/apps/plain", { env: { A: "1" } });
  t.equal(await mostAtOnce(world, "/plain", over, plain.id), 2, "108 with 1/1 the new one runs first");
});

t.test("constraints", { skip, timeout: 90_000 }, async (t) => {
  const agents = [1, 2, 3].map(
    (i) => `    - {name: agent-${i}, cpus: 4, mem: 4096, attributes: {rack: ${i < 3 ? "a" : "b"}}}\n`,
  );
  const world = await startWorld(t, { agents: `\n${agents.join("")}` });
  const hosts = (tasks: readonly Task[]) => tasks.map(({ host }) => host).toSorted();
  const cases: [string, string[], number, (hosts: string[]) => boolean][] = [
    ["unique", ["hostname", "UNIQUE"], 3, (on) => new Set(on).size === 3],
    ["cluster", ["rack", "CLUSTER", "b"], 2, (on) => on.every((host) => host === "agent-3")],
    ["like", ["hostname", "LIKE", "agent-[12]"], 3, (on) => !on.includes("agent-3")],
    ["unlike", ["hostname", "UNLIKE", "agent-[12]"], 2, (on) => on.every((host) => host === "agent-3")],
    ["is", ["rack", "IS", "b"], 1, (on) => on[0] === "agent-3"],
    ["max", ["hostname", "MAX_PER", "1"], 3, (on) => new Set(on).size === 3],
    ["group", ["rack", "GROUP_BY", "2"], 4, (on) => on.filter((host) => host === "agent-3").length === 2],
  ];
  for (const [name, constraint, instances, holds] of cases) {
    await world.call("POST", "/v2/apps", { id: `/${name}`, ...SLEEP, constraints: [constraint], instances });
    const on = hosts(await world.running(`/${name}`, instances));
    t.ok(holds(on), `${constraint.join(" ")}: ${on}`);
  }
  for (const killSelection of ["OLDEST_FIRST", "YOUNGEST_FIRST"]) {
    const id = `/${killSelection.toLowerCase().replace("_", "-")}`;
    await world.call("POST", "/v2/apps", { id, ...SLEEP, killSelection });
    const first = await world.runs(id);
    await world.call("PUT", `/v2/apps${id}`, { instances: 2 });
    const both = await world.running(id, 2);
    await world.call("PUT", `/v2/apps${id}`, { instances: 1 });
    const left = await world.runs(id);
    const young = both.find((task) => task.id !== first.id);
    t.equal(left.id, (killSelection === "OLDEST_FIRST" ? young : first)?.id, killSelection);
  }
});

t.test("agents that are lost, by strategy", { skip, timeout: 90_000 }, async (t) => {
  const world = await startWorld(t);
  const on = [["hostname", "CLUSTER", "agent-1"]];
  await world.call("POST", "/v2/apps", { id: "/stay", ...SLEEP, constraints: on, unreachableStrategy: "disabled" });
  await world.call("POST", "/v2/apps", { id: "/pinned", ...SLEEP, constraints: on });
  const [stay] = [await world.runs("/stay"), await world.runs("/pinned")];
  await world.sim.cli("agent", "kill", "agent-1");
  const queued = await waitFor(
    async () => (await world.call("GET", "/v2/queue?embed=lastUnusedOffers")).body.queue[0],
    {
      what: "the queue",
    },
  );
  t.match(queued, { app: { id: "/pinned" }, count: 1, lastUnusedOffers: [{ reason: ["UnfulfilledConstraint"] }] });
  t.match(
    queued.processedOffersSummary.rejectSummaryLastOffers.find(({ reason }: { reason: string }) =>
      reason.endsWith("Constraint"),
    ),
    { declined: 2 },
    "117 the replacement stays queued",
  );
  t.match((await world.app("/stay")).tasks, [{ id: stay.id, state: "TASK_UNREACHABLE" }], "116 never replaced");
});

t.test(
  "an agent is cut off: its tasks run on, and one of two is killed when it is back",
  { skip, timeout: 90_000 },
  async (t) => {
    const world = await startWorld(t, { head: PREEMPT });
    const patient = { unreachableStrategy: { inactiveAfterSeconds: 1, expungeAfterSeconds: 3600 } };
    await world.call("POST", "/v2/apps", { id: "/old", ...SLEEP, ...patient });
    const old = await world.runs("/old");
    await world.call("POST", "/v2/apps", stateful("/w", "v1", { constraints: [["hostname", "LIKE", ".*"]] }));
    const writer = await world.runs("/w");
    await world.said(writer, /^start/m);
    for (const host of new Set([old.host, writer.host])) await world.sim.cli("fault", "add", "agent-partitioned", host);
    const two = await waitFor(
      async () => {
        const { tasks } = await world.app("/old");
        return tasks.some(({ state }) => state === "TASK_RUNNING") && tasks.length === 2 ? tasks : undefined;
      },
      { what: "another one" },
    );
    t.ok(two.some(({ id, state }) => id === old.id && state === "TASK_UNREACHABLE"));
    const next = await world.runs("/w");
    await world.said(next, new RegExp(`start ${writer.id}\nstart ${next.id}`));
    const events: string[] = [];
    const stop = new AbortController();
    const headers = { accept: "text/event-stream" };
    const stream = await fetch(`${world.marathon}/v2/events`, { headers, signal: stop.signal });
    const reading = (async () => {
      for await (const part of stream.body ?? []) events.push(Buffer.from(part).toString());
    })().catch(() => undefined);
    await world.sim.cli("fault", "reset");
    t.equal((await world.runs("/old")).id, old.id, "115 the older one lives");
    t.equal((await world.runs("/w")).id, next.id, "114 what was replaced for good is killed");
    await waitFor(() => /event: unknown_instance_terminated_event/.test(events.join("")), { what: "the end of it" });
    t.match(events.join(""), `"instanceId":"${writer.id.replace(/\._app.*/, "")}"`);
    stop.abort();
    await reading;
    await world.call("PUT", "/v2/apps/w", { instances: 0 });
    await waitFor(() => world.mounted().length === 0, { what: "the volume to be given back" });
  },
);
