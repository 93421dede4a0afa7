import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { renameSettings } from "../../src/cli/managed.ts";
import { loadConfig } from "../../src/config/config.ts";
import { requiresRoot, requiresTools } from "../helpers/requires.ts";
import { output, run } from "../helpers/run.ts";
import { tempDir } from "../helpers/temp-dir.ts";

const CLONE = path.resolve(import.meta.dirname, "../..");

t.test("the settings of REX-Ray's plugin for ScaleIO are there, with its defaults", async (t) => {
  const { env } = JSON.parse(fs.readFileSync(path.join(CLONE, "config.json"), "utf8")) as {
    env: { name: string; value: string; settable?: string[] }[];
  };
  // spec/rexray.md 11
  const upstream = {
    DOCKER_LEGACY: "true",
    REXRAY_FSTYPE: "xfs",
    REXRAY_LOGLEVEL: "warn",
    REXRAY_PREEMPT: "false",
    HTTP_PROXY: "",
    LIBSTORAGE_INTEGRATION_VOLUME_OPERATIONS_MOUNT_ROOTPATH: "",
    LINUX_VOLUME_ROOTPATH: "",
    LINUX_VOLUME_FILEMODE: "",
    CSI_ENDPOINT: "",
    X_CSI_DRIVER: "",
    X_CSI_NATIVE: "",
    SCALEIO_ENDPOINT: "",
    SCALEIO_GUID: "",
    SCALEIO_INSECURE: "true",
    SCALEIO_USECERTS: "false",
    SCALEIO_USERNAME: "",
    SCALEIO_PASSWORD: "",
    SCALEIO_SYSTEMID: "",
    SCALEIO_SYSTEMNAME: "",
    SCALEIO_PROTECTIONDOMAINID: "",
    SCALEIO_PROTECTIONDOMAINNAME: "",
    SCALEIO_STORAGEPOOLID: "",
    SCALEIO_STORAGEPOOLNAME: "",
    SCALEIO_THINORTHICK: "",
    SCALEIO_VERSION: "",
  };
  const settable = env.filter((entry) => entry.settable?.includes("value"));
  t.same(Object.fromEntries(settable.map(({ name, value }) => [name, value])), upstream);
  // A dot would be taken for the beginning of a field's name by `docker plugin set`.
  t.notMatch(env.map(({ name }) => name).join(), /\./);
});

t.test("what `docker plugin set` sets comes to be in the configuration; what is left empty does not", async (t) => {
  const manifest = JSON.parse(fs.readFileSync(path.join(CLONE, "config.json"), "utf8")) as {
    env: { name: string; value: string }[];
  };
  /** As the plugin's process finds its environment after settings were changed. */
  const configured = (changed: Readonly<Record<string, string>>) => {
    const env = { ...Object.fromEntries(manifest.env.map(({ name, value }) => [name, value])), ...changed };
    renameSettings(env);
    return loadConfig({ file: "/nowhere", required: false, env, stateDir: "/state" }).config;
  };
  const { logLevel, volumes } = configured({});
  t.match(
    { logLevel, ...volumes },
    {
      ...{ logLevel: "warn", rootPath: "/data", fileMode: 0o700, preempt: false, mountPath: "/var/lib/rexray/volumes" },
      defaults: { fsType: "xfs", thick: false },
    },
  );
  const ROOT_PATH = "LIBSTORAGE_INTEGRATION_VOLUME_OPERATIONS_MOUNT_ROOTPATH";
  t.equal(configured({ REXRAY_LOGLEVEL: "debug" }).logLevel, "debug");
  t.equal(configured({ REXRAY_FSTYPE: "ext4" }).volumes.defaults.fsType, "ext4");
  t.equal(configured({ REXRAY_PREEMPT: "true" }).volumes.preempt, true);
  t.equal(configured({ LINUX_VOLUME_ROOTPATH: "/a" }).volumes.rootPath, "/a");
  t.equal(configured({ [ROOT_PATH]: "/b" }).volumes.rootPath, "/b");
  t.equal(configured({ LINUX_VOLUME_ROOTPATH: "/a", [ROOT_PATH]: "/b" }).volumes.rootPath, "/b", "the full name wins");
  t.equal(configured({ LINUX_VOLUME_FILEMODE: "0751" }).volumes.fileMode, 0o751);
  t.equal(configured({ SCALEIO_THINORTHICK: "ThickProvisioned" }).volumes.defaults.thick, true);
  t.throws(() => configured({ SCALEIO_THINORTHICK: "fat" }), { message: /scaleio.thinOrThick: "fat" is neither/ });
  t.throws(() => configured({ REXRAY_FSTYPE: "btrfs" }), { message: /"btrfs" is not supported: use ext4 or xfs/ });
});

