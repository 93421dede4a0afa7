import fs from "node:fs";
import path from "node:path";
import { stripVTControlCharacters } from "node:util";
import type { Command } from "commander";
import t from "tap";
import type { StatusReport } from "../../src/admin/report.ts";
import type { Context } from "../../src/cli/context.ts";
import { kernel } from "../../src/cli/doctor-machine.ts";
import { memoryFindings } from "../../src/cli/doctor-memory.ts";
import { EXAMPLES } from "../../src/cli/examples.ts";
import { build, runCli } from "../../src/cli/program.ts";
import { progressLines } from "../../src/cli/progress.ts";
import { bytes, table } from "../../src/cli/text.ts";
import { upScreen } from "../../src/cli/up-screen.ts";
import { PACKAGES } from "../../src/host/exec.ts";
import { runFiles } from "../../src/lib/dirs.ts";
import { localClock, localSecond, localTime } from "../../src/lib/times.ts";
import { VERSION } from "../../src/lib/version.ts";
import { surroundings } from "../daemon/fake-parts.ts";
import { requiresFuse } from "../helpers/requires.ts";
import { output } from "../helpers/run.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait.ts";

const GIB = 1024 ** 3;

const silentContext: Context = {
  env: {},
  out: () => {},
  err: () => {},
  color: false,
  daemon: {
    start: () => Promise.reject(new Error("start was not expected")),
    sweep: () => Promise.reject(new Error("sweep was not expected")),
    listen: () => Promise.reject(new Error("listen was not expected")),
  },
};

/** Runs a command line; the daemon that it could start is not there. */
async function cli(args: readonly string[], context: Partial<Context> = {}) {
  let stdout = "";
  let stderr = "";
  const out = (text: string) => (stdout += text);
  const err = (text: string) => (stderr += text);
  const status = await runCli(args, { ...silentContext, out, err, ...context });
  return { status, stdout, stderr };
}

async function withDaemon(t: { teardown(work: () => Promise<void> | void): void }) {
  const around = surroundings(t);
  const daemon = await around.start();
  t.teardown(async () => {
    await daemon.stop({ unmount: false, force: false });
    await daemon.ended;
  });
  return { ...around, daemon, run: (...args: string[]) => cli([...args, "--run-dir", around.dirs.runDir]) };
}

function emptyDir(t: { teardown(work: () => void): void }): string {
  const dir = tempDir("rexray-sim-cli");
  t.teardown(() => fs.rmSync(dir, { recursive: true }));
  return dir;
}

/** The commands that do something, with their words. */
function leaves(command: Command, words: readonly string[] = []): { words: readonly string[]; command: Command }[] {
  if (command.commands.length === 0) return [{ words, command }];
  return command.commands.flatMap((each) => leaves(each, [...words, each.name()]));
}

/** Commands without `--json`, and why. */
const WITHOUT_JSON: Readonly<Record<string, string>> = {
  demo: "a show for people",
  completion: "it prints a script",
  complete: "a name a line, for the shells' completions",
};

t.test("every command answers programs, and its help has examples", async (t) => {
  const all = leaves(build(silentContext, () => {}));
  t.ok(all.length > 40);
  for (const { words, command } of all) {
    const name = words.join(" ");
    const json = command.options.some(({ long }) => long === "--json");
    t.equal(json, !Object.hasOwn(WITHOUT_JSON, name), `${name}: ${WITHOUT_JSON[name] ?? "--json"}`);
    if (name !== "complete")
      t.match((await cli([...words, "--help"])).stdout, `Examples:\n  rexray-sim ${name}`, `${name} --help`);
  }
});

t.test("the examples are right as far as the command line goes", async (t) => {
  const dir = emptyDir(t);
  for (const words of EXAMPLES) {
    const [program, ...args] = words.split(/ [|>] /)[0]?.split(" ") ?? [];
    // These would do it.
    if (program !== "rexray-sim" || /^(up|scenario|install|uninstall|demo)$/.test(args[0] ?? "")) continue;
    const more = args[0] === "down" || args[0] === "doctor" ? ["--state-dir", dir, "--plugin-dir", dir] : [];
    const { status, stderr } = await cli([...args, ...more], { env: { REXRAY_SIM_RUN_DIR: dir } });
    t.not(status, 2, `${words}: ${stderr}`);
  }
});

