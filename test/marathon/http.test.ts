import http from "node:http";
import t from "tap";
import { waitFor } from "../helpers/wait.ts";
import { fakeWorld, plain } from "./fake-agents.ts";

// The API over agents that are not: orders of things, words, and routes (spec/marathon.md 2, 6).

/** Fits nowhere: its deployment goes on for ever. */
const stuck = (id: string) => plain(id, { cpus: 99 });

t.test("the first stage that fails answers: rules, 403, 409 exists, tree, lock", async (t) => {
  const world = await fakeWorld(t);
  await world.call("POST", "/v2/apps", stuck("/a"));
  t.equal((await world.call("POST", "/v2/apps", { ...stuck("/a"), role: "x" })).status, 422);
  const locked = await world.call("PUT", "/v2/apps/a", { dependencies: ["/a"] });
  t.match(locked, { status: 422, body: { details: [{ errors: ["Dependency graph has cyclic dependencies."] }] } });
  for (let i = 1; i < 100; i++) await world.call("POST", "/v2/apps", stuck(`/a${i}`));
  t.equal((await world.call("POST", "/v2/apps", { ...plain("/more"), role: "x" })).status, 422);
  for (const url of ["/v2/apps", "/v2/apps?force=true"])
    t.match(await world.call("POST", url, stuck("/a")), {
      status: 403,
      body: { message: /^Max number \(100\) of running deployments is achieved\. Wait for existing deployments/ },
    });
});

t.test("events: who posts what, in which order", async (t) => {
  const world = await fakeWorld(t);
  const check = { protocol: "COMMAND", command: { value: "true" } };
  await world.post(plain("/a"));
  t.same(world.types(), [
    "api_post_event",
    "group_change_success",
    "deployment_info",
    "deployment_step_success",
    "deployment_info",
    "instance_changed_event Provisioned",
    "status_update_event",
    "instance_changed_event Staging",
    "status_update_event",
    "instance_changed_event Starting",
    "status_update_event",
    "instance_changed_event Running",
    "deployment_step_success",
    "deployment_success",
  ]);
  t.match(world.events[0], { uri: "/v2/apps", clientIp: String, appDefinition: { id: "/a", version: String } });
  for (const [method, body, types] of [
    ["PUT", { healthChecks: [check] }, ["add_health_check_event"]],
    [
      "PUT",
      { healthChecks: [], cpus: 99 },
      ["deployment_step_failure", "deployment_failed", "remove_health_check_event"],
    ],
    ["DELETE", undefined, ["deployment_failed"]],
  ] as const) {
    world.events.length = 0;
    t.equal((await world.call(method, "/v2/apps/a?force=true", body)).status, 200);
    t.match(
      world.events.find(({ eventType }) => eventType === "api_post_event"),
      { uri: "/v2/apps/a", appDefinition: { id: "/a" } },
      method,
    );
    for (const type of types) t.ok(world.types().includes(type), `${method}: ${type} among ${world.types()}`);
  }
  await world.settled();
  await world.call("POST", "/v2/apps", stuck("/s"));
  world.events.length = 0;
  t.equal((await world.call("PUT", "/v2/apps/s", { cpus: 98 })).status, 409);
  t.match(world.events, [
    { eventType: "group_change_failed", groupId: "/", version: String, reason: String },
    { eventType: "deployment_failed", id: String, plan: { id: String }, reason: /locked/ },
  ]);
  world.events.length = 0;
  await world.call("DELETE", "/v2/leader");
  t.same(world.types(), ["scheduler_disconnected_event", "scheduler_reregistered_event"]);
});

t.test("a container's own addresses are the same in tasks and events; others have their agent's", async (t) => {
  const world = await fakeWorld(t);
  await world.post(plain("/host"));
  world.agents.held.add("own");
  const container = { type: "DOCKER", docker: { image: "x" } };
  await world.call("POST", "/v2/apps", plain("/own", { container, networks: [{ mode: "container", name: "net" }] }));
  const task = await waitFor(() => world.agents.living("own")[0], { what: "the task" });
  world.agents.say(task.info.taskId, "TASK_RUNNING", "", { addresses: ["172.18.0.2"] });
  for (const [id, ipAddress] of [
    ["/host", "127.0.0.1"],
    ["/own", "172.18.0.2"],
  ] as const) {
    const shown = [{ ipAddress, protocol: "IPv4" }];
    t.same((await world.app(id)).tasks[0].ipAddresses, shown, id);
    const event = world.events.findLast(({ appId, taskStatus }) => appId === id && taskStatus === "TASK_RUNNING");
    t.same(event?.["ipAddresses"], shown, `${id} in its event`);
  }
});

