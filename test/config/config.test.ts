import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { loadConfig } from "../../src/config/config.ts";
import { tempDir } from "../helpers/temp-dir.ts";

const dir = tempDir("config");
t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
const file = path.join(dir, "config.yml");

function load(text: string, env: NodeJS.ProcessEnv = {}) {
  fs.writeFileSync(file, text);
  return loadConfig({ file, required: true, env, stateDir: "/state" });
}
const problems = (text: string): string => {
  try {
    load(text);
    return "";
  } catch (error) {
    return (error as Error).message;
  }
};

t.test("defaults", async (t) => {
  const { config, warnings } = loadConfig({
    file: path.join(dir, "none.yml"),
    required: false,
    env: {},
    stateDir: "/state",
  });
  t.same(warnings, []);
  t.match(config.volumes, {
    defaults: { sizeBytes: 16 * 1024 ** 3, fsType: "ext4" },
    mountPath: "/state/volumes",
    rootPath: "/data",
    fileMode: 0o700,
    createImplicit: true,
  });
  t.same(
    config.simulator.sds.map(({ name }) => name),
    ["sds-1", "sds-2", "sds-3", "sds-4"],
  );
  t.equal(config.simulator.sds[0]?.devices[0]?.path, "/state/sds/sds-1/dev-1");
  t.match(config.simulator, {
    rebuildPolicy: { policy: "limitNumOfConcurrentIos", concurrentIos: 1 },
    rebalancePolicy: { policy: "favorAppIos", concurrentIos: 1, bandwidthKbps: 10_240 },
  });
  t.throws(
    () => loadConfig({ file: path.join(dir, "none.yml"), required: true, env: {}, stateDir: "/state" }),
    /none\.yml cannot be read \(ENOENT\)/,
  );
});

t.test("REX-Ray's keys, in any case, below rexray: too; the environment wins, unless it is empty", async (t) => {
  const text =
    "rexray:\n  logLevel: debug\n  libstorage:\n    integration:\n      volume:\n        operations:\n          Create:\n            DEFAULT:\n              Size: 40\nlinux:\n  volume:\n    fileMode: 0755\n";
  t.match(load(text).config, {
    logLevel: "debug",
    volumes: { defaults: { sizeBytes: 40 * 1024 ** 3 }, fileMode: 0o755 },
  });
  const variable = "LIBSTORAGE_INTEGRATION_VOLUME_OPERATIONS_CREATE_DEFAULT_SIZE";
  t.equal(load(text, { [variable]: "8" }).config.volumes.defaults.sizeBytes, 8 * 1024 ** 3);
  t.equal(load(text, { [variable]: "" }).config.volumes.defaults.sizeBytes, 40 * 1024 ** 3);
  t.equal(
    load("simulator:\n  pool: $NOT\nlinux: {volume: {fileMode: $MODE}}\n".replace("  pool: $NOT\n", "  pool: p\n"), {
      MODE: "0711",
    }).config.volumes.fileMode,
    0o711,
  );
});

t.test("log levels are REX-Ray's, in any case", async (t) => {
  for (const [level, ours] of Object.entries({ Panic: "fatal", WARNING: "warn", debug: "debug" }))
    t.equal(load("", { REXRAY_LOGLEVEL: level }).config.logLevel, ours);
});

t.test("keys that do nothing are warned of, with the key that lives", async (t) => {
  const { config, warnings } = load(
    "docker:\n  size: 99\nlibstorage:\n  service: scaleio\nscaleio:\n  endpoint: https://gw/api\n  thinOrThick: ThickProvisioned\n",
  );
  t.match(warnings.join("\n"), /config\.yml:2: "docker\.size" has no effect.*create\.default\.size/);
  t.match(warnings.join("\n"), /config\.yml:4: "libstorage\.service" has no effect/);
  t.match(warnings.join("\n"), /config\.yml:6: "scaleio\.endpoint" has no effect/);
  t.equal(warnings.length, 3);
  t.equal(config.volumes.defaults.thick, true, "a section of such keys may have one that does something");
});

t.test("everything that is wrong is named at once, with its line and what was meant", async (t) => {
  const words = problems(
    "simulator:\n  pol: x\n  sds: 2\n  granularity: 5x\nlinux:\n  volume:\n    filemod: 0700\n    filemode: rwx\n",
  );
  t.match(words, /config\.yml:2: unknown key "simulator\.pol"; did you mean "pool"\?/);
  t.match(words, /config\.yml:3: simulator\.sds/);
  t.match(words, /config\.yml:4: simulator\.granularity .*not a size/);
  t.match(words, /config\.yml:7: unknown key "linux\.volume\.filemod"; did you mean "linux\.volume\.filemode"\?/);
  t.match(words, /config\.yml:8: linux\.volume\.filemode: "rwx" must be a mode in octal/);
  t.match(
    problems("rexray: {logLevel: loud}\n"),
    /rexray\.loglevel: "loud" must be panic, fatal, error, warn, info, debug or trace/,
  );
  t.match(problems("a: [\n"), /config\.yml:\d+: /);
  t.match(problems("- a\n"), /must be a map/);
});

t.test("a port on a network needs credentials, which no message shows", async (t) => {
  const open = "simulator:\n  listen: 0.0.0.0\n";
  t.match(problems(open), /simulator\.listen: "0\.0\.0\.0" is no loopback address, .*set simulator\.credentials/);
  t.equal(problems(`${open}  agents: 0\n`), "", "no agents, no port");
  const basic = (text: string) => `Basic ${Buffer.from(text).toString("base64")}`;
  const { config, warnings } = load(`${open}  credentials: {username: me, password: "a:b"}\n`);
  t.equal(config.simulator.credentials?.admit(basic("me:a:b")), true);
  t.equal(config.simulator.credentials?.admit(basic("me:a")), false);
  t.match(warnings.join(), /config\.yml has simulator\.credentials and can be read by other users: `chmod 600/);
  const byVariable = load(open, { REXRAY_SIM_CREDENTIALS: "me:a:b" });
  t.equal(byVariable.config.simulator.credentials?.admit(basic("me:a:b")), true);
  t.same(byVariable.warnings, []);
  for (const wrong of [
    "{username: me, password:hunter2}",
    "me:hunter2",
    "*hunter2",
    "{username: 'a:b', password: hunter2}",
  ]) {
    const words = problems(`simulator:\n  credentials: ${wrong}\n`);
    t.match(words, /config\.yml:2: /, wrong);
    t.notMatch(words, "hunter2");
  }
});

t.test("nodes: names, fault sets, devices", async (t) => {
  const sds = (lines: string) => `simulator:\n  sds:\n${lines}`;
  t.match(
    problems(sds("    - {name: a, faultSet: f}\n    - {name: b, faultSet: f}\n    - {name: c, faultSet: g}\n")),
    /2 fault sets, a pool needs 3/,
  );
  t.match(
    problems(sds("    - {name: a}\n    - {name: a}\n    - {name: c}\n    - {name: d}\n")),
    /"a" is the name of two SDSs/,
  );
  const { config } = load(
    sds("    - {name: a, devices: [{name: d, path: /mnt/d, size: 100GB}]}\n    - {name: b}\n    - {name: c}\n"),
  );
  t.match(config.simulator.sds[0], { faultSet: "a", devices: [{ path: "/mnt/d", sizeBytes: 100 * 1024 ** 3 }] });
});
