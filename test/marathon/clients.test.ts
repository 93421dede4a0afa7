import { spawnSync } from "node:child_process";
import path from "node:path";
import t from "tap";
import { requiresFuse, requiresTools } from "../helpers/requires.ts";
import { run } from "../helpers/run.ts";
import { waitFor } from "../helpers/wait.ts";
import { type Answer, ask, startWorld, type World } from "./world.ts";

// Debian's Python, not one of the user's: the client is one of its packages.
const PYTHON = "/usr/bin/python3";
const missing = spawnSync(PYTHON, ["-c", "import marathon"]).status !== 0 && "needs python3-marathon";

/** A client's requests, each with the status that it takes for success. */
const client =
  (base: string) =>
  async (status: number, method: string, url: string, body?: unknown): Promise<Answer["body"]> => {
    const answer = await ask(`${base}${url}`, method, body);
    if (answer.status !== status)
      throw new Error(`${method} ${url}: ${answer.status} ${JSON.stringify(answer.body)} instead of ${status}`);
    return answer.body;
  };

const settled = (world: World) =>
  waitFor(async () => (await world.call("GET", "/v2/deployments")).body.length === 0, { what: "deployments to end" });

const SLEEP = { cmd: "echo here; exec sleep 1000", cpus: 0.1, mem: 16 };

/** Types of what is told from now on. */
async function listen(world: World): Promise<{ heard: () => string[]; stop: () => void }> {
  const stop = new AbortController();
  const headers = { accept: "text/event-stream" };
  const stream = await fetch(`${world.marathon}/v2/events`, { headers, signal: stop.signal });
  let text = "";
  const reading = (async () => {
    for await (const part of stream.body ?? []) text += Buffer.from(part).toString();
  })();
  reading.catch(() => undefined);
  return { heard: () => [...text.matchAll(/^event: (.*)$/gm)].map(([, type = ""]) => type), stop: () => stop.abort() };
}

