import t from "tap";
import { defineApp, readUpdate } from "../../src/marathon/definition/define.ts";
import { newInstance } from "../../src/marathon/scheduler/instance.ts";
import { match } from "../../src/marathon/scheduler/offers.ts";
import { taskInfo } from "../../src/marathon/scheduler/task-info.ts";
import { addressesOf } from "../../src/mesos/agent/docker-containers.ts";

// What an agent is asked to run (spec/marathon.md 7.2, 7.3): the environment and the ports, as tables.

const VERSION = "2026-01-01T00:00:00.000Z";

/** A definition as it is posted, placed on an agent with ports from 31000 on. */
function placed(update: object) {
  let servicePort = 10_000;
  const given = { cmd: "true", ...update };
  const app = defineApp("/group/x", readUpdate(given), undefined, {
    externalVolumes: true,
    servicePort: () => servicePort++,
  });
  const agent = { id: "S0", name: "agent-1", attributes: {}, ports: [31_000, 31_099] as const, docker: true };
  const offer = { agent, cpus: 9, mem: 9999, disk: 9999, usedPorts: new Set<number>() };
  const fit = match(app, offer, []);
  if (!("ports" in fit)) throw new Error(fit.text);
  const instance = { ...newInstance(app.id, VERSION), agent: "agent-1", ports: fit.ports };
  return { instance, info: taskInfo(app, VERSION, instance, "framework") };
}

const DOCKER = { type: "DOCKER", docker: { image: "nginx" } };
const bridge = (portMappings: object[], more: object = {}) => ({
  networks: [{ mode: "container/bridge" }],
  container: { ...DOCKER, portMappings },
  ...more,
});

t.test("addresses of a container, in Docker's words: only its own", async (t) => {
  t.same(addressesOf({ net: { IPAddress: "172.18.0.2" }, other: { IPAddress: "172.19.0.2" } }), [
    "172.18.0.2",
    "172.19.0.2",
  ]);
  t.same(addressesOf({ host: { IPAddress: "" } }), []);
});

t.test("7.2 the environment", async (t) => {
  const cases: [string, object, Record<string, string | undefined>][] = [
    ["id and version", {}, { MARATHON_APP_ID: "/group/x", MARATHON_APP_VERSION: VERSION }],
    [
      "resources",
      { cpus: 1, mem: 128.5 },
      {
        MARATHON_APP_RESOURCE_CPUS: "1.0",
        MARATHON_APP_RESOURCE_MEM: "128.5",
        MARATHON_APP_RESOURCE_DISK: "0.0",
        MARATHON_APP_RESOURCE_GPUS: "0",
      },
    ],
    ["no image", {}, { MARATHON_APP_DOCKER_IMAGE: undefined }],
    ["an image", { container: DOCKER }, { MARATHON_APP_DOCKER_IMAGE: "nginx" }],
    [
      "labels",
      { labels: { "a-b": "1", c: "2", long: "x".repeat(512) } },
      {
        MARATHON_APP_LABELS: "A_B C",
        MARATHON_APP_LABEL_A_B: "1",
        MARATHON_APP_LABEL_C: "2",
        MARATHON_APP_LABEL_LONG: undefined,
      },
    ],
    ["role", {}, { MESOS_ALLOCATION_ROLE: "*", MARATHON_APP_ENFORCE_GROUP_ROLE: "FALSE" }],
    ["host", {}, { HOST: "agent-1" }],
    ["the user's wins", { env: { HOST: "mine", PORT0: "1" } }, { HOST: "mine", PORT0: "1", PORT: "31000" }],
    [
      "one port by default",
      {},
      { PORT: "31000", PORT0: "31000", PORTS: "31000", PORT_10000: "31000", PORT_DEFAULT: "31000" },
    ],
    ["no ports", { portDefinitions: [] }, { PORT: undefined, PORT0: undefined, PORTS: undefined }],
    [
      "ports of the host, with numbers and names",
      { portDefinitions: [{ port: 9000, name: "web-ui" }, { port: 9001 }] },
      {
        PORT: "31000",
        PORTS: "31000,31001",
        PORT1: "31001",
        PORT_9000: "31000",
        PORT_9001: "31001",
        PORT_WEB_UI: "31000",
      },
    ],
    [
      "the real ones",
      { portDefinitions: [{ port: 31_007 }], requirePorts: true },
      { PORT: "31007", PORT0: "31007", PORT_31007: "31007" },
    ],
    [
      "a bridge: every container port has one of the host, asked for or not",
      bridge([
        { containerPort: 80 },
        { containerPort: 81, hostPort: 0, name: "adm" },
        { containerPort: 0, name: "any" },
      ]),
      {
        PORT: "31000",
        PORT0: "31000",
        PORT1: "31001",
        PORT2: "31002",
        PORT_80: "31000",
        PORT_81: "31001",
        PORT_ADM: "31001",
        PORT_ANY: "31002",
        PORT_0: undefined,
        PORTS: "31000,31001,31002",
      },
    ],
    [
      "a network by name: ports that are not mapped are the container's, and shift nothing",
      {
        networks: [{ mode: "container", name: "net" }],
        container: {
          ...DOCKER,
          portMappings: [{ containerPort: 80 }, { containerPort: 81, hostPort: 0, name: "adm" }],
        },
      },
      {
        PORT: "80",
        PORT0: "80",
        PORT1: "31000",
        PORT_80: "80",
        PORT_81: "31000",
        PORT_ADM: "31000",
        PORTS: "80,31000",
      },
    ],
  ];
  for (const [name, update, expected] of cases) {
    const { env } = placed(update).info;
    for (const [key, value] of Object.entries(expected)) t.equal(env[key], value, `${name}: ${key}`);
  }
  const { instance, info } = placed({});
  t.equal(info.env["MESOS_TASK_ID"], `${instance.id}._app.1`);
});

t.test("ports that Docker publishes, and where the agent looks for health", async (t) => {
  const check = (more: object) => ({ protocol: "MESOS_HTTP", path: "/", ...more });
  const { info } = placed(
    bridge([{ containerPort: 80 }, { containerPort: 0, protocol: "udp,tcp" }], {
      healthChecks: [check({ portIndex: 1 })],
    }),
  );
  t.same(info.docker?.portMappings, [
    { containerPort: 80, hostPort: 31_000, protocol: "tcp" },
    { containerPort: 31_001, hostPort: 31_001, protocol: "udp,tcp" },
  ]);
  const cases: [string, object, number][] = [
    ["the container's own", bridge([{ containerPort: 80 }], { healthChecks: [check({ portIndex: 0 })] }), 80],
    ["one given by number", bridge([{ containerPort: 80 }], { healthChecks: [check({ port: 8080 })] }), 8080],
    ["the host's", { portDefinitions: [{ port: 0 }, { port: 0 }], healthChecks: [check({ portIndex: 1 })] }, 31_001],
    ["on the host network", { container: DOCKER, healthChecks: [{ protocol: "MESOS_TCP" }] }, 31_000],
  ];
  for (const [name, update, port] of cases) t.match(placed(update).info.healthCheck?.probe, { port }, name);
  t.same(
    placed({
      networks: [{ mode: "container", name: "n" }],
      container: { ...DOCKER, portMappings: [{ containerPort: 80 }] },
    }).info.docker,
    { image: "nginx", forcePullImage: false, privileged: false, parameters: [], network: "n", portMappings: [] },
  );
});
