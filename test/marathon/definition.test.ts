import t from "tap";
import type { AppDefinition } from "../../src/marathon/definition/app.ts";
import { absoluteId, defineApp, readUpdate } from "../../src/marathon/definition/define.ts";
import { MarathonError } from "../../src/marathon/definition/violations.ts";
import { type Json, M, NONE, V, without } from "./conformance-apps.ts";

// What becomes of a definition before anybody else is asked (spec/marathon.md 2, 4, 5).
let port = 10_000;
const define = (body: unknown, externalVolumes = true): AppDefinition => {
  const update = readUpdate(body);
  return defineApp(absoluteId(update.id ?? ""), update, undefined, { externalVolumes, servicePort: () => port++ });
};

function errorsOf(body: unknown, externalVolumes?: boolean): { message: string; errors: string[] } | undefined {
  try {
    define(body, externalVolumes);
    return undefined;
  } catch (error) {
    if (!(error instanceof MarathonError)) throw error;
    const details = error.more["details"] as { path: string; errors: string[] }[];
    const errors = details.flatMap((one) => one.errors.map((text) => `${one.path}: ${text}`));
    return { message: `${error.status} ${error.message}`, errors };
  }
}

t.test("what is stored, and the defaults of section 4", async (t) => {
  const stored = define(without(M(V({ mode: "rw" }, { shared: true })), "upgradeStrategy"));
  t.match(stored.container?.volumes[0], { mode: "RW", external: { shared: true } });
  t.same(stored.upgradeStrategy, { minimumHealthCapacity: 0.5, maximumOverCapacity: 0 });
  t.same(stored.unreachableStrategy, { inactiveAfterSeconds: 0, expungeAfterSeconds: 0 }, "it can go elsewhere");
  const local = { type: "MESOS", volumes: [{ containerPath: "d", mode: "RW", persistent: { size: 10 } }] };
  t.match(define({ id: "local", cmd: "sleep 1", container: local }), {
    unreachableStrategy: "disabled",
    upgradeStrategy: { minimumHealthCapacity: 0.5, maximumOverCapacity: 0 },
  });
  const { portDefinitions = [], ...plain } = define({ id: "plain", cmd: "sleep 1" });
  t.same(plain, {
    id: "/plain",
    cmd: "sleep 1",
    instances: 1,
    cpus: 1,
    mem: 128,
    disk: 0,
    gpus: 0,
    executor: "",
    role: "*",
    env: {},
    labels: {},
    secrets: {},
    constraints: [],
    fetch: [],
    dependencies: [],
    healthChecks: [],
    readinessChecks: [],
    networks: [{ mode: "host" }],
    requirePorts: false,
    upgradeStrategy: { minimumHealthCapacity: 1, maximumOverCapacity: 1 },
    backoffSeconds: 1,
    backoffFactor: 1.15,
    maxLaunchDelaySeconds: 300,
    killSelection: "YOUNGEST_FIRST",
    unreachableStrategy: { inactiveAfterSeconds: 0, expungeAfterSeconds: 0 },
  });
  t.match(portDefinitions, [{ protocol: "tcp", name: "default", labels: {} }]);
  t.ok((portDefinitions[0]?.port ?? 0) >= 10_000, "a service port");
  const parts = define({
    id: "parts",
    networks: [{ mode: "container/bridge" }],
    container: { docker: { image: "x" } },
    fetch: [{ uri: "/f" }],
    healthChecks: [{}],
    readinessChecks: [{}],
  });
  t.same(parts.fetch, [{ uri: "/f", extract: true, executable: false, cache: false }]);
  t.same(parts.healthChecks, [
    {
      protocol: "HTTP",
      portIndex: 0,
      gracePeriodSeconds: 300,
      intervalSeconds: 60,
      timeoutSeconds: 20,
      maxConsecutiveFailures: 3,
      delaySeconds: 15,
      ignoreHttp1xx: false,
    },
  ]);
  t.same(parts.readinessChecks, [
    {
      name: "readinessCheck",
      protocol: "HTTP",
      path: "/",
      portName: "http-api",
      intervalSeconds: 30,
      timeoutSeconds: 10,
      httpStatusCodesForReady: [200],
      preserveLastResponse: false,
    },
  ]);
  t.match(parts.container, {
    type: "DOCKER",
    docker: { forcePullImage: false, privileged: false },
    portMappings: [{ containerPort: 0, name: "default" }],
  });
});