t.test("--version and --help go to standard output, wrong usage to standard error with status 2", async (t) => {
  t.same(await cli(["--version"]), { status: 0, stdout: `${VERSION}\n`, stderr: "" });
  const help = await cli(["--help"]);
  t.match(help, { status: 0, stderr: "" });
  for (const command of ["up", "down", "status", "volume", "sds", "doctor", "Examples:"]) t.match(help.stdout, command);
  for (const args of [["statsu"], ["status", "--jsno"], ["volume", "inspect"], ["up", "--plugin-name", "../x"], []]) {
    const wrong = await cli(args);
    t.match(wrong, { status: 2, stdout: "" }, `rexray-sim ${args.join(" ")}`);
    t.match(wrong.stderr, /--help|Usage/);
  }
});

t.test("without a daemon every question ends with status 3 and the remedy", async (t) => {
  const runDir = emptyDir(t);
  for (const args of [
    ["status"],
    ["status", "--json"],
    ["volume", "ls"],
    ["volume", "inspect", "pg"],
    ["sds", "ls"],
    ["sds", "stop", "sds1"],
  ]) {
    t.same(await cli(args, { env: { REXRAY_SIM_RUN_DIR: runDir } }), {
      status: 3,
      stdout: "",
      stderr: `rexray-sim: no rexray-sim runs with run directory ${runDir}: start it with \`rexray-sim up\`\n`,
    });
  }
});

t.test("status --json is the report, status one screen without colour", async (t) => {
  const { run, daemon } = await withDaemon(t);
  const json = await run("status", "--json");
  t.same(JSON.parse(json.stdout), await daemon.report());
  const text = await run("status");
  t.equal(text.stderr, "");
  t.notMatch(text.stdout, "\u001b");
  for (const word of ["ok", "sds1", "sds2", "sds3", "pool1", "pg", "16 GiB", "/dev/loop7", "/state/volumes/pg/data"])
    t.match(text.stdout, word);
  t.ok(text.stdout.split("\n").length <= 24, "it fits on one screen");
  t.ok(text.stdout.split("\n").every((line) => line === line.trimEnd()));
});

t.test("people are told local time, programs the timestamp", async (t) => {
  const zone = process.env["TZ"];
  t.teardown(() => {
    if (zone === undefined) delete process.env["TZ"];
    else process.env["TZ"] = zone;
  });
  process.env["TZ"] = "Europe/Berlin";
  const { run, cluster, daemon } = await withDaemon(t);
  const at = "2026-07-01T22:30:05.250Z";
  cluster.happened = [{ id: 7, at, name: "SDS_DECOUPLED", severity: "error", text: "SDS: sds1 decoupled" }];
  t.equal(
    (await run("events")).stdout,
    "7 2026-07-02 00:30:05.250 SDS_DECOUPLED ERROR SDS: sds1 decoupled\n",
    "in summer two hours later",
  );
  t.same(JSON.parse((await run("events", "--json")).stdout), cluster.happened[0]);
  t.match((await run("volume", "inspect", "pg")).stdout, "made 2024-05-01 12:00:00\n");
  t.match(JSON.parse((await run("volume", "inspect", "pg", "--json")).stdout), { createdAt: "2024-05-01T10:00:00Z" });
  const { startedAt } = (await daemon.report()).daemon;
  t.match((await run("status")).stdout, `since ${localSecond(startedAt)}\n`);
  t.equal(localClock("2026-01-01T12:03:11.000Z"), "13:03:11", "in winter one");
  t.equal(localTime("whenever"), "whenever");
});

t.test("a terminal gets colour and the same columns", async (t) => {
  const { dirs } = await withDaemon(t);
  const args = ["sds", "ls", "--run-dir", dirs.runDir];
  const [plain, colored] = [await cli(args), await cli(args, { color: true })];
  t.match(colored.stdout, "\u001b[32mup\u001b[0m");
  t.equal(stripVTControlCharacters(colored.stdout), plain.stdout);
});

t.test("volume ls and sds ls list, as tables and as JSON", async (t) => {
  const { run } = await withDaemon(t);
  t.match((await run("volume", "ls")).stdout, /^VOLUME .*\npg .*\n$/);
  t.match(JSON.parse((await run("volume", "ls", "--json")).stdout), [
    { name: "pg", mountpoint: "/state/volumes/pg/data" },
  ]);
  t.match((await run("sds", "ls")).stdout, /^NODE .*\nsds1 .*\nsds2 .*\nsds3 .*\n$/);
  t.match(JSON.parse((await run("sds", "ls", "--json")).stdout), [{ name: "sds1", state: "up" }, {}, {}]);
});

