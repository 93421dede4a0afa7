import { execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import t, { type Test } from "tap";
import { type DockerEngine, IMAGE, startDocker } from "../helpers/docker.ts";
import { requiresDocker, requiresTools } from "../helpers/requires.ts";
import { run } from "../helpers/run.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait.ts";

// The managed plugin on the real engine, from a registry of this machine: installed as REX-Ray's are, used, taken away under a
// running container, upgraded (docker-volume-plugin.md 13, spec/rexray.md 11).
const skip = requiresDocker() || requiresTools("docker-registry");
const ROOT = path.resolve(import.meta.dirname, "../..");

/** A registry on the loopback address that lasts as long as the test; answers host:port. */
async function startRegistry(t: Test, dir: string): Promise<string> {
  const port = await new Promise<number>((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port: free } = server.address() as net.AddressInfo;
      server.close(() => resolve(free));
    });
  });
  const config = path.join(dir, "registry.yml");
  const storage = `storage: {filesystem: {rootdirectory: ${dir}/registry}}`;
  fs.writeFileSync(config, `version: 0.1\nlog: {level: error}\n${storage}\nhttp: {addr: "127.0.0.1:${port}"}\n`);
  const log = fs.openSync(path.join(dir, "registry.log"), "a");
  const registry = spawn("docker-registry", ["serve", config], { stdio: ["ignore", log, log] });
  fs.closeSync(log);
  t.teardown(() => registry.kill("SIGKILL"));
  await waitFor(async () => (await fetch(`http://127.0.0.1:${port}/v2/`)).ok, { what: "the registry" });
  return `127.0.0.1:${port}`;
}

const inContainer = (engine: DockerEngine, volume: string, command: string) =>
  engine.docker("run", "--rm", "--network", "none", "--volume", `${volume}:/data`, IMAGE, "sh", "-c", command);