t.test("clients drive a whole life each", { skip: requiresFuse(), timeout: 180_000 }, async (t) => {
  const world = await startWorld(t);
  const marathon = client(world.marathon);
  const mesos = client(world.mesos);

  await t.test("curl and jq", { skip: requiresTools("curl", "jq") }, async (t) => {
    const result = await run("bash", [path.join(import.meta.dirname, "client.sh"), world.marathon, world.mesos]);
    t.equal(result.stderr, "");
    t.match(result, { code: 0, stdout: "done\n" });
  });

  await t.test("python3-marathon", { skip: missing }, async (t) => {
    const result = await run(PYTHON, [path.join(import.meta.dirname, "client.py"), world.marathon]);
    t.equal(result.stderr, "");
    t.match(result, { code: 0, stdout: "done\n" });
    await waitFor(() => world.mounted().length === 0, { what: "the volume to be given back" });
  });

  // The dcos CLI and marathonctl are not to be had as packages: what they ask for, in the order in which people do
  // (spec/marathon.md 6.8).

  await t.test("dcos: list, add, update, start more, restart, roll back, stop, remove; events", async (t) => {
    const { heard, stop } = await listen(world);
    t.same(await marathon(200, "GET", "/v2/apps"), { apps: [] });
    const added = await marathon(201, "POST", "/v2/apps", { id: "/d", ...SLEEP });
    t.match(await marathon(200, "GET", "/v2/deployments"), [{ id: added.deployments[0].id }]);
    await settled(world);
    const { app: first } = await marathon(200, "GET", "/v2/apps//d");
    t.match(await marathon(200, "PUT", "/v2/apps//d", { env: { A: "1" } }), { deploymentId: String });
    await settled(world);
    await marathon(200, "PUT", "/v2/apps//d", { instances: 2 });
    await settled(world);
    await marathon(200, "POST", "/v2/apps//d/restart");
    await settled(world);
    const { versions } = await marathon(200, "GET", "/v2/apps//d/versions");
    t.equal(versions.at(-1), first.version);
    t.match(await marathon(200, "GET", `/v2/apps//d/versions/${first.version}`), { id: "/d", instances: 1 });
    await marathon(200, "PUT", "/v2/apps//d", { version: first.version });
    await settled(world);
    t.match((await world.app("/d")) as object, { instances: 1, env: {} });

    const { deploymentId } = await marathon(200, "PUT", "/v2/apps//d", { cpus: 99 });
    t.match(await marathon(200, "GET", "/v2/queue"), { queue: [{ app: { id: "/d" } }] });
    await marathon(204, "DELETE", "/v2/queue//d/delay");
    await marathon(200, "DELETE", `/v2/deployments/${deploymentId}`);
    await settled(world);
    t.match((await world.app("/d")) as object, { cpus: 0.1, tasksRunning: 1 });
    const { deploymentId: next } = await marathon(200, "PUT", "/v2/apps//d", { cpus: 98 });
    await marathon(202, "DELETE", `/v2/deployments/${next}?force=true`);
    const [task] = (await marathon(200, "GET", "/v2/tasks?status=running")).tasks;
    t.match(await marathon(200, "POST", "/v2/tasks/delete", { ids: [task.id] }), { tasks: [{ id: task.id }] });
    await marathon(200, "DELETE", "/v2/apps//d?force=true");
    await settled(world);
    for (const type of ["api_post_event", "status_update_event", "deployment_success", "app_terminated_event"])
      await waitFor(() => heard().includes(type), { what: type });
    stop();
  });

  await t.test("dcos: logs, of a task that runs and of the same when it has ended", async (t) => {
    await marathon(201, "POST", "/v2/apps", { id: "/log", ...SLEEP });
    const { id } = await world.runs("/log");
    t.match(await mesos(200, "GET", "/master/state-summary"), { frameworks: [{ TASK_RUNNING: 1 }] });
    for (const [tasks, executors] of [
      ["tasks", "executors"],
      ["completed_tasks", "completed_executors"],
    ] as const) {
      const find = async () =>
        (await mesos(200, "GET", "/master/state")).frameworks[0][tasks].find((one: { id: string }) => one.id === id);
      const { slave_id } = await waitFor(find, { what: `${id} among ${tasks}` });
      const agent = `/agent/${slave_id}`;
      const state = await mesos(200, "GET", `${agent}/slave(1)/state`);
      const { directory } = state.frameworks[0][executors].find((one: { id: string }) => one.id === id);
      const at = (what: string, more = "") =>
        `${agent}/files/${what}?path=${encodeURIComponent(`${directory}/stdout`)}${more}`;
      // Read again and again, as log tools do.
      await waitFor(async () => /^here$/m.test((await mesos(200, "GET", at("read", "&offset=0"))).data), {
        what: `the log among ${executors}`,
      });
      const { offset } = await mesos(200, "GET", at("read", "&offset=-1"));
      t.ok(offset > 0, executors);
      t.match(await mesos(200, "GET", at("download")), /^here$/m, executors);
      const files = await mesos(200, "GET", `${agent}/files/browse?path=${encodeURIComponent(directory)}`);
      t.ok(
        files.some(({ path: file }: { path: string }) => file === `${directory}/stdout`),
        executors,
      );
      await world.call("DELETE", "/v2/apps/log");
    }
  });

  await t.test("marathonctl: the same, by force where it says so", async (t) => {
    t.equal(await marathon(200, "GET", "/ping"), "pong");
    t.match(await marathon(200, "GET", "/v2/leader"), { leader: world.marathon.replace("http://", "") });
    await marathon(201, "POST", "/v2/apps", { id: "/m", ...SLEEP });
    t.match(await marathon(200, "GET", "/v2/apps?embed=apps.tasks"), { apps: [{ id: "/m", tasks: Array }] });
    const { version } = (await marathon(200, "GET", "/v2/apps/m")).app;
    await marathon(200, "PUT", "/v2/apps/m?force=true", { env: { A: "1" } });
    await marathon(200, "PUT", "/v2/apps/m?force=true", { instances: 2 });
    await marathon(200, "POST", "/v2/apps/m/restart?force=true");
    await settled(world);
    t.equal((await marathon(200, "GET", "/v2/tasks")).tasks.length, 2);
    await marathon(200, "PUT", "/v2/apps/m?force=true", { version });
    await settled(world);
    t.match((await marathon(200, "GET", "/v2/apps/m/versions")).versions.at(-1), version);
    const [task] = (await marathon(200, "GET", "/v2/apps/m/tasks")).tasks;
    await marathon(200, "DELETE", `/v2/apps/m/tasks/${task.id}?scale=false`);
    await waitFor(async () => (await world.runs("/m")).id !== task.id, { what: "another task" });
    t.same(await marathon(200, "GET", "/v2/queue"), { queue: [] });
    const group = { id: "/g", apps: [{ id: "a", ...SLEEP }] };
    await marathon(201, "POST", "/v2/groups?force=true", group);
    t.match(await marathon(200, "GET", "/v2/groups/g"), { apps: [{ id: "/g/a" }] });
    await marathon(200, "PUT", "/v2/groups/g?force=true", { ...group, apps: [{ id: "b", ...SLEEP }] });
    await settled(world);
    t.match(await marathon(200, "GET", "/v2/groups/g"), { apps: [{ id: "/g/b" }] });
    await marathon(200, "DELETE", "/v2/groups/g?force=true");
    await marathon(200, "DELETE", "/v2/apps/m");
    await settled(world);
    t.same(await marathon(200, "GET", "/v2/apps"), { apps: [] });
  });
});
