import fs from "node:fs";
import http from "node:http";
import t from "tap";
import { requiresFuse } from "../helpers/requires.ts";
import { startSim } from "../helpers/sim.ts";
import { waitFor } from "../helpers/wait.ts";
import { startWorld, stateful, type World } from "./world.ts";

// spec/marathon.md 10.3 and what belongs to it of 10.1 and 10.4, by their numbers, over HTTP. One instance serves them all.
const skip = requiresFuse();
const SLEEP = { cmd: "sleep 1000", cpus: 0.1, mem: 16 };
/** Never fits: its deployment goes on for ever. */
const STUCK = { ...SLEEP, cpus: 99 };

t.test("the API", { skip, timeout: 180_000 }, async (t) => {
  const world = await startWorld(t);
  const call = (method: string, url: string, body?: unknown) => world.call(method, url, body);
  const message = (answer: { body: { message?: string } }) => answer.body.message ?? "";

  t.test("the screens say where it is, a port that is taken is named", async (t) => {
    const { stdout } = await world.sim.cli("status");
    t.match(stdout, `${world.marathon} (Marathon's API)`);
    t.match(stdout, `${world.mesos} (Mesos' endpoints)`);
    const taken = Number(world.marathon.split(":").at(-1));
    const config = `simulator:\n  granularity: 64MB\n  agents: 1\n  marathonPort: ${taken}\n  mesosPort: ${taken}\n`;
    const other = await startSim(t, { config });
    t.match(
      other.said,
      new RegExp(`warning: Marathon's API is not served: .*free port ${taken}, or set simulator.marathonPort`),
    );
  });

  t.test("web pages of other sites are kept out", async (t) => {
    const app = JSON.stringify({ id: "/evil", ...SLEEP });
    const post = (headers: Record<string, string>) =>
      new Promise<number>((resolve, reject) => {
        const request = http.request(`${world.marathon}/v2/apps`, { method: "POST", headers }, (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        });
        request.once("error", reject).end(app);
      });
    t.equal(await post({ origin: "https://example.com", "content-type": "text/plain" }), 403);
    t.equal(await post({ host: "rebound.example.com:8080" }), 403, "nor by a name of their own");
    t.equal((await call("GET", "/v2/apps/evil")).status, 404);
  });

  t.test("82, 83 no JSON, nothing", async (t) => {
    t.match(await call("POST", "/v2/apps", "{"), { status: 400, body: { message: "Invalid JSON", details: String } });
    t.match(await call("POST", "/v2/apps"), { status: 400, body: { message: "Please specify data in JSON format" } });
  });

  t.test("84, 85 wrong types", async (t) => {
    const shape = (path: string, error: string) => ({
      status: 422,
      body: { message: "Invalid JSON", details: [{ path, errors: [error] }] },
    });
    t.match(await call("POST", "/v2/apps", { id: 1 }), shape("/id", "error.expected.jsstring"));
    t.match(await call("POST", "/v2/apps", { id: "/x", instances: 0.1 }), shape("/instances", "error.expected.int"));
  });

  t.test("86 an id twice; what a creation answers", async (t) => {
    const answer = await call("POST", "/v2/apps", { id: "/m", ...SLEEP });
    t.match(answer, { status: 201, body: { id: "/m", tasksRunning: 0, deployments: [{ id: String }] } });
    t.notOk("tasks" in answer.body);
    t.equal(answer.headers.get("location"), `${world.marathon}/m`);
    t.equal(answer.headers.get("marathon-deployment-id"), answer.body.deployments[0].id);
    const again = await call("POST", "/v2/apps", { id: "/m", ...SLEEP });
    t.match(again, { status: 409, body: { message: "An app with id [/m] already exists." } });
    t.notOk("deployments" in again.body);
    await world.runs("/m");
  });

  t.test("59, 64 volumes of others, more than one instance", async (t) => {
    await call("POST", "/v2/apps", stateful("/v", "shared-name"));
    const conflict = await call("POST", "/v2/apps", stateful("/v2", "shared-name"));
    t.equal(conflict.status, 422);
    const errors = conflict.body.details.flatMap((one: { errors: string[] }) => one.errors);
    t.same(errors.toSorted(), [
      "Volume name 'shared-name' in /v conflicts with volume(s) of same name in app(s): /v2",
      "Volume name 'shared-name' in /v2 conflicts with volume(s) of same name in app(s): /v",
    ]);
    await world.runs("/v");
    const two = await call("PATCH", "/v2/apps/v", { instances: 2 });
    t.match(two, { status: 422, body: { details: [{ path: "/" }] } });
    t.match(
      two.body.details[0].errors[0],
      /^Number of instances is limited to 1 when declaring DVDI volumes in app \[/,
    );
    t.equal((await world.app("/v")).instances, 1);
    t.equal((await call("PUT", "/v2/groups/", { scaleBy: 2 })).status, 422, "67");
  });

  t.test("65 a volume that comes later brings its rules, 66 another size starts it anew", async (t) => {
    await call("POST", "/v2/apps", { id: "/late", ...SLEEP });
    await world.runs("/late");
    const { container, upgradeStrategy } = stateful("/late", "late-volume") as Record<string, unknown>;
    const refused = await call("PUT", "/v2/apps/late", { container });
    t.equal(refused.status, 422);
    t.match(
      refused.body.details.map(({ path }: { path: string }) => path),
      ["/upgradeStrategy/maximumOverCapacity"],
    );
    t.equal((await call("PUT", "/v2/apps/late", { container, upgradeStrategy })).status, 200);
    const first = await world.runs("/late");
    const larger = structuredClone(container) as { volumes: { external: { size: number } }[] };
    (larger.volumes[0] as { external: { size: number } }).external.size = 2;
    const changed = await call("PUT", "/v2/apps/late", { container: larger });
    t.equal(changed.status, 200);
    const deployment = (await call("GET", "/v2/deployments")).body.find(
      ({ id }: { id: string }) => id === changed.body.deploymentId,
    );
    t.match(deployment, { steps: [{ actions: [{ action: "RestartApplication", app: "/late" }] }] });
    t.not((await world.runs("/late")).id, first.id);
    await call("DELETE", "/v2/apps/late");
    await gone(world, "/late");
  });

  t.test("106 an unknown key is not kept", async (t) => {
    const { status, body } = await call("POST", "/v2/apps", { id: "/foo", ...SLEEP, foo: 1 });
    t.equal(status, 201);
    t.notOk("foo" in body);
    await call("DELETE", "/v2/apps/foo");
    await gone(world, "/foo");
  });

  t.test("87 to 90 locks", async (t) => {
    const { body } = await call("POST", "/v2/apps", { id: "/stuck", ...STUCK });
    const locked = await call("PUT", "/v2/apps/stuck", { cpus: 98 });
    t.equal(locked.status, 409);
    t.match(message(locked), /^App is locked by one or more deployments\./);
    t.same(locked.body.deployments, [{ id: body.deployments[0].id }]);
    t.equal(locked.headers.get("marathon-deployment-id"), null);
    t.equal((await call("POST", "/v2/apps/stuck/restart")).status, 409);
    t.equal((await call("PUT", "/v2/apps/stuck?force=True", { cpus: 97 })).status, 200);
    t.equal((await call("DELETE", "/v2/apps/stuck")).status, 200, "force is the default");
    await gone(world, "/stuck");
  });

  t.test("91 to 95 versions", async (t) => {
    const before = await world.app("/m");
    const same = await call("PUT", "/v2/apps/m", { cmd: SLEEP.cmd });
    t.match(same, { status: 200, body: { version: before.version, deploymentId: String } });
    t.equal((await world.app("/m")).deployments.length, 0);
    const created = await call("PUT", "/v2/apps/new", SLEEP);
    t.match(created, { status: 201, body: { version: String, deploymentId: String } });
    t.match(await call("PATCH", "/v2/apps/none", SLEEP), {
      status: 404,
      body: { message: "App '/none' does not exist" },
    });
    await world.runs("/new");
    await call("PUT", "/v2/apps/new", { env: { A: "b" } });
    const { versions } = (await call("GET", "/v2/apps/new/versions")).body;
    t.equal(versions.length, 2);
    t.notMatch((await call("GET", `/v2/apps/new/versions/${versions[1]}`)).body, { env: { A: "b" } });
    t.equal((await call("PUT", "/v2/apps/new?force=true", { version: versions[1] })).status, 200);
    const back = (await call("GET", "/v2/apps/new")).body.app;
    t.same(back.env, {});
    t.ok(back.version > versions[0], "under a new version");
    const bad = await call("GET", "/v2/apps/new/versions/foo");
    t.match(bad, {
      status: 422,
      body: { message: "Invalid timestamp provided 'foo'. Expecting ISO-8601 datetime string." },
    });
    await world.runs("/new");
  });

  t.test("96, 97, 99, 102 what is not there", async (t) => {
    t.match(await call("GET", "/v2/nothing"), { status: 500, body: { message: "URI not found" } });
    const both = await call("DELETE", "/v2/apps/m/tasks?scale=true&wipe=true");
    t.match(both, { status: 400, body: { message: "You cannot use scale and wipe at the same time." } });
    t.match(await call("DELETE", "/v2/queue/m/delay"), {
      status: 404,
      body: { message: "Application /m not found in tasks queue." },
    });
    t.equal((await call("GET", "/v2/events")).status, 405);
    t.match(await call("GET", "/v2/groups/none"), { status: 404, body: { message: "Group '/none' does not exist" } });
    t.match(await call("POST", "/v2/tasks/delete", { ids: ["x"] }), {
      status: 400,
      body: { message: /^Invalid task id 'x'/ },
    });
  });

  t.test("98, 111 tasks are killed, with and without scaling", async (t) => {
    const before = await world.runs("/m");
    t.match(await call("DELETE", `/v2/apps/m/tasks/${before.id}`), { status: 200, body: { task: { id: before.id } } });
    await waitFor(async () => (await world.app("/m")).tasks.every(({ id }) => id !== before.id), {
      what: "the task to end",
    });
    const after = await world.runs("/m");
    t.not(after.id.split("._app")[0], before.id.split("._app")[0], "a new instance");
    t.equal((await world.app("/m")).lastTaskFailure, undefined);
    const scaled = await call("DELETE", `/v2/apps/m/tasks/${after.id}?scale=true`);
    t.match(scaled, { status: 200, body: { version: String, deploymentId: String } });
    t.equal((await world.app("/m")).instances, 0);
    t.match(await call("DELETE", "/v2/apps/m/tasks/none"), {
      status: 404,
      body: { message: "Task 'none' does not exist" },
    });
  });

  t.test("100, 101 deployments are dropped and taken back", async (t) => {
    const first = await call("POST", "/v2/apps", { id: "/d", ...STUCK });
    const listed = (await call("GET", "/v2/deployments")).body.filter(({ affectedApps }: { affectedApps: string[] }) =>
      affectedApps.includes("/d"),
    );
    t.match(listed, [{ id: first.body.deployments[0].id, affectedApps: ["/d"], currentStep: Number, totalSteps: 2 }]);
    const dropped = await call("DELETE", `/v2/deployments/${listed[0].id}?force=true`);
    t.match(dropped, { status: 202, body: "" });
    t.equal((await call("GET", "/v2/apps/d")).status, 200, "what it has brought about stays");
    await call("DELETE", "/v2/apps/d");
    await gone(world, "/d");
    const second = await call("POST", "/v2/apps", { id: "/d", ...STUCK });
    t.equal((await call("DELETE", `/v2/deployments/${second.body.deployments[0].id}`)).status, 200);
    await gone(world, "/d");
    t.match(await call("DELETE", "/v2/deployments/none"), {
      status: 404,
      body: { message: "DeploymentPlan none does not exist" },
    });
  });

  t.test("120 the queue says why an application waits, and `app ls` in words", async (t) => {
    await call("POST", "/v2/apps", { id: "/big", ...SLEEP, mem: 1_000_000 });
    const [item] = (await call("GET", "/v2/queue")).body.queue;
    t.match(item, { count: 1, app: { id: "/big" }, delay: { overdue: true } });
    const reasons = item.processedOffersSummary.rejectSummaryLastOffers;
    t.match(
      reasons.find(({ reason }: { reason: string }) => reason === "InsufficientMemory"),
      { declined: 3 },
    );
    const { stdout } = await world.sim.cli("app", "ls");
    t.match(stdout, /\/big +0\/1 .*needs 1000000 MiB of memory, agent-1 has \d+; /);
    await call("DELETE", "/v2/apps/big");
    await gone(world, "/big");
  });

  t.test("109, 110, 112 failures: the delay grows, the task's number rises, the instance stays", async (t) => {
    await call("POST", "/v2/apps", {
      id: "/f",
      ...SLEEP,
      cmd: "sleep 0.1; exit 7",
      backoffSeconds: 1,
      backoffFactor: 2,
    });
    const failed = await waitFor(
      async () => {
        const app = await world.app("/f");
        return app.lastTaskFailure === undefined ? undefined : app;
      },
      { what: "a failure" },
    );
    t.match(failed.lastTaskFailure, { state: "TASK_FAILED", message: "Command exited with status 7" });
    const task = await waitFor(async () => (await world.app("/f")).tasks.find(({ id }) => id.endsWith("._app.2")), {
      what: "its next task",
    });
    t.ok(task.id.startsWith("f.instance-"));
    await call("DELETE", "/v2/apps/f");
    await gone(world, "/f");
  });

  t.test("118 who ignores SIGTERM is killed", async (t) => {
    await call("POST", "/v2/apps", {
      id: "/deaf",
      ...SLEEP,
      cmd: "trap '' TERM; while :; do sleep 0.2; done",
      taskKillGracePeriodSeconds: 1,
    });
    const task = await world.runs("/deaf");
    await call("DELETE", "/v2/apps/deaf");
    await gone(world, "/deaf");
    const { tasks } = (await (await fetch(`${world.mesos}/tasks?limit=1000`)).json()) as {
      tasks: { id: string; state: string }[];
    };
    t.equal(tasks.find(({ id }) => id === task.id)?.state, "TASK_KILLED");
  });

  t.test(
    "119 health over HTTP: an application that answers is healthy, one that does not is started again",
    async (t) => {
      const check = {
        protocol: "HTTP",
        path: "/",
        gracePeriodSeconds: 1,
        intervalSeconds: 1,
        timeoutSeconds: 1,
        maxConsecutiveFailures: 1,
      };
      const serve = `${process.execPath} -e 'require("http").createServer((q, r) => r.end()).listen(process.env.PORT0)'`;
      await call("POST", "/v2/apps", { id: "/well", ...SLEEP, cmd: serve, mem: 128, healthChecks: [check] });
      await call("POST", "/v2/apps", { id: "/ill", ...SLEEP, healthChecks: [check] });
      await waitFor(async () => (await call("GET", "/v2/apps/well")).body.app.tasksHealthy === 1, {
        what: "health",
        deadline: 20_000,
      });
      t.same((await world.app("/well")).deployments, []);
      const [first] = (await world.app("/ill")).tasks;
      await waitFor(async () => (await world.app("/ill")).tasks.every(({ id }) => id !== first?.id), {
        what: "the ill one to be killed",
        deadline: 20_000,
      });
      for (const id of ["/well", "/ill"]) await call("DELETE", `/v2/apps${id}`);
      for (const id of ["/well", "/ill"]) await gone(world, id);
    },
  );

  const cgroups = "/sys/fs/cgroup/memory";
  const noCgroups = !fs.existsSync(`${cgroups}/cgroup.procs`) && "needs cgroups 1";
  t.test("memory is a limit", { skip: noCgroups }, async (t) => {
    const cmd = "x=$(head -c 200M /dev/zero | tr '\\0' x); sleep 1000";
    await call("POST", "/v2/apps", { id: "/fat", ...SLEEP, cmd, backoffSeconds: 60 });
    const failure = await waitFor(async () => (await world.app("/fat")).lastTaskFailure, {
      what: "it to be killed",
      deadline: 20_000,
    });
    t.match(failure.message, /^Command (?:terminated with signal Killed|exited with status)/);
    await call("DELETE", "/v2/apps/fat");
    await gone(world, "/fat");
  });

  t.test("groups, labels, events", async (t) => {
    const events = await fetch(`${world.marathon}/v2/events`, { headers: { accept: "text/event-stream" } });
    const reader = (events.body as ReadableStream<Uint8Array>).getReader();
    let heard = "";
    const listening = (async () => {
      const decoder = new TextDecoder();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        heard += decoder.decode(value);
      }
    })();
    const group = {
      id: "/g",
      apps: [{ id: "a", ...SLEEP, labels: { tier: "one" } }],
      groups: [{ id: "sub", apps: [{ id: "b", ...SLEEP, dependencies: ["/g/a"] }] }],
    };
    t.equal((await call("POST", "/v2/groups", group)).status, 201);
    t.equal((await call("POST", "/v2/groups", group)).status, 409);
    await world.runs("/g/a");
    await world.runs("/g/sub/b");
    t.match((await call("GET", "/v2/groups/g")).body, {
      id: "/g",
      apps: [{ id: "/g/a" }],
      groups: [{ id: "/g/sub", apps: [{ id: "/g/sub/b" }] }],
    });
    t.match(
      (await call("GET", "/v2/apps?label=tier==one")).body.apps.map(({ id }: { id: string }) => id),
      ["/g/a"],
    );
    t.match((await call("GET", "/v2/apps/g/*")).body["*"].length, 2);
    t.equal((await call("DELETE", "/v2/groups/g")).status, 200);
    await gone(world, "/g/a");
    for (const type of [
      "event_stream_attached",
      "group_change_success",
      "deployment_info",
      "instance_changed_event",
      "status_update_event",
      "deployment_step_success",
      "deployment_success",
      "app_terminated_event",
    ])
      await waitFor(() => heard.includes(`event: ${type}\n`), { what: type });
    await reader.cancel();
    await listening;
  });

  t.test("Mesos' endpoints agree, and logs are read through them", async (t) => {
    const task = await world.runs("/v");
    const get = async (url: string) => (await fetch(`${world.mesos}${url}`)).json() as Promise<never>;
    const state = (await get("/master/state")) as {
      slaves: { id: string; hostname: string }[];
      frameworks: { tasks: { id: string; slave_id: string }[] }[];
    };
    const found = state.frameworks[0]?.tasks.find(({ id }) => id === task.id);
    t.equal(state.slaves.find(({ id }) => id === found?.slave_id)?.hostname, task.host);
    const agent = (await get(`/agent/${found?.slave_id}/slave(1)/state`)) as {
      frameworks: { executors: { id: string; directory: string }[] }[];
    };
    const directory = agent.frameworks[0]?.executors.find(({ id }) => id === task.id)?.directory;
    const log = (await get(`/files/read?offset=0&path=${encodeURIComponent(`${directory}/stdout`)}`)) as {
      data: string;
    };
    t.match(log.data, /Starting task v\.instance/);
    t.equal((await fetch(`${world.mesos}/files/read?path=/etc/passwd`)).status, 404, "only sandboxes are shown");
    t.equal((await fetch(`${world.mesos}/files/read`)).status, 400);
  });
});

const gone = (world: World, id: string) =>
  waitFor(
    async () => {
      const deployments = (await world.call("GET", "/v2/deployments")).body as { affectedApps: string[] }[];
      const under = deployments.some(({ affectedApps }) => affectedApps.includes(id));
      return !under && (await world.call("GET", `/v2/apps${id}`)).status === 404;
    },
    { what: `${id} to be gone`, deadline: 20_000 },
  );
