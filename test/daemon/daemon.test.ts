import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { AdminClient } from "../../src/admin/client.ts";
import { Daemon } from "../../src/daemon/daemon.ts";
import { EarlySockets } from "../../src/daemon/early-sockets.ts";
import { keepLogsShort } from "../../src/daemon/short-logs.ts";
import { sweep } from "../../src/daemon/sweep.ts";
import { readRecord } from "../../src/lib/daemon-record.ts";
import { SimError } from "../../src/lib/errors.ts";
import { NameBook } from "../../src/lib/name-book.ts";
import { call } from "../helpers/plugin-client.ts";
import { waitFor } from "../helpers/wait.ts";
import { surroundings } from "./fake-parts.ts";

const held = [{ name: "pg", heldBy: ["postgres (4711)"] }];

t.test(
  "plugins are served after the volumes of a former run are looked after, and a full stop leaves nothing",
  async (t) => {
    const { dirs, log, start } = surroundings(t);
    const daemon = await start();
    t.same(log, ["open", "reconcile", "serve a", "serve b"]);
    t.same(daemon.warnings, ["mind the gap"]);
    const report = await new AdminClient(dirs.runDir).status();
    t.same(report, await daemon.report());
    t.same(
      report.plugins,
      ["a", "b"].map((name) => path.join(dirs.pluginDir, `${name}.sock`)),
    );
    t.match(await readRecord(dirs.runDir), { pid: process.pid, stateDir: dirs.stateDir, plugins: report.plugins });

    t.same(await daemon.stop({ unmount: true, force: false }), { remaining: [] });
    await daemon.ended;
    t.same(log.slice(4), ["unserve a", "unserve b", "shutdown", "close"]);
    for (const dir of [dirs.stateDir, dirs.runDir, dirs.pluginDir]) t.same(fs.readdirSync(dir), []);
  },
);

t.test("logs are kept short under those who append to them, at the start and while the daemon runs", async (t) => {
  const { dirs, start } = surroundings(t);
  const ours = ["run/daemon.log", "run/sdc/volume-1/engine.log", "run/sdc/.repair.log", "state/agents/a/agent.log"];
  const theirs = "state/agents/a/slaves/stdout.log";
  const root = path.dirname(dirs.runDir);
  const files = [...ours, theirs].map((name) => path.join(root, name));
  const open = files.map((file) => {
    fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    return fs.openSync(file, "a");
  });
  const much = `${"x".repeat(98)}\n`.repeat(100_000);
  const write = (end: string) => {
    for (const fd of open) fs.writeSync(fd, `${much}${end}`);
  };
  const lengths = () => files.map((file) => fs.statSync(file).size);
  const ends = () => files.map((file) => fs.readFileSync(file, "utf8").slice(-200).split("\n").slice(-3, -1));
  write("before the start\n");
  const daemon = await start();
  t.teardown(async () => {
    await daemon.stop({ unmount: true, force: false });
    await daemon.ended;
    for (const fd of open) fs.closeSync(fd);
  });
  t.ok(
    lengths()
      .slice(0, -1)
      .every((size) => size <= 2 ** 20),
    `${lengths()}`,
  );
  t.ok((lengths().at(-1) ?? 0) > much.length, "what tasks write is theirs");
  const end = keepLogsShort(dirs, { warn: (message) => t.fail(message), every: 10 });
  t.teardown(end);
  write("while it runs\n");
  await waitFor(
    () =>
      lengths()
        .slice(0, -1)
        .every((size) => size <= 2 ** 20),
    { what: "all to be cut" },
  );
  for (const fd of open) fs.writeSync(fd, "on it goes\n");
  for (const last of ends()) t.same(last, ["while it runs", "on it goes"]);
  t.match(fs.readFileSync(files[1] ?? "", "utf8"), /^x{98}\n/, "from a line's beginning on");
});

t.test("down over the admin socket is answered before the daemon ends", async (t) => {
  const { dirs, volumes, start } = surroundings(t);
  volumes.held = held;
  const daemon = await start();
  const client = new AdminClient(dirs.runDir);
  t.same(await client.down({ force: false }), { remaining: held });
  await daemon.ended;
  await t.rejects(client.status(), { code: "unavailable" });
  t.ok(await readRecord(dirs.runDir), "the record stays for who cleans up");
});

t.test("a stop that leaves volumes mounted does not touch them", async (t) => {
  const { dirs, log, start } = surroundings(t);
  const daemon = await start();
  t.same(await daemon.stop({ unmount: false, force: false }), { remaining: [] });
  await daemon.ended;
  t.notOk(log.includes("shutdown"));
  t.match(await readRecord(dirs.runDir), { stateDir: dirs.stateDir });
});

t.test("plugin names: the command line's, the configuration's, the usual ones", async (t) => {
  for (const [asked, configured, expected] of [
    [["a", "b"], ["c"], ["a", "b"]],
    [undefined, ["c"], ["c"]],
    [undefined, undefined, ["rexray-sim", "rexray"]],
  ]) {
    const { options } = surroundings(t);
    const openParts: typeof options.openParts = async (request) => ({
      ...(await options.openParts(request)),
      pluginNames: configured,
    });
    const daemon = await Daemon.start({ ...options, pluginNames: asked, openParts });
    t.same(
      (await daemon.report()).plugins.map((file) => path.basename(file, ".sock")),
      expected,
    );
    await daemon.stop({ unmount: true, force: false });
    await daemon.ended;
  }
});

t.test("the first stop decides", async (t) => {
  const { log, start } = surroundings(t);
  const daemon = await start();
  await Promise.all([daemon.stop({ unmount: true, force: false }), daemon.stop({ unmount: false, force: true })]);
  await daemon.ended;
  t.equal(log.filter((entry) => entry.startsWith("shutdown")).length, 1);
  t.equal(log.filter((entry) => entry === "close").length, 1);
});