/** Stands for the plugin's daemon: writes the commands, says so, and goes on as the process that they enter. */
const PLUGIN = `
  import fs from "node:fs";
  import { writeWrappers } from "${CLONE}/src/cli/wrappers.ts";
  const [, , dir] = process.argv;
  process.argv[1] = dir + "/app/rexray-sim.js";
  const dirs = { stateDir: dir, runDir: dir + "/it's run", pluginDir: dir + "/plugins" };
  writeWrappers(dirs, { "/var/lib/rexray": "/var/lib/docker/$HOME/mounts" });
  process.title = "a) S 1 (b";
  fs.writeFileSync(dir + "/ready", "");
  setInterval(() => {}, 1000);
`;

t.test(
  "the machine's commands enter the plugin, and nobody who has its number after it",
  { skip: requiresRoot() || requiresTools("unshare", "nsenter") },
  async (t) => {
    const dir = tempDir("wrappers");
    t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
    fs.mkdirSync(path.join(dir, "app"));
    // In the place of our program: says with what it was called.
    const said = "process.env.REXRAY_SIM_RUN_DIR, process.env.REXRAY_SIM_MACHINE_PATHS, ...process.argv.slice(2)";
    fs.writeFileSync(path.join(dir, "app/rexray-sim.js"), `console.log(JSON.stringify([${said}]))`);
    fs.writeFileSync(path.join(dir, "plugin.mts"), PLUGIN);
    const other = path.join(dir, "a) S 1 (b");
    fs.copyFileSync("/bin/sleep", other);
    fs.chmodSync(other, 0o755);
    // Numbers of processes can be chosen in a namespace of one's own.
    const script = `
      cd ${CLONE}
      "$1" --import=tsx "$2/plugin.mts" "$2" & plugin=$!
      until [ -e "$2/ready" ]; do sleep 0.02; done
      "$2/bin/rexray-sim" volume "in  spect" '$HOME'
      kill -9 $plugin; wait $plugin
      "$2/bin/rexray-sim" status; echo "after the kill: $?"
      echo $((plugin - 1)) >/proc/sys/kernel/ns_last_pid
      "$2/a) S 1 (b" 1000 & next=$!
      [ $next = $plugin ] && echo "the number is used again"
      "$2/bin/rexray-sim" status; echo "with another process: $?"
      kill $next`;
    const words = ["--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", script, "wrappers"];
    const { stdout, stderr } = await run("unshare", [...words, process.execPath, dir]);
    const [said1, ...rest] = stdout.trim().split("\n");
    t.same(
      JSON.parse(said1 ?? ""),
      [`${dir}/it's run`, '{"/var/lib/rexray":"/var/lib/docker/$HOME/mounts"}', "volume", "in  spect", "$HOME"],
      stderr,
    );
    t.same(rest, ["after the kill: 3", "the number is used again", "with another process: 3"], stderr);
    t.equal(stderr.match(/the plugin does not run/g)?.length, 2, stderr);
    t.match(await output("stat", ["--format", "%a", path.join(dir, "bin/rexray-sim")]), /755/);
  },
);