t.test(
  "installed, used, disabled under a container, upgraded: the data stay",
  { skip, timeout: 300_000 },
  async (t) => {
    const dir = tempDir("managed");
    t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
    const state = path.join(dir, "var");
    fs.mkdirSync(path.join(state, "rexray-sim"), { recursive: true });
    fs.writeFileSync(path.join(state, "rexray-sim/config.yml"), "simulator:\n  granularity: 64MB\n");
    const engine = await startDocker(t);
    const registry = await startRegistry(t, dir);
    const env = { ...process.env, ...engine.env, ROOTFS: "packages" };
    const [first, second] = [`${registry}/rexray/scaleio:1`, `${registry}/rexray/scaleio:2`];

    t.test("it is built, and is small", async (t) => {
      for (const name of [first, second]) {
        const built = await run(path.join(ROOT, "scripts/plugin-build"), [name], { env });
        t.equal(built.code, 0, built.stderr);
        const [, size] = /rootfs of (\d+) MB/.exec(built.stderr) ?? [];
        t.ok(Number(size) <= 200, `${size} MB`);
        await engine.docker("plugin", "push", name);
        await engine.docker("plugin", "rm", name);
      }
    });

    const plugin = "rexray/scaleio:latest";
    t.test("the install line of REX-Ray works, settings and all", async (t) => {
      const settings = [
        `data.source=${state}`,
        "REXRAY_FSTYPE=xfs",
        "SCALEIO_ENDPOINT=https://gateway/api",
        "SCALEIO_USERNAME=admin",
        "SCALEIO_PASSWORD=password",
        "SCALEIO_SYSTEMNAME=cluster1",
        "SCALEIO_PROTECTIONDOMAINNAME=pd1",
        "SCALEIO_STORAGEPOOLNAME=pool1",
      ];
      await engine.docker(
        "plugin",
        "install",
        "--grant-all-permissions",
        "--alias",
        "rexray/scaleio",
        first,
        ...settings,
      );
      t.match(await engine.docker("plugin", "ls", "--format", "{{.Name}} {{.Enabled}}"), `${plugin} true`);
      await engine.docker("volume", "create", "--driver", "rexray/scaleio", "--opt", "size=1", "pg");
      t.equal(await inContainer(engine, "pg", "echo kept > /data/f; sync; grep -c ' /data xfs' /proc/mounts"), "1");
      const { stderr } = await engine.run(["plugin", "set", plugin, "REXRAY_PREEMPT=true"]);
      t.match(stderr, /disable plugin before setting/);
    });

    t.test("its commands are reached from the machine", async (t) => {
      const bin = (name: string) => path.join(state, "rexray-sim/bin", name);
      t.match(execFileSync(bin("rexray-sim"), ["volume", "ls"], { encoding: "utf8" }), /pg +ok/);
      const words = ["--volumedriver=rexray-sim", "--volumename=pg"];
      const point = execFileSync(bin("dvdcli"), ["mount", ...words], { encoding: "utf8" }).trim();
      t.equal(fs.readFileSync(path.join(point, "f"), "utf8"), "kept\n", point);
      execFileSync(bin("dvdcli"), ["unmount", ...words]);
      t.notOk(fs.existsSync(path.join(point, "f")));
    });

    t.test("disabled with a mounted volume and enabled again", async (t) => {
      const words = ["--detach", "--network", "none", "--volume", "pg:/data", "--name", "user", IMAGE];
      await engine.docker("run", ...words, "sh", "-c", "echo more >> /data/f; exec tail -f /dev/null");
      await waitFor(async () => /more/.test(await engine.docker("exec", "user", "cat", "/data/f")), {
        what: "a write",
      });
      t.match((await engine.run(["plugin", "disable", plugin])).stderr, /in use/);
      await engine.docker("plugin", "disable", "--force", plugin);
      await engine.docker("plugin", "enable", plugin);
      // The container's own mount is dead; a new start gets a new one.
      await engine.docker("restart", "--time", "0", "user");
      t.match(await engine.docker("exec", "user", "cat", "/data/f"), /^kept\nmore\n/);
      await engine.docker("rm", "--force", "user");
      t.equal(await inContainer(engine, "pg", "head -2 /data/f"), "kept\nmore");
    });

    t.test("upgraded, and removed: the data stay", async (t) => {
      await engine.docker("plugin", "disable", "--force", plugin);
      await engine.docker("plugin", "upgrade", "--grant-all-permissions", "--skip-remote-check", plugin, second);
      // Docker forgets the settings: the plugin does not begin anew somewhere else.
      await engine.docker("plugin", "enable", plugin);
      const { stderr } = await engine.run(["volume", "create", "--driver", "rexray/scaleio", "pg2"]);
      t.match(stderr, `the data of this plugin are in ${state}, and data.source is /var/lib now`);
      await engine.docker("plugin", "disable", "--force", plugin);
      await engine.docker("plugin", "set", plugin, `data.source=${state}`, "REXRAY_FSTYPE=ext4");
      await engine.docker("plugin", "enable", plugin);
      t.equal(await inContainer(engine, "pg", "head -2 /data/f"), "kept\nmore");
      t.equal(await inContainer(engine, "new", "true"), "");
      await engine.docker("volume", "create", "--driver", "rexray/scaleio", "later");
      t.equal(await inContainer(engine, "later", "grep -c ' /data ext4' /proc/mounts"), "1", "as it was set meanwhile");
      await engine.docker("volume", "rm", "later", "new");
      await engine.docker("plugin", "disable", "--force", plugin);
      await engine.docker("plugin", "rm", "--force", plugin);
      t.ok(fs.existsSync(path.join(state, "rexray-sim/mdm")), "what the plugin had written is there");
      const words = ["install", "--grant-all-permissions", "--alias", "rexray/scaleio", first, `data.source=${state}`];
      await engine.docker("plugin", ...words);
      t.equal(await inContainer(engine, "pg", "head -2 /data/f"), "kept\nmore", "and a new one finds it");
      await engine.docker("volume", "rm", "pg");
      await engine.docker("plugin", "disable", "--force", plugin);
      await engine.docker("plugin", "rm", "--force", plugin);
    });
  },
);
