import t from "tap";
import type { AppDefinition } from "../../src/marathon/definition/app.ts";
import { absoluteId, defineApp, readUpdate } from "../../src/marathon/definition/define.ts";
import { checkVolumeNames } from "../../src/marathon/definition/external-volume-rules.ts";
import { MarathonError, Violations } from "../../src/marathon/definition/violations.ts";

// spec/marathon.md 10.1, by its numbers: what is posted, and which errors must be among those that come back.
type Json = Record<string, unknown>;
const VOL = "/container/volumes(0)";
const LABEL = "must match regular expression '^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$'";
const KEY =
  "must match regular expression '^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?/[A-Za-z0-9](?:[-A-Za-z0-9\\._:]*[A-Za-z0-9])?$'";
const NONE = { minimumHealthCapacity: 0, maximumOverCapacity: 0 };

const V = (more: Json = {}, external: Json = {}, options: Json = {}): Json => ({
  containerPath: "data",
  mode: "RW",
  external: { name: "v1", provider: "dvdi", options: { "dvdi/driver": "rexray", ...options }, ...external },
  ...more,
});
const M = (volume: Json = V(), more: Json = {}, container: Json = {}): Json => ({
  id: "/m",
  cmd: "sleep 100",
  cpus: 0.1,
  mem: 32,
  container: { type: "MESOS", volumes: [volume], ...container },
  upgradeStrategy: NONE,
  ...more,
});
const D = (volume: Json = V(), ...others: Json[]): Json =>
  M(volume, {}, { type: "DOCKER", docker: { image: "alpine" }, volumes: [volume, ...others] });
const without = (object: Json, ...keys: string[]): Json =>
  Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key)));
const option = (key: string, value: unknown, driver = "rexray") =>
  M(V({}, {}, { "dvdi/driver": driver, [key]: value }));

let port = 10_000;
const define = (body: unknown, externalVolumes = true): AppDefinition => {
  const update = readUpdate(body);
  return defineApp(absoluteId(update.id ?? ""), update, undefined, { externalVolumes, servicePort: () => port++ });
};

type Errors = Readonly<Record<string, string>>;
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

