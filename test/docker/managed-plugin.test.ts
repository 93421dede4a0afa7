import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import t, { type Test } from "tap";
import { VERSION } from "../../src/lib/version.ts";
import { type DockerEngine, IMAGE, startDocker } from "../helpers/docker.ts";
import { commandsOf } from "../helpers/readme.ts";
import { startRegistry } from "../helpers/registry.ts";
import { requiresDocker, requiresTools } from "../helpers/requires.ts";
import { output, run } from "../helpers/run.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait.ts";

// The managed plugin on the real engine: built in both ways and used by the lines of the README, taken away under a running container,
// without its data, upgraded from a registry of this machine, installed as REX-Ray's are (docker-volume-plugin.md 13 and the rows of 15,
// spec/rexray.md 11).
const skip = requiresDocker() || requiresTools("docker-registry");
const ROOT = path.resolve(import.meta.dirname, "../..");

/**
 * Gives the registry a base image for plugin/Dockerfile: Debian with Node and nothing else (with PLUGIN_BASE=debian: takes minutes),
 * or just what the Dockerfile calls, from this machine. The engine has its layers, and not the image.
 */
async function publishBase(engine: DockerEngine, name: string, dir: string, rootfs: string): Promise<void> {
  const base = path.join(dir, "base");
  const tarball = `${base}.tar`;
  if (process.env["PLUGIN_BASE"] === "debian") {
    const node = path.join(dir, "node");
    fs.copyFileSync(process.execPath, node);
    const words = ["--variant=apt", "--include=libstdc++6", `--customize-hook=copy-in ${node} /usr/local/bin`];
    await output("mmdebstrap", ["--quiet", ...words, "bookworm", tarball], { timeout: 600_000 });
  } else {
    await output(path.join(ROOT, "plugin/make-rootfs"), [base, "bash", "ldd", "grep", "cp", "ln", "readlink"]);
    await output("cp", ["--archive", `${rootfs}/.`, base]);
    await output("tar", ["--directory", base, "--create", "--file", tarball, "."]);
  }
  await engine.docker("import", tarball, "layers:kept");
  await engine.docker("tag", "layers:kept", name);
  await engine.docker("push", name);
  await engine.docker("rmi", name);
  fs.rmSync(base, { recursive: true, force: true });
  fs.rmSync(tarball);
}

/** Every file below a directory, with what is in it or where it leads. */
function contents(root: string): Record<string, string> {
  const files = fs.readdirSync(root, { recursive: true, withFileTypes: true });
  const entries = files.map((entry) => {
    const file = path.join(entry.parentPath, entry.name);
    const hash = () => createHash("sha256").update(fs.readFileSync(file)).digest("hex");
    const what = entry.isSymbolicLink() ? fs.readlinkSync(file) : entry.isFile() ? hash() : "";
    return [path.relative(root, file), `${what} ${(fs.lstatSync(file).mode & 0o777).toString(8)}`];
  });
  return Object.fromEntries(entries);
}

const inContainer = (engine: DockerEngine, volume: string, command: string, at = "/data") =>
  engine.docker("run", "--rm", "--network", "none", "--volume", `${volume}:${at}`, IMAGE, "sh", "-c", command);
/** Docker gives an empty volume the mode of what the image has in its place; there the image has nothing. */
const BARE = "/bare";

const plugin = "rexray/scaleio:latest";

/** While the plugin serves nothing, and says why: what Docker has of the volume stays, and whoever wants to use it is told. */
async function keptThoughRefused(t: Test, engine: DockerEngine, volume: string, reason: string): Promise<void> {
  const words = ["--network", "none", "--volume", `${volume}:/x`, IMAGE, "true"];
  const { stdout, stderr } = await engine.run(["create", ...words]);
  t.match(await engine.docker("volume", "ls", "--filter", `driver=${plugin}`, "--format", "{{.Name}}"), volume);
  const shown = await engine.docker("volume", "inspect", "--format", "{{.Driver}} {{.Status.error}}", volume);
  t.ok(shown.startsWith(`${plugin} `), `${shown}: no local volume has taken its name`);
  t.match(shown, reason);
  const container = stdout.trim();
  t.match((await engine.run(["start", container])).stderr, reason, stderr);
  await engine.docker("rm", container);
  t.match((await engine.run(["volume", "rm", volume])).stderr, reason);
}