t.test("a stop that fails to unmount says so and ends all the same", async (t) => {
  const { volumes, start } = surroundings(t);
  const daemon = await start();
  volumes.shutdown = async () => {
    throw new SimError("host_failed", "umount: no");
  };
  await t.rejects(daemon.stop({ unmount: true, force: false }), { code: "host_failed" });
  await daemon.ended;
});

t.test("a plugin name that is taken fails the start, and what was begun is undone", async (t) => {
  const around = surroundings(t);
  const { dirs, log, options } = around;
  const openParts: typeof options.openParts = async (request) => ({
    ...(await options.openParts(request)),
    servePlugin: async ({ dir, name }) => {
      if (name === "b") throw new SimError("in_use", "b is taken");
      return around.servePlugin({ dir, name });
    },
  });
  await t.rejects(Daemon.start({ ...options, openParts }), { code: "in_use", message: "b is taken" });
  t.same(log, ["open", "reconcile", "serve a", "unserve a", "close"]);
  for (const dir of [dirs.stateDir, dirs.runDir, dirs.pluginDir]) t.same(fs.readdirSync(dir), []);
});

t.test("a second daemon is refused on the same state directory and on the same run directory", async (t) => {
  const { dirs, options, start } = surroundings(t);
  const daemon = await start();
  for (const [mine, flag] of [
    ["stateDir", "--state-dir"],
    ["runDir", "--run-dir"],
  ] as const) {
    const other = { ...dirs, stateDir: `${dirs.stateDir}2`, runDir: `${dirs.runDir}2`, [mine]: dirs[mine] };
    await t.rejects(Daemon.start({ ...options, dirs: other }), { code: "in_use", message: new RegExp(flag) });
  }
  await t.rejects(Daemon.start({ ...options, dirs: { ...dirs, stateDir: dirs.runDir } }), { code: "invalid_argument" });
  await t.rejects(Daemon.start({ ...options, dirs: { ...dirs, runDir: `/tmp/${"x".repeat(100)}` } }), {
    code: "invalid_argument",
    message: /107 bytes.*--run-dir/,
  });
  await daemon.stop({ unmount: true, force: false });
  await daemon.ended;
});

t.test("volumes that take long to look after do not keep the others from being served", async (t) => {
  const { volumes, start } = surroundings(t);
  let finish = () => {};
  volumes.reconcile = () => new Promise((resolve) => (finish = resolve));
  const begin = performance.now();
  const daemon = await start();
  t.ok(performance.now() - begin < 4000);
  finish();
  await daemon.stop({ unmount: true, force: false });
  await daemon.ended;
});

t.test("a sweep does what a dead daemon could not, and removes its sockets unless others serve there", async (t) => {
  const { dirs, volumes, log, options, start, servePlugin } = surroundings(t);
  const daemon = await start();
  await daemon.stop({ unmount: false, force: false });
  await daemon.ended;
  const [stale = "", live = ""] = (await readRecord(dirs.runDir))?.plugins ?? [];
  fs.writeFileSync(stale, "");
  const other = await servePlugin({ dir: dirs.pluginDir, name: "b" });
  log.length = 0;

  volumes.held = held;
  t.same(await sweep({ ...options, force: false }), { remaining: held });
  t.same(log, ["open", "reconcile", "shutdown", "close"]);
  t.ok(await readRecord(dirs.runDir), "the record stays as long as something does");
  t.same(await sweep({ ...options, force: true }), { remaining: [] });
  t.notOk(await readRecord(dirs.runDir));
  t.notOk(fs.existsSync(stale));
  t.ok(fs.existsSync(live));
  await other.close();
});

t.test(
  "a managed plugin listens at once; who calls waits for the daemon, or for the reason why there is none",
  async (t) => {
    const { dirs: usual } = surroundings(t);
    const dirs = { ...usual, namesDirs: [path.join(usual.stateDir, "names")] };
    new NameBook(dirs.namesDirs).replace(["pg"]);
    const early = await EarlySockets.listen(dirs);
    const [one, two] = ["rexray-sim", "rexray"].map((name) => path.join(dirs.pluginDir, `${name}.sock`)) as [
      string,
      string,
    ];
    t.same(early.paths, [one, two]);
    const calls = [call(one, "Get", { Name: "pg" }), call(two, "Get", { Name: "pg" })];
    const first = await Promise.race([...calls, call(one, "List").then(() => "answered"), waited(50)]);
    t.equal(first, "nobody answers");

    // A daemon takes one of them, and fails after that.
    const socket = early.take(one, (_request, response) => response.end('{"Volume":{"Name":"pg"}}'));
    t.same(await calls[0], { Volume: { Name: "pg" } });
    t.equal(
      early.take(path.join(dirs.pluginDir, "other.sock"), () => undefined),
      undefined,
    );
    await socket?.close();
    const sockets = await early.refuse(new SimError("host_failed", "no disk"));
    t.teardown(() => Promise.all(sockets.map((each) => each.close())));
    t.match(await calls[1], { Volume: { Name: "pg", Mountpoint: "", Status: { error: "no disk" } } });
    for (const file of [one, two]) {
      t.match(await call(file, "List"), { Volumes: [{ Name: "pg" }] });
      t.match(await call(file, "Capabilities"), { Capabilities: { Scope: "global" } });
      await t.rejects(call(file, "Get", { Name: "other" }), { message: /not found.*no disk/ });
      for (const operation of ["Create", "Remove", "Mount", "Unmount", "Path"])
        await t.rejects(call(file, operation, { Name: "pg", ID: "a" }), {
          message: `: ${operation}: pg: failed: no disk`,
        });
    }
  },
);

const waited = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms, "nobody answers"));