t.test("volume inspect shows which nodes hold what, and each chunk on request", async (t) => {
  const { run } = await withDaemon(t);
  const text = (await run("volume", "inspect", "pg")).stdout;
  t.match(text, /sds1 +disk1 +8193 +8191 +0 +1\.5 GiB/);
  t.match(text, "16384 chunks of 1 MiB");
  t.notMatch(text, "CHUNK");
  t.match((await run("volume", "inspect", "pg", "--chunks")).stdout, /CHUNK .*\n0 +sds1 +sds2 +sds2\n$/);
  t.match(JSON.parse((await run("volume", "inspect", "pg", "--json", "--chunks")).stdout), {
    chunks: [{ stale: ["sds2"] }],
  });
  t.match(await run("volume", "inspect", "nope"), {
    status: 1,
    stdout: "",
    stderr: /^rexray-sim: no volume is called "nope"/,
  });
});

t.test("sds stop and start; --wait returns when the health is ok and says what is missing", async (t) => {
  const { run, cluster } = await withDaemon(t);
  t.match(await run("sds", "stop", "sds2"), { status: 0, stdout: "", stderr: "sds2 is stopped\n" });
  cluster.rebuilds = 2;
  t.same(await run("sds", "start", "sds2", "--wait"), {
    status: 0,
    stdout: "",
    stderr: "sds2 is started\nhealth degraded; copies are being rebuilt\nrebuild: 2 GiB to do, 20 s left\nhealth ok\n",
  });
  t.same(cluster.orders, ["stop sds2", "start sds2"]);
  t.match(await run("sds", "stop", "sds9"), { status: 1, stderr: /sds9/ });
});

t.test("orders to devices wait as well, and say how much is left and how long that takes", async (t) => {
  const { run, cluster } = await withDaemon(t);
  for (const [words, said] of [
    ["sds add sds4", "sds4 is added; copies are moved to it\n"],
    ["device add sds2 dev-2", "sds2/dev-2 is added; copies are moved to it\n"],
    ["device resize sds2 dev-2 2", "sds2/dev-2 has 2 now; copies are moved accordingly\n"],
    ["device remove sds2 disk2", "sds2/disk2 is being emptied\n"],
  ] as const) {
    cluster.moves = 2;
    const { status, stdout, stderr } = await run(...words.split(" "), "--wait");
    t.same([status, stdout], [0, ""], words);
    t.equal(stderr, `${said}health ok\nrebalance: 1 GiB to do, 40 s left\nhealth ok\n`);
    t.equal(cluster.moves, 0, "until that is done");
  }
  cluster.rebuilds = 1;
  t.match(
    (await run("device", "clear", "sds2", "disk1", "--wait")).stderr,
    /believed again.*\nhealth degraded.*\nrebuild: 1 GiB to do, 20 s left\nhealth ok\n$/,
  );
  cluster.moves = 1;
  const { stdout } = await run("device", "remove", "sds3", "disk2", "--wait", "--json");
  t.match(JSON.parse(stdout), { name: "sds3", deviceNames: ["disk1"] }, "the node as it is then");
});

