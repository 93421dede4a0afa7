import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { processId } from "../../src/lib/process-id.ts";
import { call } from "../helpers/plugin-client.ts";
import { requiresFuse } from "../helpers/requires.ts";
import { waitFor } from "../helpers/wait.ts";
import { startWorld, stateful, type World } from "./world.ts";

const skip = requiresFuse();
const EXAMPLES = path.resolve(import.meta.dirname, "../../examples/marathon");
const PREEMPT =
  "libstorage:\n  integration:\n    volume:\n      operations:\n        mount:\n          preempt: true\n";
const KILL_FIRST = { minimumHealthCapacity: 0, maximumOverCapacity: 0 };

t.test(
  "the reference definition runs as it stands; what it writes outlives restart and scaling to 0",
  { skip, timeout: 90_000 },
  async (t) => {
    const world = await startWorld(t);
    const definition = fs.readFileSync(path.join(EXAMPLES, "marathon-mesos-container.json"), "utf8");
    const posted = await world.call("POST", "/v2/apps", definition);
    t.equal(posted.status, 201);
    t.ok(posted.headers.get("marathon-deployment-id"));
    const task = await world.runs("/hello");
    const volume = path.join(world.sandbox(task), "test-rexray-volume");
    t.same(fs.readdirSync(volume), [], "the mount is the task's, not the machine's");
    t.match((await world.sim.cli("volume", "ls")).stdout, /my-test-vol +ok +100 GiB/);

    t.equal((await world.call("POST", "/v2/apps", stateful("/w", "v1"))).status, 201);
    const first = await world.runs("/w");
    await world.said(first, /^start \S+1$/m);
    t.equal((await world.call("POST", "/v2/apps/w/restart")).status, 200);
    const second = await waitFor(
      async () => (await world.app("/w")).tasks.find(({ id, state }) => id !== first.id && state === "TASK_RUNNING"),
      { what: "another task" },
    );
    await world.said(second, new RegExp(`start ${first.id}\nend\nstart ${second.id}`));
    await world.runs("/w");

    await t.test("a snapshot of what an application has mounted is frozen, too", async (t) => {
      const point = world.mounted().find((directory) => directory.endsWith("/v1")) as string;
      fs.writeFileSync(path.join(point, "data/unsynced"), "u".repeat(50_000));
      t.equal((await world.sim.cli("snapshot", "create", "v1=v1-old")).code, 0);
      const { Mountpoint } = await call<{ Mountpoint: string }>(world.sim.socket, "Mount", { Name: "v1-old", ID: "A" });
      t.equal(fs.readFileSync(path.join(Mountpoint, "unsynced"), "utf8").length, 50_000);
      await call(world.sim.socket, "Unmount", { Name: "v1-old", ID: "A" });
    });

    await t.test("79 scaled to 0 and back: the volume is given back and kept, with its data", async (t) => {
      t.equal((await world.call("PUT", "/v2/apps/w", { instances: 0 })).status, 200);
      await waitFor(() => world.mounted().length === 1, { what: "the volume to be given back" });
      t.match((await world.sim.cli("volume", "ls")).stdout, /v1 +ok/);
      await world.call("PUT", "/v2/apps/w", { instances: 1 });
      const third = await world.runs("/w");
      await world.said(third, new RegExp(`start ${second.id}\nend\nstart ${third.id}`));
    });

    await t.test("80 removed: the task is killed, the volume given back and kept", async (t) => {
      t.equal((await world.call("DELETE", "/v2/apps/w")).status, 200);
      await waitFor(async () => (await world.call("GET", "/v2/apps/w")).status === 404, {
        what: "the application to go",
      });
      await waitFor(() => world.mounted().length === 1, { what: "the volume to be given back" });
      t.match((await world.sim.cli("volume", "ls")).stdout, /v1 +ok/);
    });
    t.equal((await world.sim.cli("down")).code, 0);
    t.same(fs.readdirSync(world.sim.runDir), ["sdc"], "nothing of the agents is left");
    t.same(world.mounted(), []);
  },
);

/** Starts the application, kills its host, and answers where it was. */
async function loseHost(world: World): Promise<{ id: string; host: string }> {
  await world.call("POST", "/v2/apps", stateful("/w", "v1"));
  const task = await world.runs("/w");
  const { id, host } = task;
  await world.said(task, /^start/m);
  await world.sim.cli("agent", "kill", host);
  return { id, host };
}

t.test(
  "113 an agent is lost: with pre-emption the application comes up elsewhere with its data",
  { skip, timeout: 90_000 },
  async (t) => {
    const world = await startWorld(t, { head: PREEMPT });
    const { id, host } = await loseHost(world);
    const task = await world.runs("/w");
    t.not(task.host, host);
    await world.said(task, new RegExp(`start ${id}\nstart ${task.id}`));
    const localTime = "\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d";
    t.match((await world.sim.cli("agent", "ls")).stdout, new RegExp(`${host} +failed .* ${localTime} `));
    await world.sim.cli("agent", "start", host);
    t.match((await world.sim.cli("agent", "ls")).stdout, new RegExp(`${host} +up`));
    t.equal((await world.runs("/w")).id, task.id, "114 the volume stays with the new one");
  },
);

t.test(
  "113 without pre-emption it is refused with REX-Ray's error until the host is back",
  { skip, timeout: 90_000 },
  async (t) => {
    const world = await startWorld(t);
    const { id, host } = await loseHost(world);
    const failure = await waitFor(async () => (await world.app("/w")).lastTaskFailure, { what: "a failure" });
    t.equal(failure.state, "TASK_FAILED");
    t.match(
      failure.message,
      new RegExp(`^Failed to launch container: Unexpected termination of the subprocess: .*mapped to host ${host}`),
    );
    await world.sim.cli("agent", "start", host);
    // Pinned to it: only there the volume can be had.
    await world.call("PUT", "/v2/apps/w?force=true", {
      constraints: [["hostname", "CLUSTER", host]],
      upgradeStrategy: KILL_FIRST,
    });
    const task = await world.runs("/w", 30_000);
    t.equal(task.host, host);
    await world.said(task, new RegExp(`start ${id}\n`));
  },
);