const OK = "accepted";
const NO_HOST_PATH = { [`${VOL}/hostPath`]: "'hostPath' is undefined on object:" };
const LIMITED = { "/": "Number of instances is limited to 1 when declaring DVDI volumes in app [" };
const rows: readonly [number, string, Json, Errors | typeof OK, { off?: true; shape?: true }?][] = [
  [1, "a size and another driver", M(V({ containerPath: "var" }, { size: 10 }, { "dvdi/driver": "bar" })), OK],
  [2, "an absolute path", M(V({ containerPath: "/var" })), OK],
  [3, "a nested path", M(V({ containerPath: "var/child" })), OK],
  [4, "path .", M(V({ containerPath: "." })), { [`${VOL}/containerPath`]: "can not be one of (.,..)" }],
  [5, "path ..", M(V({ containerPath: ".." })), { [`${VOL}/containerPath`]: "can not be one of (.,..)" }],
  [
    6,
    "an unknown provider",
    M(V({}, { provider: "acme", options: {} })),
    { [`${VOL}/external/provider`]: "is unknown provider" },
  ],
  [
    7,
    "a size only",
    M(V({ external: { size: 10 } })),
    { [`${VOL}/external/name`]: "must not be empty", [`${VOL}/external/provider`]: "not defined" },
  ],
  [8, "an empty name", M(V({}, { name: "" })), { [`${VOL}/external/name`]: "must not be empty" }],
  [9, "an empty provider", M(V({}, { provider: "" })), { [`${VOL}/external/provider`]: LABEL }],
  [10, "no options", M(V({}, { options: {} })), { [`${VOL}/external/options("dvdi/driver")`]: "not defined" }],
  [
    11,
    "a misspelt driver",
    M(V({}, { options: { "dvdi/driverNam": "rexray" } })),
    { [`${VOL}/external/options("dvdi/driver")`]: "not defined" },
  ],
  [12, "an empty driver", M(V({}, {}, { "dvdi/driver": "" })), { [`${VOL}/external/options("dvdi/driver")`]: LABEL }],
  [
    13,
    "a driver in capitals",
    M(V({}, {}, { "dvdi/driver": "RexRay" })),
    { [`${VOL}/external/options("dvdi/driver")`]: LABEL },
  ],
  [
    14,
    "an option without a prefix",
    M(V({}, { options: { driver: "bar" } })),
    { [`${VOL}/external/options/keys`]: KEY },
  ],
  [15, "the same beside a driver", option("a", "b", "bar"), { [`${VOL}/external/options/keys`]: KEY }],
  [16, "an option of somebody else", option("foo/x", "1"), OK],
  [
    17,
    "a volume type with a blank",
    option("dvdi/volumetype", "io1 "),
    { [`${VOL}/external/options/"dvdi/volumetype"`]: LABEL },
  ],
  [
    18,
    "a file system type with a blank",
    option("dvdi/newfstype", " xfs"),
    { [`${VOL}/external/options/"dvdi/newfstype"`]: LABEL },
  ],
  [
    19,
    "no IOPS",
    option("dvdi/iops", "0"),
    { [`${VOL}/external/options/"dvdi/iops"`]: "Expected a valid, positive integer instead of 0" },
  ],
  [
    20,
    "IOPS in letters",
    option("dvdi/iops", "b"),
    { [`${VOL}/external/options/"dvdi/iops"`]: "Expected a valid, positive integer instead of b" },
  ],
  [21, "IOPS", option("dvdi/iops", "100"), OK],
  [22, "IOPS as a number", option("dvdi/iops", 100), NO_HOST_PATH, { shape: true }],
  [
    23,
    "overwritefs b",
    option("dvdi/overwritefs", "b"),
    { [`${VOL}/external/options/"dvdi/overwritefs"`]: "Expected a valid boolean" },
  ],
  [24, "overwritefs true", option("dvdi/overwritefs", "true"), OK],
  [
    25,
    "overwritefs false",
    option("dvdi/overwritefs", "false"),
    { [`${VOL}/external/options/"dvdi/overwritefs"`]: "Expected a valid boolean" },
  ],
  [26, "the same for another driver", option("dvdi/overwritefs", "false", "bar"), OK],
  [27, "IOPS in letters for another driver", option("dvdi/iops", "b", "bar"), OK],
  [28, "read-only", M(V({ mode: "RO" })), { [`${VOL}/mode`]: "does not equal RW" }],
  [29, "mode in small letters", M(V({ mode: "rw" })), OK],
  [
    30,
    "no mode",
    M(without(V(), "mode")),
    { ...NO_HOST_PATH, [`${VOL}/mode`]: "'mode' is undefined on object:" },
    { shape: true },
  ],
  [
    31,
    "a misspelt kind",
    M({ containerPath: "var", persistent_WRONG_FIELD_NAME: { size: 10 }, mode: "RW" }),
    NO_HOST_PATH,
    { shape: true },
  ],
  [32, "size as text", M(V({}, { size: "10" })), NO_HOST_PATH, { shape: true }],
  [33, "size below 0", M(V({}, { size: -1 })), NO_HOST_PATH, { shape: true }],
  [34, "size 0", M(V({}, { size: 0 })), { [`${VOL}/volume/external/size`]: "got 0, expected more than 0" }],
  [35, "shared as text", M(V({}, { shared: "true" })), NO_HOST_PATH, { shape: true }],
  [36, "shared", M(V({}, { shared: true })), OK],
  [37, "a name with options", M(V({}, { name: "name=team,secret_key=k,secure=true,size=5,repl=1,shared=true" })), OK],
  [38, "an image under MESOS", M(V({}, { size: 5 }, { "dvdi/x": "1" }), {}, { docker: { image: "alpine" } }), OK],
  [39, "two instances", M(V(), { instances: 2 }), LIMITED],
  [40, "no instance", M(V(), { instances: 0 }), OK],
  [41, "two instances that share", M(V({}, { shared: true }), { instances: 2 }), LIMITED],
  [
    42,
    "one name twice",
    M(V(), {}, { volumes: [V(), V({ containerPath: "other" })] }),
    {
      "/container/volumes": "Volume names must be unique",
      "/": "Requested DVDI volume 'v1' is declared more than once within app /m",
    },
  ],
  [
    43,
    "one shared name twice",
    M(V(), {}, { volumes: [V({}, { shared: true }), V({ containerPath: "b" }, { shared: true })] }),
    { "/container/volumes": "Volume names must be unique" },
  ],
  [44, "no upgrade strategy", without(M(), "upgradeStrategy"), OK],
  [
    45,
    "strategy 1/1",
    M(V(), { upgradeStrategy: { minimumHealthCapacity: 1, maximumOverCapacity: 1 } }),
    { "/upgradeStrategy/maximumOverCapacity": "got 1.0, expected 0.0" },
  ],
  [46, "strategy 0.9/0", M(V(), { upgradeStrategy: { minimumHealthCapacity: 0.9, maximumOverCapacity: 0 } }), OK],
  [
    47,
    "half a strategy",
    M(V(), { upgradeStrategy: { minimumHealthCapacity: 0 } }),
    { "/upgradeStrategy/maximumOverCapacity": "'maximumOverCapacity' is undefined on object:" },
    { shape: true },
  ],
  [
    48,
    "an over-capacity of 2",
    M(V(), { upgradeStrategy: { minimumHealthCapacity: 0, maximumOverCapacity: 2 } }),
    { "/upgradeStrategy/maximumOverCapacity": "error.max" },
    { shape: true },
  ],
  [49, "no container type", M(V(), { container: { volumes: [V()] } }), { "/container/docker": "not defined" }],
  [50, "DOCKER", D(V({ containerPath: "/var" }, {}, { "dvdi/driver": "bar" })), OK],
  [51, "DOCKER with a relative path", D(V({ containerPath: "relative/path" })), OK],
  [
    52,
    "DOCKER without a driver",
    D(V({}, { options: {} })),
    { [`${VOL}/external/options("dvdi/driver")`]: "not defined" },
  ],
  [
    53,
    "DOCKER with a size",
    D(V({}, { size: 42 })),
    { [`${VOL}/external/size`]: "must be undefined for Docker containers" },
  ],
  [
    54,
    "DOCKER with an option",
    D(V({}, {}, { "dvdi/iops": "100" })),
    { [`${VOL}/external/options`]: "must only contain dvdi/driver" },
  ],
  [55, "DOCKER, read-only", D(V({ mode: "RO" })), OK],
  [56, "DOCKER beside a host volume", D(V(), { containerPath: "/ert", hostPath: "/ert", mode: "RW" }), OK],
  [57, "DOCKER beside a host volume of that name", D(V(), { containerPath: "/e", hostPath: "v1", mode: "RW" }), OK],
  [
    58,
    "with the feature off",
    M(),
    { [VOL]: "Feature external_volumes is not enabled. Enable with --enable_features external_volumes)" },
    { off: true },
  ],
  [103, "a command of one letter", { id: "/m", cmd: "x" }, { "/": "must not be an empty string" }],
  [
    104,
    "nothing to run",
    { id: "/m" },
    { "/": "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'." },
  ],
  [
    105,
    "UNIQUE with a value",
    { id: "/m", cmd: "sleep 1", constraints: [["hostname", "UNIQUE", "x"]] },
    { "/constraints(0)": "UNIQUE does not accept a value" },
  ],
];