t.test("orders say what they have done: a message for people, JSON on standard output for programs", async (t) => {
  const { run, dirs } = await withDaemon(t);
  const yaml = path.join(dirs.stateDir, "scenario.yml");
  const steps = ["{do: status}", "{run: [echo, said]}", "{expect: health ok}", "{do: sds stop sds9}", "{do: status}"];
  fs.writeFileSync(yaml, `steps: [${steps.join(", ")}]\n`);
  const node = { name: "sds2", state: "stopped" };
  for (const [words, value, message, status = 0] of [
    ["volume create web size=8", { created: true, name: "web", sizeBytes: 16 * GIB }, "web is made: 16 GiB, ext4\n"],
    ["volume create web", { created: false, name: "web" }, "web was there, and is as it was: 16 GiB, ext4\n"],
    ["volume resize pg 32", { name: "pg" }, /^pg has /],
    ["volume limit pg --iops 500", { name: "pg", iops: 0 }, /^pg has no limits/],
    ["volume scan pg", { name: "pg", chunks: 200, fixed: 0 }, /nothing found/],
    [
      "snapshot create pg=pg-1",
      [{ name: "pg-1", snapshotOf: "pg" }],
      "pg-1 is a snapshot of pg; it is a volume itself\n",
    ],
    ["snapshot restore pg pg-1", { name: "pg" }, "pg has the content of pg-1\n"],
    ["sds stop sds2", node, "sds2 is stopped\n"],
    ["sds add sds4", { name: "sds4", state: "gone" }, /^sds4 is added/],
    ["device add sds2 dev-2", node, /^sds2\/dev-2 is added/],
    ["device resize sds2 dev-2 2", node, /^sds2\/dev-2 has 2 now/],
    ["device remove sds2 dev-2", node, /^sds2\/dev-2 is being emptied/],
    ["sds start sds2", { name: "sds2", state: "up" }, "sds2 is started\n"],
    ["fault rm f", { removed: ["f"] }, "f is taken away\n"],
    ["fault reset", { removed: [] }, "all faults are taken away\n"],
    ["volume rm web", { removed: ["web"] }, "web is removed\n"],
    [
      `scenario run ${yaml}`,
      {
        ok: false,
        planned: 5,
        steps: [
          { text: "status", ok: true, problem: "" },
          { text: "echo said", ok: true },
          { text: "expect health ok", ok: true },
          { text: "sds stop sds9", ok: false, problem: "it ended with status 1" },
        ],
      },
      /step 4 of 5 failed/,
      1,
    ],
  ] as const) {
    const json = await run(...words.split(" "), "--json");
    t.equal(json.status, status, `${words}: ${json.stderr}`);
    t.match(JSON.parse(json.stdout), value, `${words} --json`);
    const text = await run(...words.split(" "));
    // The first call has done it.
    if (/^volume (?:create web size|rm)/.test(words)) continue;
    t.match(text, { status, stderr: message }, words);
    if (status === 0) t.equal(text.stdout, "");
  }
  t.match(JSON.parse((await run("fault", "add", "slow", "sds1", "--json")).stdout), { name: "f", type: "slow" });
  t.match(await run("volume", "rm", "web"), { status: 1, stderr: /no volume is called "web": .*volume ls/ });
  t.match(await run("snapshot", "rm", "pg"), { status: 1, stderr: /no snapshot is called "pg"/ });
  t.match(await run("volume", "create", "x", "size"), { status: 1, stderr: /"size" has no value: write KEY=VALUE/ });
});

t.test("a scenario whose daemon dies says which step failed, and that its faults stay", async (t) => {
  const { dirs, daemon } = await withDaemon(t);
  const yaml = path.join(dirs.stateDir, "scenario.yml");
  fs.writeFileSync(yaml, "steps: [{do: status}, {expect: health failed, within: 20s}]\n");
  let said = "";
  const args = ["scenario", "run", yaml, "--json", "--run-dir", dirs.runDir];
  const result = cli(args, { err: (text) => (said += text) });
  await waitFor(() => said.includes("ok    status"), { what: "the first step" });
  await daemon.stop({ unmount: false, force: false });
  const { status, stdout } = await result;
  t.equal(status, 1);
  t.match(JSON.parse(stdout), { ok: false, steps: [{ ok: true }, { ok: false, problem: /no rexray-sim runs/ }] });
  t.match(said, /step 2 of 2 failed\n.*faults could not be taken away: no rexray-sim runs/);
});

t.test("completion asks for names, and gets none when nobody is there", async (t) => {
  const { run } = await withDaemon(t);
  t.same(await run("complete", "volume"), { status: 0, stdout: "pg\n", stderr: "" });
  t.match(await run("complete", "sds"), { stdout: "sds1\nsds2\nsds3\n" });
  const env = { REXRAY_SIM_RUN_DIR: emptyDir(t) };
  t.same(await cli(["complete", "volume"], { env }), { status: 0, stdout: "", stderr: "" });
});

t.test("progress: bytes, percent and time left of all that takes long", async (t) => {
  const { run, cluster, daemon } = await withDaemon(t);
  const report = await daemon.report();
  const [pool] = report.pools;
  const look = (more: object, most?: Map<string, number>) =>
    progressLines({ ...report, pools: [{ ...pool, ...more } as StatusReport["pools"][number]] }, most);
  const most = new Map<string, number>();
  t.same(look({}, most), []);
  t.same(look({ rebalanceBytes: 800 * 1024 ** 2 }, most), ["rebalance: 800 MiB to do"]);
  t.same(look({ rebalanceBytes: 500 * 1024 ** 2, rebalanceSecondsLeft: 7 }, most), [
    "rebalance: 37 % done, 500 MiB to do, 7 s left",
  ]);
  t.same(look({ absorbBytes: 1024 ** 2, absorbSecondsLeft: 7300 }), ["absorb: 1 MiB to do, 2 h left"]);

  cluster.rebuilds = 1;
  t.match((await run("status")).stdout, /\nwork +rebuild: 1 GiB to do, 20 s left\n/);
  cluster.scanning = 1;
  t.same(await run("volume", "scan", "pg"), {
    status: 0,
    stdout: "",
    stderr: "pg: 37 % done, 3 min left\npg: 200 chunks looked at, nothing found\n",
  });
});

