import t from "tap";
import { D, type Json, M, option, V, without } from "./conformance-apps.ts";
import { fakeWorld } from "./fake-agents.ts";

// spec/marathon.md 10.1 by its numbers, over HTTP: what is posted to an empty system, and what is answered.
const VOL = "/container/volumes(0)";
const LABEL = "must match regular expression '^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$'";
const KEY =
  "must match regular expression '^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?/[A-Za-z0-9](?:[-A-Za-z0-9\\._:]*[A-Za-z0-9])?$'";

/** Texts by path: each begins one of those that the answer has there. */
type Errors = Readonly<Record<string, string | readonly string[]>>;
/** `shape`: stage 2 fails. `only`: there are no other errors. `stored`: what is kept. `task`: what an agent gets. `idle`: nothing is started. `off`: the feature is. */
type Extras = { off?: true; shape?: true; only?: true; stored?: object; task?: object; idle?: true };

const OK = "accepted";
const NO_HOST_PATH = { [`${VOL}/hostPath`]: "'hostPath' is undefined on object:" };
const LIMITED = { "/": "Number of instances is limited to 1 when declaring DVDI volumes in app [" };
const rows: readonly [number, string, Json | readonly Json[], Errors | typeof OK, Extras?][] = [
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
  [
    9,
    "an empty provider",
    M(V({}, { provider: "" })),
    { [`${VOL}/external/provider`]: [LABEL, "is unknown provider"] },
  ],
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
    { [`${VOL}/external/options/keys`]: KEY, [`${VOL}/external/options("dvdi/driver")`]: "not defined" },
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
    [option("dvdi/newfstype", " xfs"), option("dvdi/newfstype", "")],
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
  [
    26,
    "the same for another driver",
    ["overwritefs false", "iops 1", "newfstype xfs"].map((words) => {
      const [key, value] = words.split(" ");
      return option(`dvdi/${key}`, value, "bar");
    }),
    OK,
  ],
  [27, "IOPS in letters for another driver", option("dvdi/iops", "b", "bar"), OK],
  [28, "read-only", M(V({ mode: "RO" })), { [`${VOL}/mode`]: "does not equal RW" }],
  [29, "mode in small letters", M(V({ mode: "rw" })), OK, { stored: { container: { volumes: [{ mode: "RW" }] } } }],
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
  [
    36,
    "shared",
    M(V({}, { shared: true })),
    OK,
    { stored: { container: { volumes: [{ external: { shared: true } }] } } },
  ],
  [37, "a name with options", M(V({}, { name: "name=team,secret_key=k,secure=true,size=5,repl=1,shared=true" })), OK],
  [38, "an image under MESOS", M(V({}, { size: 5 }, { "dvdi/x": "1" }), {}, { docker: { image: "alpine" } }), OK],
  [39, "two instances", M(V(), { instances: 2 }), LIMITED],
  [40, "no instance", M(V(), { instances: 0 }), OK, { idle: true }],
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
    { only: true },
  ],
  [
    44,
    "no upgrade strategy",
    without(M(), "upgradeStrategy"),
    OK,
    { stored: { upgradeStrategy: { minimumHealthCapacity: 0.5, maximumOverCapacity: 0 } } },
  ],
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
  [55, "DOCKER, read-only", D(V({ mode: "RO" })), OK, { task: { volumes: [{ mode: "RO" }] } }],
  [56, "DOCKER beside a host volume", D(V(), { containerPath: "/ert", hostPath: "/ert", mode: "RW" }), OK],
  [57, "DOCKER beside a host volume of that name", D(V(), { containerPath: "/e", hostPath: "v1", mode: "RW" }), OK],
  [
    58,
    "with the feature off",
    M(),
    { [VOL]: "Feature external_volumes is not enabled. Enable with --enable_features external_volumes)" },
    { off: true },
  ],
];

t.test("rows 1 to 58", async (t) => {
  const [on, off] = [await fakeWorld(t), await fakeWorld(t, undefined, { externalVolumes: false })];
  for (const [number, name, bodies, expected, extras = {}] of rows)
    await t.test(`${number} ${name}`, async (t) => {
      for (const body of Array.isArray(bodies) ? bodies : [bodies]) {
        const world = extras.off ? off : on;
        const answer = await world.call("POST", "/v2/apps", body);
        if (expected === OK) {
          t.equal(answer.status, 201);
          t.equal(answer.headers.get("marathon-deployment-id"), answer.body.deployments[0].id);
          t.match(await world.app("/m"), extras.stored ?? {});
          if (extras.task !== undefined) {
            await world.settled();
            t.match(world.agents.living("m")[0]?.info, extras.task);
          }
          if (extras.idle) t.equal(world.agents.tasks.size, 0);
          await world.clear();
          continue;
        }
        t.match(answer, { status: 422, body: { message: extras.shape ? "Invalid JSON" : "Object is not valid" } });
        const details: { path: string; errors: string[] }[] = answer.body.details;
        for (const [path, texts] of Object.entries(expected))
          for (const text of [texts].flat()) {
            const errors = details.find((one) => one.path === path)?.errors ?? [];
            t.ok(
              errors.some((error) => error.startsWith(text)),
              `${path}: ${text} among ${JSON.stringify(details)}`,
            );
          }
        if (extras.only)
          t.same(
            details.map(({ path }) => path),
            Object.keys(expected),
          );
      }
    });
});