t.test("events: an instance that is given up, a listener that goes", async (t) => {
  const world = await fakeWorld(t);
  await world.post(plain("/a"));
  const [task] = [...world.agents.tasks.values()];
  world.agents.lose(task?.agent ?? "");
  const conditions = world.events.filter(({ condition }) => /^Unreach/.test(String(condition)));
  t.match(conditions, [{ condition: "Unreachable" }, { condition: "UnreachableInactive" }]);
  const request = http.get(`${world.url}/v2/events`, { headers: { accept: "text/event-stream" } });
  await new Promise((resolve) => request.once("response", resolve));
  request.destroy();
  await waitFor(() => world.types().includes("event_stream_detached"), { what: "the end of it" });
});

t.test("a method that is not there is 405, a path that is not there 500", async (t) => {
  const world = await fakeWorld(t);
  await world.post(plain("/a"));
  for (const [method, url] of [
    ["PUT", "/v2/queue"],
    ["PUT", "/v2/queue/a/delay"],
    ["POST", "/v2/deployments"],
    ["PUT", "/v2/info"],
    ["POST", "/v2/leader"],
    ["POST", "/ping"],
    ["PUT", "/v2/tasks"],
    ["GET", "/v2/tasks/delete"],
    ["POST", "/v2/pods"],
    ["POST", "/v2/events"],
    ["DELETE", "/v2/apps"],
    ["POST", "/v2/apps/a"],
    ["GET", "/v2/apps/a/restart"],
    ["PATCH", "/v2/groups/a"],
  ] as const)
    t.match(
      await world.call(method, url),
      { status: 405, body: { message: "Method Not Allowed" } },
      `${method} ${url}`,
    );
  t.match(await world.call("GET", "/v2/nothing"), { status: 500, body: { message: "URI not found" } });
});

t.test("media types: JSON in, JSON out, compressed on request; task lists and ping as text", async (t) => {
  const world = await fakeWorld(t);
  await world.post(plain("/g/a", { portDefinitions: [{ port: 10_050 }] }));
  const form = { "content-type": "application/x-www-form-urlencoded" };
  const wrong = await world.call("POST", "/v2/apps", JSON.stringify(plain("/b")), form);
  t.match(wrong, { status: 415, body: { message: "Unsupported Media Type" } });
  const image = await world.call("GET", "/v2/apps", undefined, { accept: "image/png" });
  t.match(image, { status: 406, body: { message: "Not Acceptable" } });
  const text = await world.call("GET", "/v2/tasks", undefined, { accept: "text/plain" });
  t.match(text.body, /^g_a\t10050\tagent-\d:3\d+\n$/);
  t.equal((await world.call("GET", "/v2/apps/g/a/tasks", undefined, { accept: "text/plain" })).body, text.body);
  t.equal((await world.call("GET", "/ping")).body, "pong");
  const ping = await fetch(`${world.url}/ping`, { headers: { accept: "application/json" } });
  t.equal(await ping.text(), '"pong"');
  for (const encoding of ["gzip", "identity"]) {
    const raw = await new Promise<http.IncomingMessage>((resolve) =>
      http.get(`${world.url}/v2/apps`, { headers: { "accept-encoding": encoding } }, resolve),
    );
    raw.resume();
    t.equal(raw.headers["content-encoding"] ?? "identity", encoding);
  }
});

t.test("groups are kept when they are empty, with what they depend on", async (t) => {
  const world = await fakeWorld(t);
  await world.call("POST", "/v2/apps", stuck("/db/one"));
  const body = { id: "/web", dependencies: ["/db"], groups: [{ id: "front", apps: [plain("x")] }, { id: "empty" }] };
  t.equal((await world.call("POST", "/v2/groups", body)).status, 201);
  t.equal((await world.call("POST", "/v2/groups", { id: "/web/empty" })).status, 409);
  const shown = {
    id: "/web",
    dependencies: ["/db"],
    groups: [
      { id: "/web/front", apps: [{ id: "/web/front/x", dependencies: [] }] },
      { id: "/web/empty", apps: [] },
    ],
  };
  t.match((await world.call("GET", "/v2/groups/web")).body, shown);
  await world.close();
  const next = await fakeWorld(t, world);
  t.match((await next.call("GET", "/v2/groups/web")).body, shown, "also after a start of the daemon");
  const { body: some } = await next.call("GET", "/v2/groups?embed=group.groups");
  t.ok("groups" in some && !("apps" in some) && !("pods" in some), Object.keys(some).join());
  t.match(
    (await next.call("GET", "/v2/groups/web?embed=group.apps&embed=group.groups&embed=group.apps.tasks")).body.groups[0]
      .apps[0],
    { tasks: Array },
  );
  t.equal((await next.call("PUT", "/v2/groups/web", { groups: [{ id: "front" }] })).status, 200);
  t.equal((await next.call("GET", "/v2/groups/web/empty")).status, 404, "what is not named goes");
  t.equal((await next.call("DELETE", "/v2/groups/web")).status, 200);
  t.equal((await next.call("GET", "/v2/groups/web")).status, 404);
});