t.test("down waits for the end, and names what stays and who holds it", async (t) => {
  const { run, volumes, dirs } = await withDaemon(t);
  volumes.held = [{ name: "pg", heldBy: ["postgres (4711)"] }];
  // `down` waits for the process, which is the test's own here.
  const { record } = runFiles(dirs.runDir);
  fs.writeFileSync(record, fs.readFileSync(record, "utf8").replace(/"startTicks": \d+/, '"startTicks": 1'));
  const result = await run("down");
  t.match(result, {
    status: 1,
    stdout: "",
    stderr: /volume pg stays mounted and served: held by postgres \(4711\)\n.*rexray-sim down/,
  });
  t.notOk(fs.existsSync(runFiles(dirs.runDir).adminSocket));
});

t.test("down after a daemon that died cleans up with the directories it had", async (t) => {
  const { dirs, daemon } = await withDaemon(t);
  await daemon.stop({ unmount: false, force: false });
  await daemon.ended;
  const swept: unknown[] = [];
  const access: Context["daemon"] = {
    start: () => Promise.reject(new Error("start was not expected")),
    sweep: async (options) => {
      swept.push(options);
      return { remaining: [] };
    },
    listen: () => Promise.reject(new Error("listen was not expected")),
  };
  t.match(await cli(["down", "--force", "--run-dir", dirs.runDir], { daemon: access }), {
    status: 0,
    stderr: /cleaned up.*\nstopped\n/,
  });
  t.same(swept, [{ dirs, force: true }]);
});

t.test("down with nothing to stop succeeds and says so", async (t) => {
  const json = await cli(["down", "--json", "--run-dir", emptyDir(t)]);
  t.same([json.status, json.stderr, JSON.parse(json.stdout)], [0, "", { remaining: [] }]);
  t.match(await cli(["down", "--run-dir", emptyDir(t)]), { status: 0, stdout: "", stderr: /^nothing to stop/ });
});

t.test("up prints what there is and what to type next; its last line starts with ready", async (t) => {
  const { daemon, dirs } = await withDaemon(t);
  const report = await daemon.report();
  const text = upScreen(report, "/run/docker/plugins", "stop with Ctrl-C");
  for (const word of [
    "sds1 up",
    "192 GiB raw",
    ...report.plugins,
    dirs.stateDir,
    "docker volume create -d a -o size=16 pg",
  ])
    t.match(text, word);
  t.match(text, /\nready +stop with Ctrl-C\n$/);
  t.match(upScreen(report, dirs.pluginDir, ""), /a\.sock > \/etc\/docker\/plugins\/a\.spec/);
});

t.test("doctor works without a daemon, names stale things with a fix each, and fails then", async (t) => {
  const root = emptyDir(t);
  const args = ["doctor", "--json", "--state-dir", path.join(root, "state"), "--run-dir", root, "--plugin-dir", root];
  const env = { PATH: process.env["PATH"] };
  const before = JSON.parse((await cli(args, { env })).stdout);
  t.match(
    before.checks.find((check: { name: string }) => check.name === "daemon"),
    { state: "warning", fix: "`rexray-sim up`" },
  );
  t.match(
    before.checks.find((check: { name: string }) => check.name === "sockets"),
    { state: "ok" },
  );
  for (const name of [
    "root",
    "fuse",
    "loop",
    "mount",
    "kernel",
    "tools",
    "state",
    "cgroups",
    "memory",
    "leftovers",
    "docker",
  ]) {
    t.ok(
      before.checks.some((check: { name: string }) => check.name === name),
      name,
    );
  }

  fs.writeFileSync(path.join(root, "rexray.sock"), "");
  const after = await cli(args, { env: { PATH: "/nowhere" } });
  t.equal(after.status, 1);
  const { ok, checks } = JSON.parse(after.stdout);
  t.equal(ok, false);
  t.match(
    checks.find((check: { name: string }) => check.name === "sockets"),
    { state: "failed", fix: `\`rm ${root}/rexray.sock\`` },
  );
  const missing = checks.filter(
    (check: { name: string; state: string }) => check.name === "tools" && check.state === "failed",
  );
  t.equal(missing.length, Object.keys(PACKAGES).length);
  const failures = checks.filter((check: { state: string }) => check.state === "failed");
  t.ok(failures.every((check: { fix: string }) => check.fix !== "" && !check.fix.includes("\n")));
  const text = (
    await cli(
      args.filter((arg) => arg !== "--json"),
      { env: { PATH: "/nowhere" } },
    )
  ).stdout;
  t.ok(text.split("\n").filter((line) => line.trimStart().startsWith("fix: ")).length >= failures.length);
});