t.test("deprecated fields: rules, rewriting, and what may not be mixed", async (t) => {
  const image = { docker: { image: "alpine" } };
  const docker = (more: Json, container: Json = {}) =>
    M(V(), { container: { docker: { image: "x", ...more }, ...container } });
  const cases: [Json, string, string][] = [
    [docker({ portMappings: [] }, { type: "MESOS" }), "422", "/container/docker/portMappings: must be empty"],
    [docker({ network: "HOST" }, { type: "MESOS" }), "422", "/container/docker/network: must be empty"],
    [
      docker({ credential: { principal: "a" } }, { type: "MESOS" }),
      "422",
      "/container/docker/credential: must be empty",
    ],
    [
      docker({ parameters: [{ key: "a", value: "b" }] }, { type: "MESOS" }),
      "422",
      "/container/docker/parameters: must be empty",
    ],
    [{ ...M(), ports: [1], portDefinitions: [] }, "422", "/: cannot specify both ports and port definitions"],
    [
      { ...docker({ network: "HOST" }), networks: [] },
      "422",
      "/: must not specify both container.docker.network and networks",
    ],
  ];
  for (const [body, status, text] of cases) {
    const answer = errorsOf(body);
    t.match(answer?.message, status);
    t.ok(answer?.errors.includes(text), `${text} among ${answer?.errors}`);
  }
  const rewriting: [Json, string][] = [
    [
      { ...docker({ portMappings: [{ containerPort: 80 }] }), networks: [{ mode: "container/bridge" }] },
      "cannot mix deprecated and canonical network APIs",
    ],
    [
      { ...M(), ipAddress: { networkName: "x" }, networks: [{ mode: "host" }] },
      "cannot mix deprecated and canonical network APIs",
    ],
    [{ ...M(), uris: ["/a"], fetch: [{ uri: "/b" }] }, "cannot specify both uris and fetch fields"],
    // Before the rules of the model that it would become.
    [
      { ...M(V({}, { size: 0 })), constraints: [["hostname", "unique"]] },
      "illegal constraint specification hostname,unique",
    ],
  ];
  for (const [body, message] of rewriting) t.throws(() => define(body), { status: 500, message }, message);
  const named = define({ id: "/m", cmd: "sleep 1", container: image, ipAddress: { networkName: "weave" } });
  t.match(named.networks, [{ mode: "container", name: "weave" }]);
  const user = define({
    id: "/m",
    container: { docker: { image: "x", network: "USER" } },
    ipAddress: { networkName: "weave" },
  });
  t.match(user.networks, [{ mode: "container", name: "weave" }]);
});

t.test("the texts of section 5", async (t) => {
  const LIKE = "LIKE and UNLIKE require a non-empty, regular expression value";
  const ports = (...definitions: Json[]) => ({ portDefinitions: definitions });
  const on = (...constraint: string[]) => ({ constraints: [constraint] });
  const rows: [Json, string | undefined][] = [
    [on("hostname"), "/constraints(0): Each constraint must have either 2 or 3 fields"],
    [on("hostname", "IS", "a", "b"), "/constraints(0): Each constraint must have either 2 or 3 fields"],
    [
      on("hostname", "NEAR"),
      "/constraints(0): operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS",
    ],
    [on("hostname", "UNIQUE", "x"), "/constraints(0): UNIQUE does not accept a value"],
    [on("hostname", "LIKE"), `/constraints(0): ${LIKE}`],
    [on("hostname", "UNLIKE", ""), `/constraints(0): ${LIKE}`],
    [on("hostname", "LIKE", "("), "/constraints(0): is not a valid regular expression"],
    [on("hostname", "MAX_PER", "x"), "/constraints(0): MAX_PER requires an integer value"],
    [on("hostname", "GROUP_BY", "x"), "/constraints(0): GROUP BY must define an integer value or else no value at all"],
    [on("hostname", "GROUP_BY"), undefined],
    [ports({ port: 80 }, { port: 80 }), "/portDefinitions: Ports must be unique."],
    [ports({ port: 0 }, { port: 0 }), undefined],
    [ports({ name: "a" }, { name: "a" }), "/portDefinitions: Port names must be unique."],
    [
      { ...ports({}), healthChecks: [{ portIndex: 1 }] },
      "/healthChecks(0): Health check port indices must address an element of the ports array or container port mappings.",
    ],
    [
      { healthChecks: [{ protocol: "MESOS_TCP" }, { protocol: "COMMAND", command: { value: "true" } }] },
      "/healthChecks: AppDefinition can contain at most one Mesos health check",
    ],
    [
      { networks: [{ mode: "container" }], container: { docker: { image: "x" } } },
      "/networks: Network name must be specified when container network is selected.",
    ],
    [{ role: "db" }, "/role: got db, expected one of: [*]"],
    [{ acceptedResourceRoles: ["*", "db"] }, "/acceptedResourceRoles: acceptedResourceRoles can only contain *"],
    [{ acceptedResourceRoles: ["*"] }, undefined],
    [{ fetch: [{ uri: "a b" }] }, "/fetch(0)/uri: URI has invalid syntax."],
    [
      { unreachableStrategy: { inactiveAfterSeconds: 2, expungeAfterSeconds: 1 } },
      "/unreachableStrategy/inactiveAfterSeconds: inactiveAfterSeconds (2) must be less or equal to expungeAfterSeconds, which is 1",
    ],
    [
      { id: "/a/restart" },
      "/id: must not end with any of the following reserved keywords: restart, tasks, versions, ., ..",
    ],
    [{ id: "/" }, "/id: Path must contain at least one path element"],
    [{ id: "/A_b" }, "/id: error.pattern"],
  ];
  for (const [update, text] of rows)
    t.same(
      errorsOf({ id: "/m", cmd: "sleep 1", ...update })?.errors,
      text === undefined ? undefined : [text],
      text ?? JSON.stringify(update),
    );
});

t.test("other rules of section 5, and what is filled in", async (t) => {
  const single = { id: "/m", cmd: "sleep 1", labels: { MARATHON_SINGLE_INSTANCE_APP: "true" } };
  t.same(
    errorsOf({ ...single, instances: 2, upgradeStrategy: { minimumHealthCapacity: 0.5, maximumOverCapacity: 0 } })
      ?.errors,
    [
      "/: Single instance app may only have one instance",
      "/upgradeStrategy/minimumHealthCapacity: got 0.5, expected 0.0",
    ],
  );
  t.equal(errorsOf({ ...single, upgradeStrategy: NONE }), undefined);
  const healthChecks = [
    { protocol: "HTTP" },
    { protocol: "TCP", port: 5 },
    { protocol: "COMMAND", command: { value: "true" } },
  ];
  t.same(
    define({ id: "/m", cmd: "sleep 1", healthChecks }).healthChecks.map(({ portIndex }) => portIndex),
    [0, undefined, undefined],
  );
});