for (const [number, name, body, expected, { off = false, shape = false } = {}] of rows) {
  t.test(`${number} ${name}`, async (t) => {
    const answer = errorsOf(body, !off);
    if (expected === OK) return t.same(answer, undefined);
    t.equal(answer?.message, shape ? "422 Invalid JSON" : "422 Object is not valid");
    for (const [path, text] of Object.entries(expected))
      t.ok(
        answer?.errors.some((error) => error.startsWith(`${path}: ${text}`)),
        `${path}: ${text} among ${answer?.errors}`,
      );
  });
}

t.test("what is stored: 29, 36, 44 and the defaults of section 4", async (t) => {
  const stored = define(without(M(V({ mode: "rw" }, { shared: true })), "upgradeStrategy"));
  t.match(stored.container?.volumes[0], { mode: "RW", external: { shared: true } });
  t.same(stored.upgradeStrategy, { minimumHealthCapacity: 0.5, maximumOverCapacity: 0 });
  const plain = define({ id: "plain", cmd: "sleep 1" });
  t.match(plain, { id: "/plain", instances: 1, cpus: 1, mem: 128, networks: [{ mode: "host" }], role: "*" });
  t.same(plain.upgradeStrategy, { minimumHealthCapacity: 1, maximumOverCapacity: 1 });
  t.ok((plain.portDefinitions?.[0]?.port ?? 0) >= 10_000, "a service port");
  t.notOk("foo" in define({ id: "/m", cmd: "sleep 1", foo: 1 }), "106");
});

t.test("59 to 63 one name in two applications", async (t) => {
  const conflicts = (...bodies: Json[]) => {
    const found = new Violations();
    checkVolumeNames(
      bodies.map((body) => define(body)),
      found,
    );
    return found.details().flatMap(({ path, errors }) => errors.map((error) => `${path}: ${error}`));
  };
  const text = (name: string, other: string) =>
    `Volume name 'v1' in ${name} conflicts with volume(s) of same name in app(s): ${other}`;
  const second = M(V(), { id: "/m2" });
  const both = conflicts(M(), second);
  t.ok(
    both.some((error) => error.endsWith(text("/m", "/m2"))) && both.some((error) => error.endsWith(text("/m2", "/m"))),
  );
  t.equal(conflicts(M(V(), { instances: 0 }), second).length, 2, "60");
  const shared = V({}, { shared: true });
  t.same(conflicts(M(shared), M(shared, { id: "/m2" })), [], "61");
  t.match(conflicts(M(), M(shared, { id: "/m2" })), [/\/m2 conflicts/], "62");
  t.match(conflicts(M(V(), { id: "/a/m" }), M(V(), { id: "/b/m" })), [/^\/groups\(/, /^\/groups\(/], "63");
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
    [{ ...M(), constraints: [["hostname", "unique"]] }, "illegal constraint specification hostname,unique"],
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