t.test("a group goes as it came when its deployment is taken back", async (t) => {
  const world = await fakeWorld(t);
  const back = async ({ body }: { body: { deploymentId: string } }) =>
    t.equal((await world.call("DELETE", `/v2/deployments/${body.deploymentId}`)).status, 200);
  const statuses = (...paths: string[]) =>
    Promise.all(paths.map(async (path) => (await world.call("GET", `/v2/groups${path}`)).status));
  const made = await world.call("POST", "/v2/groups", { id: "/g", groups: [{ id: "sub", apps: [stuck("x")] }] });
  t.same(await statuses("/g", "/g/sub"), [200, 200]);
  await back(made);
  await world.settled();
  t.same(await statuses("/g", "/g/sub"), [404, 404]);

  await world.call("POST", "/v2/groups", { id: "/old", dependencies: ["/first"], groups: [{ id: "empty" }] });
  const change = { dependencies: ["/second"], groups: [{ id: "new", apps: [stuck("x")] }] };
  const changed = await world.call("PUT", "/v2/groups/old", change);
  t.same(await statuses("/old/new", "/old/empty"), [200, 404]);
  await world.call("POST", "/v2/groups", { id: "/old/new/others" });
  await back(changed);
  await world.settled();
  t.match((await world.call("GET", "/v2/groups/old")).body, {
    dependencies: ["/first"],
    groups: [
      { id: "/old/new", apps: [], groups: [{ id: "/old/new/others" }] },
      { id: "/old/empty", apps: [], groups: [] },
    ],
  });

  const mine = await world.call("PUT", "/v2/groups/mine", { dependencies: ["/one"], apps: [stuck("x")] });
  t.equal((await world.call("PUT", "/v2/groups/mine?force=true", { dependencies: ["/two"] })).status, 200);
  await back(mine);
  await world.settled();
  const left = { dependencies: ["/two"], apps: [] };
  t.match((await world.call("GET", "/v2/groups/mine")).body, left, "what has come since is left");
});

t.test("what a group depends on comes first", async (t) => {
  const world = await fakeWorld(t);
  const groups = [
    { id: "web", dependencies: ["/s/db"], apps: [plain("x")] },
    { id: "db", apps: [plain("y")] },
  ];
  const { body } = await world.call("PUT", "/v2/groups/s?dryRun=true", { groups });
  t.match(
    body.steps.map(({ actions }: { actions: { app: string }[] }) => actions.map(({ app }) => app)),
    [["/s/web/x", "/s/db/y"], ["/s/db/y"], ["/s/web/x"]],
  );
});

t.test("statistics of tasks, addresses of version 6", async (t) => {
  const world = await fakeWorld(t);
  await world.post(plain("/a", { instances: 2 }));
  const [app] = (await world.call("GET", "/v2/apps?embed=apps.taskStats")).body.apps;
  const stats = { counts: { staged: 0, running: 2, healthy: 0, unhealthy: 0 }, lifeTime: { averageSeconds: Number } };
  t.match(app.taskStats, { startedAfterLastScaling: { stats }, withLatestConfig: { stats }, totalSummary: { stats } });
  t.notOk("withOutdatedConfig" in app.taskStats);
  const { body } = await world.call("GET", "/v2/info");
  t.match(body, {
    marathon_config: { hostname: "[::1]", master: "http://[::1]:5051" },
    http_config: { http_port: 8080 },
  });
});

t.test("forty layers of applications that need each other are planned at once", async (t) => {
  const world = await fakeWorld(t);
  const names = [0, 1, 2];
  const apps = Array.from({ length: 40 }).flatMap((_, layer) =>
    names.map((name) =>
      plain(`l${layer}-${name}`, { dependencies: layer === 0 ? [] : names.map((one) => `l${layer - 1}-${one}`) }),
    ),
  );
  const began = performance.now();
  const { body } = await world.call("PUT", "/v2/groups/g?dryRun=true", { apps });
  t.equal(body.steps.length, 41);
  t.ok(performance.now() - began < 5000, `${performance.now() - began} ms`);
  const first = apps[0] as { dependencies: string[] };
  first.dependencies = ["l39-2"];
  const cyclic = await world.call("PUT", "/v2/groups/g?dryRun=true", { apps });
  t.match(cyclic, { status: 422, body: { details: [{ errors: ["Dependency graph has cyclic dependencies."] }] } });
});
