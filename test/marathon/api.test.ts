import fs from "node:fs";
import http from "node:http";
import t from "tap";
import { requiresFuse } from "../helpers/requires.ts";
import { startSim } from "../helpers/sim.ts";
import { waitFor } from "../helpers/wait.ts";
import { startWorld, stateful, type World } from "./world.ts";

// The API of a running instance, with tasks that are real; by numbers of spec/marathon.md 10 where there are. What needs no
// tasks of its own is in conformance-api.test.ts.
const skip = requiresFuse();
const SLEEP = { cmd: "sleep 1000", cpus: 0.1, mem: 16 };

t.test("the API", { skip, timeout: 180_000 }, async (t) => {
  const world = await startWorld(t);
  const call = (method: string, url: string, body?: unknown) => world.call(method, url, body);

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

  t.test("what a creation answers", async (t) => {
    const answer = await call("POST", "/v2/apps", { id: "/m", ...SLEEP });
    t.match(answer, { status: 201, body: { id: "/m", tasksRunning: 0, deployments: [{ id: String }] } });
    t.notOk("tasks" in answer.body);
    t.equal(answer.headers.get("location"), `${world.marathon}/m`);
    t.equal(answer.headers.get("marathon-deployment-id"), answer.body.deployments[0].id);
    await call("POST", "/v2/apps", stateful("/v", "v"));
    await world.runs("/m");
    await world.runs("/v");
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

  t.test("109 a failure: after a delay the instance has its next task", async (t) => {
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
    t.equal(failed.lastTaskFailure?.taskId, task.id.replace(/2$/, "1"), "of the same instance");
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
