import fs from "node:fs";
import path from "node:path";
import { stripVTControlCharacters } from "node:util";
import t from "tap";
import type { StatusReport } from "../../src/admin/report.ts";
import type { Context } from "../../src/cli/context.ts";
import { kernel } from "../../src/cli/doctor-machine.ts";
import { EXAMPLES } from "../../src/cli/examples.ts";
import { runCli } from "../../src/cli/program.ts";
import { progressLines } from "../../src/cli/progress.ts";
import { bytes, table } from "../../src/cli/text.ts";
import { upScreen } from "../../src/cli/up-screen.ts";
import { runFiles } from "../../src/lib/dirs.ts";
import { VERSION } from "../../src/lib/version.ts";
import { surroundings } from "../daemon/fake-parts.ts";
import { tempDir } from "../helpers/temp-dir.ts";

/** Runs a command line; the daemon that it could start is not there. */
async function cli(args: readonly string[], context: Partial<Context> = {}) {
  let stdout = "";
  let stderr = "";
  const status = await runCli(args, {
    env: {},
    out: (text) => (stdout += text),
    err: (text) => (stderr += text),
    color: false,
    daemon: {
      start: () => Promise.reject(new Error("start was not expected")),
      sweep: () => Promise.reject(new Error("sweep was not expected")),
      refuse: () => Promise.reject(new Error("refuse was not expected")),
    },
    ...context,
  });
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

t.test("every group has examples, and they are right as far as the command line goes", async (t) => {
  const { stdout } = await cli(["--help"]);
  const commands = [...stdout.matchAll(/^ {2}([a-z]+)(?: \[options\])? {2}/gm)].map(([, name]) => name as string);
  t.ok(commands.length > 10);
  for (const name of commands.filter((one) => !["help", "doctor"].includes(one)))
    t.match((await cli([name, "--help"])).stdout, "Examples:", name);
  const dir = emptyDir(t);
  for (const [words] of Object.values(EXAMPLES).flat()) {
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
    refuse: () => Promise.reject(new Error("refuse was not expected")),
  };
  t.match(await cli(["down", "--force", "--run-dir", dirs.runDir], { daemon: access }), {
    status: 0,
    stderr: /cleaned up.*\nstopped\n/,
  });
  t.same(swept, [{ dirs, force: true }]);
});

t.test("down with nothing to stop succeeds and says so", async (t) => {
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
  for (const name of ["root", "fuse", "loop", "mount", "kernel", "tools", "state", "leftovers", "docker"]) {
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
  t.equal(missing.length, 7);
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