t.test("a life of the managed plugin: the data stay", { skip, timeout: 900_000 }, async (t) => {
  const dir = tempDir("managed");
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
  const source = path.join(dir, "var");
  const state = path.join(source, "rexray-sim");
  fs.mkdirSync(state, { recursive: true });
  fs.writeFileSync(path.join(state, "config.yml"), "simulator:\n  granularity: 64MB\n");
  const engine = await startDocker(t);
  const registry = await startRegistry(t, dir);
  const published = `${registry}/rexray/scaleio:2`;

  const labels = (volume: string) => engine.docker("volume", "inspect", "--format", "{{json .Labels}}", volume);
  /** A command of the plugin's, called on the machine. */
  const command = (name: string, ...args: readonly string[]) =>
    execFileSync(path.join(state, "bin", name), args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  const typed = async (line: string, env: NodeJS.ProcessEnv = {}) => {
    const options = { cwd: ROOT, env: { ...process.env, ...engine.env, ...env }, timeout: 600_000 };
    const { code, stdout, stderr } = await run("bash", ["-c", line], options);
    t.equal(code, 0, `${line}: ${stderr}`);
    return { stdout, stderr };
  };
  // The others of the section install on the machine itself.
  const lines = commandsOf("Install").filter((line) => /rexray\/scaleio|^\/var\/lib\/rexray-sim\//.test(line));
  const [build = "", set = "", enable = "", status = ""] = lines;

  t.test("it is built in both ways with the same result, and is small", async (t) => {
    t.same(
      lines.map((line) => line.split(" ").slice(0, 3).join(" ").trim()),
      [
        "npm run plugin:build",
        "docker plugin set",
        "docker plugin enable",
        "/var/lib/rexray-sim/bin/rexray-sim status",
      ],
    );
    const rootfs = path.join(ROOT, "dist/plugin/rootfs");
    const built = async (from: string, env: NodeJS.ProcessEnv) => {
      const { stderr } = await typed(build, env);
      t.match(stderr, `programs come from ${from}`);
      const [, size] = /rootfs of (\d+) MB/.exec(stderr) ?? [];
      t.ok(Number(size) <= 120, `${size} MB`);
      return contents(rootfs);
    };
    const base = `${registry}/node:20-bookworm-slim`;
    const fromPackages = await built("this machine's packages", { BASE: base, NO_CREATE: "1" });
    await publishBase(engine, base, dir, rootfs);
    const fromDockerfile = await built(base, { BASE: base });
    t.same(Object.keys(fromDockerfile).sort(), Object.keys(fromPackages).sort());
    // Another Debian may have other versions.
    if (process.env["PLUGIN_BASE"] !== "debian") t.same(fromDockerfile, fromPackages);
  });

  t.test("the lines of the README set it, enable it and find its commands", async (t) => {
    await engine.docker("plugin", "set", plugin, `data.source=${source}`);
    await typed(set);
    await typed(enable);
    // Docker waits for the plugin's socket, which is there before the rest.
    await waitFor(() => fs.existsSync(path.join(state, "bin/rexray-sim")), { what: "the commands to be there" });
    t.match((await typed(status.replace("/var/lib/rexray-sim", state))).stdout, /health +ok/);
  });

  t.test("rows 57 and 58: enabled and disabled once, set in between", async (t) => {
    const said = async (...args: readonly string[]) => (await engine.run(["plugin", ...args])).stderr;
    t.match(await said("enable", plugin), "already enabled");
    t.match(await said("set", plugin, "REXRAY_PREEMPT=true"), /disable plugin before setting/);
    t.equal(await said("disable", plugin), "");
    t.match(await said("disable", plugin), "already disabled");
    t.equal(await said("set", plugin, "LINUX_VOLUME_FILEMODE=0751"), "");
    t.equal(await said("enable", plugin), "");
    const words = ["--driver", "rexray/scaleio", "--opt", "size=1", "--label", "keep=me", "pg"];
    await engine.docker("volume", "create", ...words);
    const look = `echo kept > ${BARE}/f; sync; grep -c ' ${BARE} ext4' /proc/mounts; stat -c %a ${BARE}`;
    t.equal(await inContainer(engine, "pg", look, BARE), "1\n751", "as they were set");
  });

  t.test("its commands are reached from the machine, and name what is there", async (t) => {
    t.match(command("rexray-sim", "volume", "ls"), /pg +ok/);
    const words = ["--volumedriver=rexray-sim", "--volumename=pg"];
    const point = command("dvdcli", "mount", ...words).trim();
    t.equal(fs.readFileSync(path.join(point, "f"), "utf8"), "kept\n", point);
    const shown = `${command("rexray-sim", "status")}${command("rexray-sim", "volume", "inspect", "pg")}`;
    for (const place of [point, state, ".vol", "/rexray-sim.sock"]) t.match(shown, place);
    const report = command("rexray-sim", "status", "--json");
    // What is in quotes, or ends its line.
    const named = [...report.matchAll(/"(\/[^"]+)"/g), ...shown.matchAll(/(?<= )(\/\S+)(?= |$)/gm)];
    t.ok(named.length > 12);
    for (const [, file = ""] of named) t.ok(fs.existsSync(file), file);
    command("rexray-sim", "snapshot", "create", "pg=pg-1");
    command("dvdcli", "unmount", ...words);
    t.notOk(fs.existsSync(path.join(point, "f")));
    const outside = () => command("rexray-sim", "device", "add", "sds-1", "d", "--path", "/srv/d");
    t.throws(outside, { message: `name a directory below ${source}` });
    command("rexray-sim", "device", "add", "sds-1", "d", "--path", path.join(source, "d"));
    t.ok(fs.existsSync(path.join(source, "d")));
  });

  t.test("row 62: its process is killed", async (t) => {
    const words = ["--detach", "--restart", "always", "--stop-signal", "KILL", "--network", "none", "--name", "user"];
    await engine.docker("run", ...words, "--volume", "pg:/data", IMAGE, "tail", "-f", "/dev/null");
    await engine.docker("exec", "user", "sh", "-c", "echo more >> /data/f; sync");
    const { pid } = JSON.parse(command("rexray-sim", "status", "--json")).daemon as { pid: number };
    process.kill(pid, "SIGKILL");
    await waitFor(() => !command("rexray-sim", "status").includes(`pid ${pid},`), { what: "the next one to serve" });
    // Engines end with the plugin's container: the mount that the container has is dead, and a new start gets a new one.
    await engine.docker("restart", "--time", "0", "user");
    t.equal(await engine.docker("exec", "user", "cat", "/data/f"), "kept\nmore");
  });

  t.test("row 63: dockerd is restarted", async (t) => {
    await engine.restart();
    await waitFor(() => engine.docker("exec", "user", "true").then(() => true), {
      what: "the container to be started",
    });
    t.equal(await engine.docker("exec", "user", "cat", "/data/f"), "kept\nmore");
    t.equal(await labels("pg"), '{"keep":"me"}');
    t.match(await engine.docker("plugin", "ls", "--format", "{{.Enabled}}"), "true");
  });

  t.test("rows 59, 64 and 65: disabled under a container, within 10 s, and enabled again", async (t) => {
    t.match((await engine.run(["plugin", "disable", plugin])).stderr, /in use/);
    const begin = performance.now();
    await engine.docker("plugin", "disable", "--force", plugin);
    t.ok(performance.now() - begin < 10_000);
    t.notOk(fs.existsSync(path.join(state, "daemon.holder")), "it has ended itself");
    t.throws(() => command("rexray-sim", "status"), /the plugin does not run/);
    await engine.docker("plugin", "enable", plugin);
    await engine.docker("restart", "--time", "0", "user");
    t.equal(await engine.docker("exec", "user", "cat", "/data/f"), "kept\nmore");
    await engine.docker("rm", "--force", "user");
  });

  t.test("its data are missing when dockerd starts: nothing is taken for gone", async (t) => {
    await engine.docker("volume", "create", "--driver", "rexray/scaleio", "gone");
    await engine.docker("volume", "rm", "gone");
    await engine.stop();
    fs.renameSync(state, `${state}.away`);
    await engine.start();
    const reason = `the data of this plugin were in ${state} and are not in ${state}: mount what they are on`;
    await keptThoughRefused(t, engine, "pg", reason);
    await keptThoughRefused(t, engine, "pg-1", reason);
    t.equal(await labels("pg"), '{"keep":"me"}');
    t.match((await engine.run(["volume", "create", "--driver", "rexray/scaleio", "pg2"])).stderr, reason);
    t.equal(await inContainer(engine, "gone", "echo of another driver"), "of another driver");
    t.equal(await engine.docker("volume", "inspect", "--format", "{{.Driver}}", "gone"), "local");
    t.notOk(fs.existsSync(state));
    await engine.docker("plugin", "disable", "--force", plugin);
    fs.renameSync(`${state}.away`, state);
    await engine.docker("plugin", "enable", plugin);
    t.equal(await inContainer(engine, "pg", "cat /data/f"), "kept\nmore");
    t.equal(await inContainer(engine, "pg-1", "cat /data/f"), "kept");
    t.equal(await labels("pg"), '{"keep":"me"}');
    await engine.docker("volume", "rm", "pg-1", "gone");
  });

  t.test("row 59b: upgraded to another version, and removed", async (t) => {
    const next = path.join(dir, "next");
    await output("cp", ["--archive", path.join(ROOT, "dist/plugin"), next]);
    const program = path.join(next, "rootfs/app/bin/rexray-sim.js");
    const text = fs.readFileSync(program, "utf8");
    fs.writeFileSync(program, text.replace(`version: "${VERSION}"`, 'version: "9.9.9"'));
    await engine.docker("plugin", "create", published, next);
    await engine.docker("plugin", "push", published);
    await engine.docker("plugin", "rm", published);
    t.equal(command("rexray-sim", "--version").trim(), VERSION);

    await engine.docker("plugin", "disable", "--force", plugin);
    await engine.docker("plugin", "upgrade", "--grant-all-permissions", "--skip-remote-check", plugin, published);
    // Docker forgets where the data are: the plugin does not begin anew somewhere else.
    await engine.docker("plugin", "enable", plugin);
    await keptThoughRefused(t, engine, "pg", `docker plugin set PLUGIN data.source=${source}`);
    await engine.docker("plugin", "disable", "--force", plugin);
    await engine.docker("plugin", "set", plugin, `data.source=${source}`);
    await engine.docker("plugin", "enable", plugin);
    t.equal(await inContainer(engine, "pg", "cat /data/f"), "kept\nmore");
    t.equal(await labels("pg"), '{"keep":"me"}');
    t.equal(command("rexray-sim", "--version").trim(), "9.9.9");
    await engine.docker("volume", "create", "--driver", "rexray/scaleio", "--opt", "size=1", "new");
    const look = `grep -c ' ${BARE} ext4' /proc/mounts; stat -c %a ${BARE}`;
    t.equal(await inContainer(engine, "new", look, BARE), "1\n751", "other settings it has kept");
    await engine.docker("volume", "rm", "new");
    await engine.docker("plugin", "disable", "--force", plugin);
    await engine.docker("plugin", "rm", "--force", plugin);
    t.ok(fs.existsSync(path.join(state, "mdm")), "what the plugin had written is there");
  });

  t.test("the install line of REX-Ray works, settings and all, and its password is nowhere", async (t) => {
    const password = randomBytes(12).toString("hex");
    await engine.docker(
      ...[
        "plugin",
        "install",
        "--grant-all-permissions",
        "--alias",
        "rexray/scaleio",
        published,
        `data.source=${source}`,
      ],
      "SCALEIO_ENDPOINT=https://gateway/api",
      "SCALEIO_USERNAME=admin",
      `SCALEIO_PASSWORD=${password}`,
      "SCALEIO_SYSTEMNAME=cluster1",
      "SCALEIO_PROTECTIONDOMAINNAME=pd1",
      "SCALEIO_STORAGEPOOLNAME=pool1",
      "REXRAY_LOGLEVEL=loud",
    );
    t.match(await engine.docker("plugin", "ls", "--format", "{{.Name}} {{.Enabled}}"), `${plugin} true`);
    await keptThoughRefused(t, engine, "pg", "must be panic, fatal, error, warn, info, debug or trace");
    await engine.docker("plugin", "disable", "--force", plugin);
    await engine.docker("plugin", "set", plugin, "REXRAY_LOGLEVEL=trace");
    await engine.docker("plugin", "enable", plugin);
    t.equal(await inContainer(engine, "pg", "cat /data/f"), "kept\nmore", "and a new one finds it");
    t.equal(await labels("pg"), '{"keep":"me"}');
    await engine.docker("volume", "create", "--driver", "rexray/scaleio", "--opt", "size=1", "new");
    t.equal(await inContainer(engine, "new", "grep -c ' /data xfs' /proc/mounts"), "1", "REX-Ray's default");
    await engine.docker("volume", "rm", "pg", "new");
    const words = ["--recursive", "--devices=skip", "--files-with-matches", "--fixed-strings"];
    t.equal((await run("grep", [...words, password, state, engine.logFile])).stdout, "");
    t.match(fs.readFileSync(engine.logFile, "utf8"), /must be panic, fatal.* plugin=/, "where its own words are");
    t.notMatch(command("rexray-sim", "status", "--json"), password);
    await engine.docker("plugin", "disable", plugin);
    await engine.docker("plugin", "rm", plugin);
  });
});