t.test("a kernel that cannot hand a mount to a new engine is a warning", async (t) => {
  for (const release of ["6.9.0", "6.18.44-x", "7.0"]) t.match(kernel(release), { state: "ok" });
  for (const release of ["6.8.12", "5.10.0-28-amd64"]) t.match(kernel(release), { state: "warning", fix: /6\.9/ });
});

t.test("doctor warns of memory limits that are not kept, and of one that engines cannot leave", async (t) => {
  const dir = emptyDir(t);
  const write = (file: string, text: string) => {
    fs.mkdirSync(path.dirname(path.join(dir, file)), { recursive: true });
    fs.writeFileSync(path.join(dir, file), text);
  };
  const [none, some] = [2 ** 63 - 4096, 256 * 1024 ** 2];
  /** The groups of a machine, as a process sees them that is in one of them. */
  const look = (own: string, limits: Readonly<Record<string, number>>) => {
    for (const [group, limit] of Object.entries(limits))
      write(`memory${group}/memory.stat`, `cache 0\nhierarchical_memory_limit ${limit}\nrss 0\n`);
    write("own", `4:memory:${own}\n3:cpuset:/\n0::/\n`);
    const [tasks, engines] = memoryFindings({ root: dir, own: path.join(dir, "own") });
    return { tasks, engines };
  };
  t.match(look("/", {}), {
    tasks: { state: "warning", detail: /\/memory and .*\/cpu cannot be written.*counted only/, fix: /-v / },
    engines: { state: "ok" },
  });
  fs.mkdirSync(path.join(dir, "cpu"));
  write("memory/cgroup.procs", "");
  t.match(look("/", { "": none }), { tasks: { state: "ok" }, engines: { state: "ok", detail: "no limit" } });
  t.match(look("/app", { "/app": some }).engines, { state: "ok", detail: "256 MiB, which engines leave" });
  fs.rmSync(path.join(dir, "memory/cgroup.procs"));
  t.match(look("/app", {}).engines, {
    state: "warning",
    detail: /limited to 256 MiB, .*may wait for itself/,
    fix: /-v /,
  });
  t.match(look("/", {}).engines, { state: "ok" }, "who is not in it has no need to leave it");
  // In a container the own group is at the root's place, and its name is that of another place.
  write("memory/cgroup.procs", "");
  t.match(look("/docker/4711", { "": some }).engines, { state: "warning" });
  fs.rmSync(path.join(dir, "memory"), { recursive: true });
  write("cgroup.controllers", "cpu memory");
  t.match(look("/", {}), { tasks: { state: "ok" }, engines: { state: "ok" } }, "version 2");
});

t.test("what is mounted to be read only cannot be written, not even by root", { skip: requiresFuse() }, async (t) => {
  const root = emptyDir(t);
  await output("mount", ["-t", "tmpfs", "-o", "ro", "tmpfs", root]);
  t.teardown(() => output("umount", [root]));
  t.match(memoryFindings({ root, own: "/proc/self/cgroup" })[0], { state: "warning" });
});

t.test("sizes and tables are for people", async (t) => {
  t.same([0, 1023, 1536, 16 * 1024 ** 3, 1.25 * 1024 ** 4, 115.2 * 1024 ** 3].map(bytes), [
    "0 B",
    "1023 B",
    "1.5 KiB",
    "16 GiB",
    "1.3 TiB",
    "115 GiB",
  ]);
  t.equal(
    table(
      ["A", "LONG"],
      [
        ["x", "1"],
        ["longer", ""],
      ],
    ),
    "A       LONG\nx       1\nlonger\n",
  );
});
