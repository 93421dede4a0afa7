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
  const plain = define({ id: "plain", cmd: "sleep 1" });
  t.match(plain, { id: "/plain", instances: 1, cpus: 1, mem: 128, networks: [{ mode: "host" }], role: "*" });
  t.same(plain.upgradeStrategy, { minimumHealthCapacity: 1, maximumOverCapacity: 1 });
  t.ok((plain.portDefinitions?.[0]?.port ?? 0) >= 10_000, "a service port");
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