t.test(
  "an agent is stopped in order: its volumes are free for others at once",
  { skip, timeout: 90_000 },
  async (t) => {
    const world = await startWorld(t);
    await world.call("POST", "/v2/apps", stateful("/w", "v1"));
    const task = await world.runs("/w");
    await world.sim.cli("agent", "stop", task.host);
    const next = await world.runs("/w", 30_000);
    t.not(next.host, task.host);
    await world.said(next, new RegExp(`start ${task.id}\nend\nstart ${next.id}`));
  },
);

t.test("daemon and agents are killed: no task is lost", { skip, timeout: 90_000 }, async (t) => {
  const world = await startWorld(t);
  await world.call("POST", "/v2/apps", stateful("/w", "v1"));
  const task = await world.runs("/w");
  const agents = await world.sim.json<{ name: string; pid: number }[]>("agent", "ls");
  const agent = agents.find(({ name }) => name === task.host);
  process.kill(agent?.pid as number, "SIGKILL");
  await waitFor(
    async () =>
      (await world.sim.json<{ name: string; pid: number | null }[]>("agent", "ls")).some(
        (one) => one.name === agent?.name && one.pid !== null && one.pid !== agent.pid,
      ),
    { what: "the agent to be back" },
  );
  t.equal((await world.runs("/w")).id, task.id, "the agent finds it again");
  await world.sim.restart("SIGKILL");
  t.equal((await world.runs("/w")).id, task.id, "and so does the daemon");
  t.equal(world.stdout(task).match(/^start/gm)?.length, 1, "it was not started again");
  // What is known again can be ended.
  await world.call("PUT", "/v2/apps/w", { instances: 0 });
  await waitFor(() => world.mounted().length === 0, { what: "the volume to be given back" });

  // One that is killed over its stop gives its volume back all the same, and lets its task end in order.
  const slow = { cmd: 'trap "echo asked; sleep 2; echo late; exit 0" TERM; while :; do sleep 0.1; done' };
  await world.call("POST", "/v2/apps", stateful("/slow", "v2", slow));
  const last = await world.runs("/slow");
  const stopped = world.sim.cli("agent", "stop", last.host);
  await world.said(last, /^asked$/m);
  const known = await world.sim.json<{ name: string; pid: number }[]>("agent", "ls");
  process.kill(known.find(({ name }) => name === last.host)?.pid as number, "SIGKILL");
  t.equal((await stopped).code, 0);
  t.match(world.stdout(last), /^late$/m);
  t.notOk(world.mounted().some((point) => point.includes(`/${last.host}/`)));
});

t.test("agents that a daemon has left are ended by down", { skip, timeout: 60_000 }, async (t) => {
  const world = await startWorld(t);
  await world.call("POST", "/v2/apps", stateful("/l", "v1"));
  await world.runs("/l");
  const agents = await world.sim.json<{ pid: number }[]>("agent", "ls");
  await world.sim.kill("SIGTERM");
  t.match(await world.sim.cli("down"), { code: 0, stderr: /cleaned up after it\nstopped/ });
  t.notOk(fs.existsSync(path.join(world.sim.runDir, "agents")));
  t.same(
    agents.filter(({ pid }) => processId(pid) !== undefined),
    [],
    "no agent lives",
  );
  t.same(world.mounted(), []);
  t.notOk(fs.readFileSync("/proc/self/mounts", "utf8").includes(world.sim.stateDir), "nothing is mounted");
});

t.test(
  "an agent that the configuration has no more ends, its tasks go elsewhere",
  { skip, timeout: 90_000 },
  async (t) => {
    const world = await startWorld(t, { agents: " 2\n" });
    await world.call("POST", "/v2/apps", stateful("/g", "v1"));
    const task = await world.runs("/g");
    const { pid, other } = await world.sim.json<{ name: string; pid: number }[]>("agent", "ls").then((agents) => ({
      pid: agents.find(({ name }) => name === task.host)?.pid,
      other: agents.find(({ name }) => name !== task.host)?.name,
    }));
    const text = fs.readFileSync(world.sim.configFile, "utf8");
    await world.sim.kill("SIGTERM");
    fs.writeFileSync(world.sim.configFile, text.replace("agents: 2", `agents: [{ name: ${other} }]`));
    await world.sim.start();
    t.equal(processId(pid as number), undefined, "its process has ended");
    const next = await world.runs("/g");
    t.equal(next.host, other);
    await world.said(next, new RegExp(`start ${task.id}`));
    t.notOk(
      world.mounted().some((point) => point.includes(`/${task.host}/`)),
      "its volumes were given back",
    );
  },
);

t.test("a damaged record is named, with the way out; nothing else is touched", { skip, timeout: 60_000 }, async (t) => {
  const world = await startWorld(t);
  await world.call("POST", "/v2/apps", { id: "/a", cmd: "sleep 1000", cpus: 0.1, mem: 16 });
  await world.runs("/a");
  await world.sim.stop();
  const file = path.join(world.sim.stateDir, "marathon/apps/a.json");
  const good = fs.readFileSync(file);
  fs.writeFileSync(file, good.subarray(0, 100));
  await t.rejects(world.sim.start(), { message: /a\.json cannot be read .* restore it from a backup, or remove it/ });
  fs.writeFileSync(file, good);
  await world.sim.start();
  await world.runs("/a");
});
