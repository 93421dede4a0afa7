import http from "node:http";
import type net from "node:net";
import t, { type Test } from "tap";
import type { AgentState } from "../../src/mesos/agents-api.ts";
import type { AgentView } from "../../src/mesos/master/agents.ts";
import { mesosApi } from "../../src/mesos/master/api.ts";
import type { AgentTask, TaskInfo, TaskState } from "../../src/mesos/task.ts";

// Mesos' endpoints (spec/marathon.md 9) over agents that are made up: what tools look for in each, as a table.

const agent = (name: string, state: AgentState): AgentView => ({
  name,
  id: `${name}-S0`,
  attributes: { rack: "a" },
  resources: { cpus: 4, mem: 4096, disk: 1000 },
  ports: [31_000, 31_099],
  workDir: "/nowhere",
  docker: true,
  state,
  since: "2026-01-01T00:00:00.000Z",
  pid: 1,
});

const task = (taskId: string, state: TaskState, more: Partial<TaskInfo> = {}): AgentTask => ({
  info: {
    taskId,
    name: taskId.split(".")[0] as string,
    frameworkId: "f",
    command: { shell: "true" },
    env: {},
    fetch: [],
    resources: { cpus: 0.5, mem: 64, disk: 0 },
    ports: [31_000],
    volumes: [],
    killGraceSeconds: 3,
    labels: { a: "1" },
    ...more,
  },
  status: { taskId, state, message: "", timestamp: "2026-01-01T00:00:01.000Z", healthy: true },
  containerId: `c-${taskId}`,
  directory: `/w/${taskId}`,
});

const TASKS: Readonly<Record<string, readonly AgentTask[]>> = {
  up: [
    task("web.1", "TASK_RUNNING", {
      docker: {
        image: "nginx",
        forcePullImage: true,
        privileged: false,
        network: "bridge",
        parameters: [{ key: "env", value: "a=b" }],
        portMappings: [{ containerPort: 80, hostPort: 31_000, protocol: "tcp" }],
      },
    }),
    task("db.1", "TASK_RUNNING", {
      volumes: [
        { containerPath: "data", mode: "RW", source: { driver: "rexray", name: "v", options: { size: "1" } } },
        { containerPath: "/h", mode: "RO", source: { hostPath: "/etc" } },
      ],
    }),
    task("old.1", "TASK_FINISHED"),
  ],
  lost: [task("gone.1", "TASK_RUNNING"), task("gone.0", "TASK_FAILED")],
  cut: [task("cut.1", "TASK_STAGING")],
  left: [],
};

async function serve(t: Test, jsonp = true): Promise<(path: string, headers?: object) => Promise<Response>> {
  const agents = [agent("up", "running"), agent("lost", "lost"), agent("cut", "unreachable"), agent("left", "stopped")];
  const app = mesosApi({
    agents: { list: () => agents },
    tasks: (name) => TASKS[name] ?? [],
    frameworkId: "f",
    address: "127.0.0.1:5050",
    marathonAddress: "127.0.0.1:8080",
    jsonp,
  });
  const server = http.createServer(app);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as net.AddressInfo;
  return (path, headers = {}) =>
    fetch(`http://127.0.0.1:${port}${path}`, { redirect: "manual", headers: { ...headers } });
}

const ids = (...names: string[]) => names.map((id) => ({ id }));
const USED = { cpus: 1, mem: 128, disk: 0, gpus: 0 };
const NONE = { cpus: 0, mem: 0, disk: 0, gpus: 0 };

