import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { IMAGE, startDocker } from "../helpers/docker.ts";
import { call } from "../helpers/plugin-client.ts";
import { requiresDocker, requiresFuse, requiresRoot } from "../helpers/requires.ts";
import { run } from "../helpers/run.ts";
import { pluginName, startSim } from "../helpers/sim.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { record } from "./recorder.ts";

// Rows of docker-volume-plugin.md 15 about which calls a real engine makes, and about how it finds the plugin.
const skip = requiresRoot() || requiresFuse() || requiresDocker();
const CONFIG =
  "simulator:\n  granularity: 64MB\n  deviceSize: 1TB\nlibstorage:\n  integration:\n    volume:\n      operations:\n        create: {default: {size: 64MB}}\n";
const NET = ["--network", "none", "--stop-signal", "KILL"];
const PLUGINS = "/run/docker/plugins";
const CHANGES = ["Activate", "Create", "Mount", "Unmount", "Remove"];

t.test("what the engine asks of the plugin", { skip, timeout: 280_000 }, async (t) => {
  const pluginDir = tempDir("plugins");
  t.teardown(() => fs.rmSync(pluginDir, { recursive: true, force: true }));
  const sim = await startSim(t, { config: CONFIG, pluginDir });
  const engine = await startDocker(t);
  const docker = (...args: string[]) => engine.docker(...args);
  const driver = pluginName();

  // Docker waits for a plugin that it cannot find: the recorder comes two seconds later.
  const early = docker("run", "--rm", ...NET, "--volume-driver", driver, "--volume", "once:/srv/data", IMAGE, "true");
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const recorder = await record(t, sim.socket, `${PLUGINS}/${driver}.sock`);

  await t.test("14, 28 a plugin that appears two seconds after its first use: each call comes once", async (t) => {
    await early;
    await docker("volume", "rm", "once");
    t.same(recorder.take(...CHANGES), ["Activate", "Create once", "Mount once", "Unmount once", "Remove once"]);
  });

  const create = (name: string, ...options: string[]) =>
    docker("volume", "create", "--driver", driver, ...options, name);

  await t.test("31 volume ls asks for the list once and for no path", async (t) => {
    await create("listed");
    recorder.take();
    t.match(await docker("volume", "ls"), /listed/);
    t.same(recorder.take("List", "Path"), ["List"]);
    await docker("volume", "rm", "listed");
  });

  await t.test("32 three creates: the capabilities are asked for once at most, and the scope is global", async (t) => {
    recorder.take();
    for (const name of ["c1", "c2", "c3"]) await create(name);
    t.ok(recorder.take("Capabilities").length <= 1);
    t.equal(await docker("volume", "inspect", "--format", "{{.Scope}}", "c1"), "global");
    await docker("volume", "rm", "c1", "c2", "c3");
  });

  await t.test("34 an anonymous volume with --volumes-from: two mounts, two unmounts, one remove", async (t) => {
    recorder.take();
    const from = ["--volume-driver", driver, "--volume", "/srv/data"];
    await docker("run", "--detach", "--name", "first", ...NET, ...from, IMAGE, "sleep", "1000");
    await docker("run", "--detach", "--name", "second", ...NET, "--volumes-from", "first", IMAGE, "sleep", "1000");
    await docker("rm", "--force", "--volumes", "second");
    await docker("rm", "--force", "--volumes", "first");
    const calls = recorder.take(...CHANGES).map((call) => call.split(" ")[0]);
    t.same(calls, ["Create", "Mount", "Mount", "Unmount", "Unmount", "Remove"]);
  });

  await t.test("26 a volume deleted behind the engine's back and made anew shows its new options", async (t) => {
    await create("swapped", "--opt", "size=64MB");
    await call(sim.socket, "Remove", { Name: "swapped" });
    await create("swapped", "--opt", "size=128MB");
    t.equal(await docker("volume", "inspect", "--format", "{{.Options.size}}", "swapped"), "128MB");
    await call(sim.socket, "Remove", { Name: "swapped" });
    await docker("volume", "create", "--driver", "local", "swapped");
    t.equal(await docker("volume", "inspect", "--format", "{{.Driver}}", "swapped"), "local");
    await docker("volume", "rm", "swapped");
  });

  await t.test("42 a mount that fails leaves nothing, and the engine sends no Unmount", async (t) => {
    await create("unmountable");
    // Somebody has put a file where the mount point has to be.
    const inTheWay = path.join(sim.stateDir, "volumes/unmountable");
    fs.mkdirSync(path.dirname(inTheWay), { recursive: true });
    fs.writeFileSync(inTheWay, "");
    recorder.take();
    const { code, stderr } = await engine.run(["run", "--rm", ...NET, "-v", "unmountable:/data", IMAGE, "true"]);
    t.not(code, 0);
    t.match(stderr, inTheWay);
    t.same(recorder.take("Mount", "Unmount"), ["Mount unmountable"]);
    t.notMatch(fs.readFileSync("/proc/self/mountinfo", "utf8"), `${sim.stateDir}/volumes/`);
    fs.rmSync(inTheWay);
    await docker("run", "--rm", ...NET, "-v", "unmountable:/data", IMAGE, "true");
    await docker("volume", "rm", "unmountable");
  });

  await t.test("45 the largest volume that fits is mounted within Docker's time", async (t) => {
    const big = await call(sim.socket, "Create", { Name: "big", Opts: { size: "1700" } }).then(() => "big");
    t.match(await docker("run", "--rm", ...NET, "-v", `${big}:/data`, IMAGE, "df", "-h", "/data"), /1\.6T/);
    await docker("volume", "rm", big);
  });

  await t.test("70 compose: an external volume must exist, and outlives down -v", async (t) => {
    const file = path.join(engine.dir, "external.yml");
    fs.writeFileSync(
      file,
      `version: "2.4"\nservices:\n  app: {image: "${IMAGE}", network_mode: none, command: touch /data/f, volumes: ["shelf:/data"]}\nvolumes:\n  shelf: {external: true}\n`,
    );
    const compose = (...args: string[]) => run("docker-compose", ["--file", file, ...args], { env: engine.env });
    const missing = await compose("up");
    t.not(missing.code, 0);
    t.match(missing.stderr, /shelf/);
    await call(sim.socket, "Create", { Name: "shelf" });
    t.equal((await compose("up")).code, 0, "present in the plugin only");
    t.equal((await compose("down", "--volumes")).code, 0);
    t.match(await docker("volume", "ls", "--quiet"), /shelf/);
    t.equal(await docker("run", "--rm", ...NET, "-v", "shelf:/data", IMAGE, "ls", "/data"), "f");
    await docker("volume", "rm", "shelf");
  });

  await t.test(
    "15 a .spec file and a directory of the plugin's name lead to the plugin; a socket is preferred",
    async (t) => {
      const specs = "/etc/docker/plugins";
      const existed = fs.existsSync(specs);
      const name = pluginName();
      const [spec, sub] = [path.join(specs, `${name}.spec`), pluginName()];
      t.teardown(() => {
        fs.rmSync(spec, { force: true });
        fs.rmSync(path.join(PLUGINS, sub), { recursive: true, force: true });
        if (!existed) fs.rmSync(specs, { recursive: true });
      });
      fs.mkdirSync(specs, { recursive: true });
      fs.writeFileSync(spec, `unix://${sim.socket}\n`);
      await docker("volume", "create", "--driver", name, "by-spec");
      await docker("volume", "rm", "by-spec");
      const inside = await record(t, sim.socket, path.join(PLUGINS, sub, `${sub}.sock`));
      await docker("volume", "create", "--driver", sub, "by-directory");
      await docker("volume", "rm", "by-directory");
      t.same(inside.take("Create"), ["Create by-directory"]);
    },
  );

  await t.test("13 a plugin that is down does not delay local volumes", async (t) => {
    await sim.stop();
    t.notOk(fs.existsSync(sim.socket), "the socket goes with the daemon");
    await docker("volume", "create", "--driver", "local", "local");
    await docker("volume", "rm", "local");
  });
});
