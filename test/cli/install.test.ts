import fs from "node:fs";
import path from "node:path";
import t from "tap";
import type { StatusReport } from "../../src/admin/report.ts";
import { nodePath } from "../../src/cli/install/node-path.ts";
import { processId } from "../../src/lib/process-id.ts";
import { VERSION } from "../../src/lib/version.ts";
import { AGENT_FAULTS } from "../../src/mesos/faults/types.ts";
import { DEVICE_FAULTS, SYSTEM_FAULTS } from "../../src/scaleio/faults/types.ts";
import { call } from "../helpers/plugin-client.ts";
import { requiresFuse, requiresTools } from "../helpers/requires.ts";
import { output, run } from "../helpers/run.ts";
import { pluginName, Sim } from "../helpers/sim.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait.ts";

const CLONE = path.resolve(import.meta.dirname, "../..");
const PROGRAM = path.join(CLONE, "dist/bin/rexray-sim.js");
// Small volumes: what is tested here is where the programs lie.
const CONFIG = "simulator: { granularity: 64MB, deviceSize: 1GB, sds: 3, agents: 0 }\n";

type Teardown = { teardown(work: () => Promise<void> | void): void };

function emptyDir(t: Teardown): string {
  const dir = tempDir("install");
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const cli = (...args: readonly string[]) => run(process.execPath, [PROGRAM, ...args]);

/** Everything below a directory, with its mode or where it leads. */
function tree(root: string): Record<string, string> {
  const entries = fs.readdirSync(root, { recursive: true, encoding: "utf8" }).toSorted();
  return Object.fromEntries(
    entries.map((name) => {
      const file = path.join(root, name);
      const stat = fs.lstatSync(file);
      const what = stat.isSymbolicLink() ? `-> ${fs.readlinkSync(file)}` : (stat.mode & 0o777).toString(8);
      return [`/${name}`, what];
    }),
  );
}

const read = (...parts: string[]) => fs.readFileSync(path.join(...parts), "utf8");

t.test("install puts everything below a root, and uninstall leaves nothing of it", async (t) => {
  const root = emptyDir(t);
  const installed = await run("sh", [
    "-c",
    'umask 077; exec "$@"',
    "sh",
    process.execPath,
    PROGRAM,
    "install",
    "--root",
    root,
  ]);
  t.match(installed, { code: 0, stderr: "" });
  t.match(installed.stdout, "next: systemctl daemon-reload && systemctl enable --now rexray-sim\n");
  const files = tree(root);
  const lib = "/usr/local/lib/rexray-sim";
  t.match(files, {
    "/usr/local/lib": "755",
    [`${lib}/dist/bin/rexray-sim.js`]: "755",
    [`${lib}/dist/bin/dvdcli.js`]: "755",
    [`${lib}/dist/bin/sdc-engine.js`]: "755",
    [`${lib}/dist/bin/sdc-supervisor.sh`]: "755",
    [`${lib}/dist/bin/mesos-agent.js`]: "755",
    [`${lib}/dist/bin/package.json`]: "644",
    "/usr/local/bin/rexray-sim": "-> ../lib/rexray-sim/dist/bin/rexray-sim.js",
    "/usr/local/bin/dvdcli": "-> ../lib/rexray-sim/dist/bin/dvdcli.js",
    "/etc/systemd/system/rexray-sim.service": "644",
    "/etc/systemd/system/rexray-sim.socket": "644",
    "/usr/local/share/bash-completion/completions/rexray-sim": "644",
    "/usr/local/share/bash-completion/completions/dvdcli": "644",
    "/usr/local/share/zsh/site-functions/_rexray-sim": "644",
    "/usr/local/share/zsh/site-functions/_dvdcli": "644",
  });

  await t.test("the programs run, without a PATH even", async (t) => {
    const env = { PATH: "/nonexistent" };
    t.equal(await output(path.join(root, "usr/local/bin/rexray-sim"), ["--version"], { env }), `${VERSION}\n`);
    t.match(await output(path.join(root, "usr/local/bin/dvdcli"), ["help"], { env }), /^dvdcli:/);
  });

  await t.test("again changes nothing, also by the installed program itself", async (t) => {
    const json = await cli("install", "--root", root, "--json");
    t.match(JSON.parse(json.stdout), { version: VERSION, manifest: path.join(root, "etc/rexray-sim/installed.json") });
    t.same(tree(root), files);
    await output(path.join(root, "usr/local/bin/rexray-sim"), ["install", "--root", root]);
    t.same(tree(root), files);
    t.equal(
      read(root, lib, "dist/bin/sdc-engine.js").split("\n", 1)[0],
      `#!${nodePath(process.env["PATH"] ?? "", process.execPath)}`,
    );
  });

  await t.test("another prefix replaces the first; what others have put there stays", async (t) => {
    fs.writeFileSync(path.join(root, "usr/local/bin/other"), "");
    t.match(await cli("install", "--root", root, "--prefix", "/opt/rexray"), { code: 0 });
    const now = tree(root);
    t.notOk(now[lib]);
    t.equal(now["/usr/local/bin/other"], "644");
    t.notOk(now["/usr/local/bin/dvdcli"]);
    t.match(
      read(root, "etc/systemd/system/rexray-sim.service"),
      "/opt/rexray/lib/rexray-sim/dist/bin/rexray-sim.js up",
    );
    fs.rmSync(path.join(root, "usr/local/bin/other"));
    t.match(await cli("install", "--root", root), { code: 0 });
    t.notOk(tree(root)["/opt"]);
  });

  await t.test("uninstall, and once more", async (t) => {
    fs.mkdirSync(path.join(root, "var/lib/rexray-sim"), { recursive: true });
    t.match(await cli("uninstall", "--root", root), { code: 0, stderr: /uninstalled.*\n.*data stay/ });
    t.same(Object.keys(tree(root)), ["/var", "/var/lib", "/var/lib/rexray-sim"]);
    t.match(await cli("uninstall", "--root", root), { code: 0, stderr: /^nothing to uninstall/ });
    const json = await cli("uninstall", "--purge", "--json", "--root", root);
    t.same(JSON.parse(json.stdout), {
      uninstalled: null,
      stateDir: path.join(root, "var/lib/rexray-sim"),
      purged: true,
      elsewhere: [],
    });
    t.same(Object.keys(tree(root)), ["/var", "/var/lib"]);
  });
});

t.test("what is not ours is left alone, and nothing is installed then", async (t) => {
  const root = emptyDir(t);
  const dvdcli = path.join(root, "usr/local/bin/dvdcli");
  fs.mkdirSync(path.dirname(dvdcli), { recursive: true });
  for (const make of [() => fs.writeFileSync(dvdcli, "theirs"), () => fs.symlinkSync("/nonexistent", dvdcli)]) {
    make();
    const before = tree(root);
    t.match(await cli("install", "--root", root), {
      code: 1,
      stdout: "",
      stderr: new RegExp(`${dvdcli} is there and was not put there .*--prefix`),
    });
    t.same(tree(root), before);
    fs.rmSync(dvdcli);
  }
  for (const prefix of ["relative", "/with blank", "/percent%h"])
    t.match(await cli("install", "--root", root, "--prefix", prefix), { code: 2, stderr: /absolute path/ });
});

t.test("a list of files that was tampered with is not followed", async (t) => {
  const root = emptyDir(t);
  await cli("install", "--root", root);
  const manifest = path.join(root, "etc/rexray-sim/installed.json");
  fs.writeFileSync(manifest, read(manifest).replace("/usr/local/bin/dvdcli", "/usr/../../victim"));
  const before = tree(root);
  t.match(await cli("uninstall", "--root", root), { code: 1, stderr: /installed\.json.*cannot be understood/ });
  t.same(tree(root), before);
});

t.test("the path of Node: a link in PATH rather than where it leads", async (t) => {
  const dir = emptyDir(t);
  const running = fs.realpathSync(process.execPath);
  t.equal(nodePath("/nonexistent:relative", running), running);
  fs.symlinkSync(running, path.join(dir, "node"));
  t.equal(nodePath(`/nonexistent:${dir}`, running), path.join(dir, "node"));
  const blank = path.join(dir, "a blank");
  t.throws(() => nodePath("", blank), { code: "invalid_argument", message: /a blank.*link it/ });
});

t.test("units", async (t) => {
  const root = emptyDir(t);
  await cli("install", "--root", root);
  const unit = (name: string) => path.join(root, "etc/systemd/system", name);
  const service = read(unit("rexray-sim.service"));
  const node = nodePath(process.env["PATH"] ?? "", process.execPath);
  for (const line of [
    `ExecStart=${node} /usr/local/lib/rexray-sim/dist/bin/rexray-sim.js up --state-dir /var/lib/rexray-sim `,
    "\nBefore=docker.service\n",
    "\nKillMode=process\n",
    "\nRestart=on-failure\n",
    "\nStandardOutput=journal\n",
    "\nWantedBy=multi-user.target\n",
    "\nAlso=rexray-sim.socket\n",
  ])
    t.match(service, line);
  // Each would break mounts: hidden from Docker, or their directory removed.
  t.notMatch(service, /^(?:Private|Protect|ReadOnly|RuntimeDirectory|ExecStop|@)/m);
  const socket = read(unit("rexray-sim.socket"));
  for (const line of [
    "\nBefore=docker.service\n",
    "\nListenStream=/run/docker/plugins/rexray-sim.sock\n",
    "\nSocketMode=0600\n",
    "\nWantedBy=sockets.target\n",
  ])
    t.match(socket, line);

  await t.test("systemd has nothing to say against them", { skip: requiresTools("systemd-analyze") }, async (t) => {
    const verify = (...units: string[]) => run("systemd-analyze", ["verify", ...units]);
    t.match(await verify(unit("rexray-sim.socket"), unit("rexray-sim.service")), { code: 0, stdout: "", stderr: "" });
    // It does look.
    fs.writeFileSync(unit("rexray-sim.service"), service.replace("KillMode=process", "KilMode=proces"));
    t.match((await verify(unit("rexray-sim.service"))).stderr, "KilMode");
  });
});

/** Stands for an instance with two volumes. */
const NAMES =
  'rexray-sim() { case $* in "complete volume") echo pg; echo web ;; "complete volume --run-dir r") echo other ;; esac; };';

/** What Tab would offer after these words, in bash. */
async function inBash(script: string, ...words: string[]): Promise<string[]> {
  const { name } = path.parse(script);
  const ask = `${NAMES} source "$1"; shift; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _${name.replace("-", "_")}; printf "%s\\n" "\${COMPREPLY[@]}"`;
  const text = await output("bash", ["--norc", "-euc", ask, "bash", script, name, ...words]);
  return text.split("\n").filter((word) => word !== "");
}

/** What it would offer in zsh, whose own part in it is played here. */
async function inZsh(script: string, ...words: string[]): Promise<string[]> {
  const ask =
    `${NAMES}` +
    '_describe() { print -rl -- "${(P@)@[-1]}" }; _files() { print files }; script=$1; shift; words=("$@"); CURRENT=$#; set --; source $script';
  const text = await output("zsh", ["-fc", ask, "zsh", script, "rexray-sim", ...words]);
  return text.split("\n").filter((word) => word !== "");
}

t.test("completion in bash", async (t) => {
  const dir = emptyDir(t);
  const [script = "", dvdcli = ""] = ["rexray-sim", "dvdcli"].map((name) => path.join(dir, `${name}.bash`));
  fs.writeFileSync(script, await output(process.execPath, [PROGRAM, "completion", "bash"]));
  fs.writeFileSync(dvdcli, await output(process.execPath, [PROGRAM, "completion", "bash", "dvdcli"]));
  await output("bash", ["-n", script]);
  t.match(await output("bash", ["--norc", "-c", 'source "$0"; complete -p rexray-sim', script]), "-F _rexray_sim");
  t.same(await inBash(script, "vol"), ["volume"]);
  t.same(await inBash(script, "volume", "ins"), ["inspect"]);
  t.same(await inBash(script, "volume", "inspect", "pg", "--c"), ["--chunks"]);
  t.same(await inBash(script, "--run-dir", "vol", "sds", "sto"), ["stop"]);
  t.same(await inBash(script, "up", "--run-dir", "u"), [], "file names are bash's own matter");
  t.same(await inBash(script, "up", "--run-dir", "=", "u"), []);
  t.same(await inBash(script, "volume", "inspect", "up"), []);
  t.same(await inBash(script, "volume", "inspect", "p"), ["pg"], "names of volumes, as the instance has them");
  t.same(await inBash(script, "volume", "rm", "pg", ""), ["pg", "web"], "as many as one likes");
  t.same(await inBash(script, "volume", "limit", "--run-dir", "r", ""), ["other"]);
  t.same(await inBash(script, "volume", "create", ""), [], "a new name is nobody's to know");
  t.same(await inBash(dvdcli, "m"), ["mount"]);
  t.same(await inBash(dvdcli, "mount", "--volumed"), ["--volumedriver"]);
  t.same(await inBash(dvdcli, "path", "--e"), []);
  t.same(await inBash(script, "completion", ""), ["bash", "zsh"]);
  const faults = [DEVICE_FAULTS, SYSTEM_FAULTS, AGENT_FAULTS].flatMap((kinds) => Object.keys(kinds));
  t.same(await inBash(script, "fault", "add", ""), faults.toSorted());
  t.same(await inBash(script, "fault", "add", "slow", "sds-1", "--pr"), ["--probability"]);
  const table = fs
    .readFileSync(path.join(CLONE, "README.md"), "utf8")
    .split("\n")
    .filter((line) => line.startsWith("| `"));
  for (const type of faults)
    t.ok(
      table.some((line) => line.split("|")[1]?.includes(`\`${type}\``)),
      `README on ${type}`,
    );
  const help = (await cli("--help")).stdout;
  for (const word of await inBash(script, "")) t.match(help, `\n  ${word}`);
  t.match(await cli("completion", "fish"), { code: 2, stdout: "", stderr: /bash, zsh/ });
});

t.test("completion in zsh", { skip: requiresTools("zsh") }, async (t) => {
  const script = path.join(emptyDir(t), "zsh");
  fs.writeFileSync(script, await output(process.execPath, [PROGRAM, "completion", "zsh"]));
  await output("zsh", ["-n", script]);
  // zsh itself takes those that match what has been typed.
  t.match(await inZsh(script, "vol"), ["up:start the cluster and serve its volumes to Docker", /^down:/]);
  t.match(await inZsh(script, "volume", ""), [
    /^create:/,
    "ls:list the volumes",
    "inspect:show where a volume's chunks lie and what it really uses",
  ]);
  t.ok((await inZsh(script, "volume", "inspect", "pg", "-")).includes("--chunks:one line for each chunk"));
  t.same(await inZsh(script, "up", "--run-dir", ""), ["files"]);
  t.same(await inZsh(script, "volume", "inspect", ""), ["pg", "web"]);
  t.same(await inZsh(script, "volume", "create", ""), ["files"]);
});

/** An instance with directories of its own that a program elsewhere runs; whatever becomes of it, it ends with the test. */
function elsewhere(t: Teardown, dirs: { stateDir: string; runDir: string }) {
  const sim = new Sim({
    config: CONFIG,
    env: { REXRAY_SIM_STATE_DIR: dirs.stateDir, REXRAY_SIM_RUN_DIR: dirs.runDir },
  });
  t.teardown(async () => {
    const leaks = await sim.destroy();
    if (leaks.length > 0) throw new Error(`left behind: ${leaks.map(({ what }) => what).join(", ")}`);
  });
  const up = ["up", "--detach", "--config", sim.configFile, "--plugin-name", sim.driver];
  return { sim, up };
}

t.test("an installed program's volumes", { skip: requiresFuse() }, async (t) => {
  const root = emptyDir(t);
  await cli("install", "--root", root);
  const stateDir = path.join(root, "var/lib/rexray-sim");
  const { sim, up } = elsewhere(t, { stateDir, runDir: path.join(root, "run/rexray-sim") });
  const program = (...args: string[]) => run(path.join(root, "usr/local/bin/rexray-sim"), args, { env: sim.env });
  t.match(await program(...up), { code: 0, stderr: "" });
  await call(sim.socket, "Create", { Name: "v", Opts: { size: "64MB" } });
  const { Mountpoint } = await call<{ Mountpoint: string }>(sim.socket, "Mount", { Name: "v", ID: "a" });
  const file = path.join(Mountpoint, "file");
  fs.writeFileSync(file, "hi");

  await t.test("nothing is taken away while the daemon runs", async (t) => {
    for (const args of [["uninstall"], ["uninstall", "--purge"]])
      t.match(await cli(...args, "--root", root), {
        code: 1,
        stderr: /an instance runs as process \d+: .*rexray-sim down/,
      });
    t.match(await program("--version"), { code: 0 });
  });

  await t.test(
    "nor while a volume is mounted that no daemon looks after, and an update brings the next one",
    async (t) => {
      const { daemon } = await sim.json<StatusReport>("status");
      process.kill(daemon.pid, "SIGTERM");
      await waitFor(() => processId(daemon.pid) === undefined, { what: "the daemon to end" });
      t.equal(fs.readFileSync(file, "utf8"), "hi");
      t.match(await cli("uninstall", "--purge", "--root", root), { code: 1, stderr: /is mounted: .*rexray-sim down/ });
      t.equal(fs.readFileSync(file, "utf8"), "hi");
      t.match(await cli("install", "--root", root), { code: 0 });
      t.match(await program(...up), { code: 0 });
      t.match((await sim.json<StatusReport>("status")).volumes, [{ name: "v", mountpoint: Mountpoint }]);
    },
  );

  await t.test("purge takes the data when nothing is left", async (t) => {
    const disk = path.join(root, "disk2");
    t.match(await program("device", "add", "sds-1", "dev-2", "--path", disk), { code: 0 });
    t.match(await program("down"), { code: 0 });
    const said = new RegExp(
      `uninstalled.*\\n.*removed\\n.*devices that were put elsewhere: remove ${disk} yourself\\n$`,
    );
    t.match(await cli("uninstall", "--purge", "--root", root), { code: 0, stderr: said });
    t.ok(fs.existsSync(disk));
    t.notOk(fs.existsSync(stateDir));
    t.notOk(fs.existsSync(path.join(root, "usr")));
  });
});

t.test("npm pack, npm install, up, status, down", { skip: requiresFuse(), timeout: 240_000 }, async (t) => {
  const dir = emptyDir(t);
  // Not the settings of the `npm test` that may have started this.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("npm_")));
  const npm = (...args: string[]) => output("npm", args, { env, cwd: CLONE });
  // What is tested is built; a second build must not get in the way of others.
  await npm("pack", "--ignore-scripts", "--pack-destination", dir);
  const archive = path.join(dir, `rexray-sim-${VERSION}.tgz`);
  const list = (await output("tar", ["-tzf", archive])).split("\n").map((file) => file.replace(/^package\//, ""));
  for (const file of [
    "dist/bin/rexray-sim.js",
    "dist/bin/sdc-supervisor.sh",
    "plugin/rexray-sim.service",
    "examples/node-loss.yml",
    "examples/agent-loss.yml",
    "config.json",
    "README.md",
    "LICENSE",
  ])
    t.ok(list.includes(file), file);
  t.notOk(list.some((file) => /^(?:src|test|scripts|node_modules)\//.test(file)));

  const project = path.join(dir, "project");
  fs.mkdirSync(project);
  await npm("install", "--prefix", project, "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", archive);
  const modules = path.join(project, "node_modules");
  // The programs need none of what came with them: it is compiled into them.
  for (const name of fs.readdirSync(modules))
    if (name !== ".bin" && name !== "rexray-sim") fs.rmSync(path.join(modules, name), { recursive: true });

  const { sim, up } = elsewhere(t, { stateDir: path.join(dir, "state"), runDir: path.join(dir, "run") });
  const program = (...args: string[]) => run(path.join(modules, ".bin/rexray-sim"), args, { env: sim.env });
  t.same(await program("--version"), { code: 0, signal: null, stdout: `${VERSION}\n`, stderr: "" });
  t.match(await program(...up), { code: 0, stderr: "" });
  const volume = { Name: pluginName(), ID: "a" };
  await call(sim.socket, "Create", { Name: volume.Name, Opts: { size: "64MB" } });
  await call(sim.socket, "Mount", volume);
  t.match(await program("status"), { code: 0, stdout: volume.Name });
  t.match(await program("install", "--root", path.join(dir, "root")), { code: 0 });
  t.match(await program("down"), { code: 0, stderr: /stopped/ });
});