const ROWS: readonly [name: string, path: string, expected: object][] = [
  [
    "state: the master",
    "/state",
    {
      version: /^\d+\.\d+\.\d+$/,
      id: "f",
      pid: "master@127.0.0.1:5050",
      hostname: "127.0.0.1",
      leader: "master@127.0.0.1:5050",
      cluster: String,
      start_time: Number,
      elected_time: Number,
      activated_slaves: 1,
      deactivated_slaves: 0,
      unreachable_slaves: 2,
      flags: {},
      completed_frameworks: [],
      orphan_tasks: [],
      unregistered_frameworks: [],
    },
  ],
  [
    "state: agents",
    "/master/state.json",
    {
      slaves: [
        {
          id: "up-S0",
          hostname: "up",
          port: 5051,
          pid: "slave(1)@up:5051",
          attributes: { rack: "a" },
          active: true,
          registered_time: 1_767_225_600,
          resources: { cpus: 4, mem: 4096, disk: 1000, gpus: 0, ports: "[31000-31099]" },
          used_resources: USED,
          offered_resources: NONE,
          reserved_resources: {},
          unreserved_resources: { cpus: 4 },
          version: String,
          capabilities: [],
        },
        { active: false },
        { active: false },
        { active: false },
      ],
    },
  ],
  [
    "state: the framework; what is on lost agents is unreachable",
    "/state",
    {
      frameworks: [
        {
          id: "f",
          name: "marathon",
          active: true,
          connected: true,
          webui_url: "http://127.0.0.1:8080",
          user: "root",
          roles: ["*"],
          checkpoint: true,
          failover_timeout: Number,
          registered_time: Number,
          resources: USED,
          used_resources: USED,
          offered_resources: NONE,
          tasks: ids("web.1", "db.1"),
          unreachable_tasks: [
            { id: "gone.1", state: "TASK_UNREACHABLE" },
            { id: "cut.1", state: "TASK_UNREACHABLE" },
          ],
          completed_tasks: ids("old.1", "gone.0"),
          executors: [],
          offers: [],
        },
      ],
    },
  ],
  [
    "tasks: a DOCKER one",
    "/tasks?task_id=web.1",
    {
      tasks: [
        {
          id: "web.1",
          name: "web",
          framework_id: "f",
          executor_id: "",
          slave_id: "up-S0",
          state: "TASK_RUNNING",
          role: "*",
          resources: { cpus: 0.5, mem: 64 },
          labels: [{ key: "a", value: "1" }],
          container: {
            type: "DOCKER",
            docker: {
              image: "nginx",
              force_pull_image: true,
              privileged: false,
              network: "BRIDGE",
              parameters: [{ key: "env", value: "a=b" }],
              port_mappings: [{ container_port: 80, host_port: 31_000, protocol: "tcp" }],
            },
          },
          discovery: { name: "web", ports: { ports: [{ number: 31_000 }] } },
          statuses: [
            {
              state: "TASK_RUNNING",
              timestamp: 1_767_225_601,
              healthy: true,
              container_status: { container_id: { value: "c-web.1" }, network_infos: [] },
            },
          ],
        },
      ],
    },
  ],
  [
    "tasks: volumes",
    "/tasks?task_id=db.1",
    {
      tasks: [
        {
          container: {
            type: "MESOS",
            volumes: [
              {
                container_path: "data",
                mode: "RW",
                source: {
                  type: "DOCKER_VOLUME",
                  docker_volume: {
                    driver: "rexray",
                    name: "v",
                    driver_options: { parameter: [{ key: "size", value: "1" }] },
                  },
                },
              },
              { container_path: "/h", mode: "RO", host_path: "/etc" },
            ],
          },
        },
      ],
    },
  ],
  ["tasks: order, offset, limit", "/master/tasks?order=asc&offset=1&limit=2", { tasks: ids("db.1", "old.1") }],
  ["tasks: the last first", "/tasks.json?limit=1", { tasks: ids("cut.1") }],
  ["tasks: of another framework", "/tasks?framework_id=other", { tasks: [] }],
  ["slaves", "/slaves", { slaves: ids("up-S0", "lost-S0", "cut-S0", "left-S0"), recovered_slaves: [] }],
  ["frameworks", "/frameworks", { frameworks: ids("f"), completed_frameworks: [] }],
  ["roles", "/roles", { roles: [{ name: "*", frameworks: ["f"], resources: USED }] }],
  [
    "summary",
    "/state-summary",
    {
      hostname: "127.0.0.1",
      cluster: String,
      slaves: [
        { TASK_RUNNING: 2, TASK_FINISHED: 1, framework_ids: ["f"] },
        { TASK_UNREACHABLE: 1, TASK_RUNNING: 0 },
        { TASK_UNREACHABLE: 1, TASK_STAGING: 0 },
        { TASK_RUNNING: 0 },
      ],
      frameworks: [{ TASK_RUNNING: 2, TASK_UNREACHABLE: 2, slave_ids: ["up-S0", "lost-S0", "cut-S0"] }],
    },
  ],
  [
    "metrics",
    "/metrics/snapshot",
    {
      "master/elected": 1,
      "master/uptime_secs": Number,
      "master/slaves_active": 1,
      "master/slaves_connected": 1,
      "master/slaves_disconnected": 0,
      "master/slaves_inactive": 1,
      "master/slaves_unreachable": 2,
      "master/tasks_running": 2,
      "master/tasks_unreachable": 2,
      "master/tasks_finished": 1,
      "master/tasks_failed": 1,
      "master/cpus_total": 16,
      "master/cpus_percent": Number,
      "master/mem_used": Number,
      "master/frameworks_active": 1,
    },
  ],
  ["version", "/version", { version: String }],
  [
    "an agent: running executors and ended ones",
    "/agent/up-S0/slave(1)/state",
    {
      id: "up-S0",
      pid: "slave(1)@up:5051",
      hostname: "up",
      master_hostname: "127.0.0.1",
      flags: { work_dir: "/nowhere" },
      frameworks: [
        {
          id: "f",
          executors: [
            {
              id: "web.1",
              container: "c-web.1",
              directory: "/w/web.1",
              tasks: ids("web.1"),
              queued_tasks: [],
              completed_tasks: [],
            },
            { id: "db.1" },
          ],
          completed_executors: [{ id: "old.1", directory: "/w/old.1", tasks: [], completed_tasks: ids("old.1") }],
        },
      ],
      completed_frameworks: [],
    },
  ],
];

t.test("what tools look for", async (t) => {
  const get = await serve(t);
  for (const [name, path, expected] of ROWS) t.match(await (await get(path)).json(), expected, `${name}: ${path}`);
  t.match(await get("/health"), { status: 200 });
  t.equal((await get("/redirect")).headers.get("location"), "//127.0.0.1:5050");
  t.equal((await get("/agent/nobody/state")).status, 404);
});

t.test("as a script, for pages of one's own", async (t) => {
  const get = await serve(t);
  const answer = await get("/version?jsonp=cb");
  t.match(answer.headers.get("content-type"), /javascript/);
  t.match(await answer.text(), /cb\(\{"version":"[\d.]+"\}\);?$/);
  const plain = /^\{"version":"[\d.]+"\}$/;
  t.match(await (await get("/version?jsonp=cb", { "sec-fetch-site": "cross-site" })).text(), plain, "not for others'");
  t.match(await (await (await serve(t, false))("/version?jsonp=cb")).text(), plain, "nor on a network");
});
