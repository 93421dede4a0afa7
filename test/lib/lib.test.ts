import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { resolveDirs } from "../../src/lib/dirs.ts";
import { createLog } from "../../src/lib/log.ts";
import { openLogFile } from "../../src/lib/log-file.ts";
import { inContainer, machinePathsEnv, onMachine } from "../../src/lib/machine-paths.ts";
import { NameBook } from "../../src/lib/name-book.ts";
import { processId, stillRuns } from "../../src/lib/process-id.ts";
import { tempDir } from "../helpers/temp-dir.ts";

t.test("directories: flags before environment before defaults", async (t) => {
  t.same(resolveDirs({}, {}), {
    stateDir: "/var/lib/rexray-sim",
    runDir: "/run/rexray-sim",
    pluginDir: "/run/docker/plugins",
    configFile: "/var/lib/rexray-sim/config.yml",
    configRequired: false,
  });
  const env = {
    REXRAY_SIM_STATE_DIR: "/e/state",
    REXRAY_SIM_RUN_DIR: "/e/run",
    REXRAY_SIM_PLUGIN_DIR: "",
    REXRAY_SIM_CONFIG: "/e/config.yml",
  };
  t.same(resolveDirs({ runDir: "relative", config: "" }, env), {
    stateDir: "/e/state",
    runDir: path.resolve("relative"),
    pluginDir: "/run/docker/plugins",
    configFile: "/e/config.yml",
    configRequired: true,
  });
});

t.test("directories are known by their real names, there or not yet", async (t) => {
  const dir = tempDir("dirs");
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
  fs.mkdirSync(path.join(dir, "disk"));
  fs.symlinkSync("disk", path.join(dir, "link"));
  const { stateDir, runDir } = resolveDirs(
    { stateDir: path.join(dir, "link"), runDir: path.join(dir, "link/a/run") },
    {},
  );
  t.same([stateDir, runDir], [path.join(dir, "disk"), path.join(dir, "disk/a/run")]);
});

function logged(options: { level: string; isTTY?: boolean }) {
  const lines: string[] = [];
  return {
    lines,
    log: createLog({ level: options.level, stream: { write: (line) => lines.push(line), isTTY: options.isTTY } }),
  };
}

t.test("the log is one JSON line an event", async (t) => {
  const { lines, log } = logged({ level: "warn" });
  log.info("not this");
  log.child({ part: "mdm" }).warn({ member: 2 }, "a member\nfailed");
  t.equal(lines.length, 1);
  t.match(JSON.parse(lines[0] ?? ""), { level: 40, part: "mdm", member: 2, msg: "a member\nfailed", pid: process.pid });
});

t.test("on a terminal the log is plain text", async (t) => {
  const { lines, log } = logged({ level: "info", isTTY: true });
  log.warn({ member: 2, name: "two" }, "a member failed");
  log.error({ err: new Error("boom") }, "it broke");
  t.match(lines[0], /^\d\d:\d\d:\d\d WARN {2}a member failed member=2 name=two\n$/);
  t.match(lines[1], /^\d\d:\d\d:\d\d ERROR it broke\nError: boom\n {4}at .*\n$/s);
});

t.test("a log that has become large keeps its end, also under those who have it open", async (t) => {
  const dir = tempDir("log");
  t.teardown(() => fs.rmSync(dir, { recursive: true }));
  const file = path.join(dir, "log");
  const lines = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, n) => `line ${from + n}\n`).join("");
  fs.writeFileSync(file, lines(0, 100_000));
  fs.closeSync(openLogFile(file));
  t.ok(fs.readFileSync(file, "utf8") === lines(0, 100_000), "a small one stays");
  const before = openLogFile(file);
  fs.writeSync(before, lines(100_000, 1_000_000));
  const after = openLogFile(file);
  fs.writeSync(before, "old\n");
  fs.writeSync(after, "new\n");
  const text = fs.readFileSync(file, "utf8");
  t.ok(text.length <= 2 ** 20 + 8);
  t.match(text, /^line 9\d{5}\n/);
  t.match(text.slice(-30), /line 999999\nold\nnew\n$/);
  for (const fd of [before, after]) fs.closeSync(fd);
});

t.test("a process is known by its number and start time", async (t) => {
  const child = spawn("sleep", ["60"]);
  const id = processId(child.pid as number);
  if (id === undefined) throw new Error("the process cannot be seen");
  t.equal(stillRuns(id), true);
  t.equal(stillRuns({ ...id, startTicks: id.startTicks - 1 }), false, "another process of that number");
  t.equal(stillRuns({ ...id, namespace: "pid:[1]" }), undefined, "a number that means nothing here");
  child.kill();
  await once(child, "exit");
  t.equal(stillRuns(id), false);
});

t.test("paths of a container are shown as the machine has them, and taken so", async (t) => {
  const env = machinePathsEnv({ "/host": "/srv", "/var/lib/rexray": "/var/lib/docker/$&" });
  const shown = (text: string) => onMachine(text, env);
  t.equal(shown("in /host/rexray-sim, and /host."), "in /srv/rexray-sim, and /srv.");
  t.equal(shown('{"at":"/var/lib/rexray/volumes/pg"}'), '{"at":"/var/lib/docker/$&/volumes/pg"}');
  for (const text of ["/var/lib/rexray-sim", "/var/lib/rexray.d", "/srv/host/x", "/hosts", "host/x"])
    t.equal(shown(text), text);
  t.equal(onMachine("/host", {}), "/host");
  t.equal(inContainer("/srv/disk", env), "/host/disk");
  t.equal(inContainer("/srv", env), "/host");
  for (const directory of ["/srv2/disk", "/host/disk", "/"])
    t.throws(() => inContainer(directory, env), { code: "invalid_argument", message: /below \/srv \(data\.source\)/ });
  t.equal(inContainer("/anywhere", {}), "/anywhere");
});

t.test("a book of names is read from where it can be", async (t) => {
  const dir = tempDir("names");
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
  const [one, two] = [path.join(dir, "a/b"), path.join(dir, "c")];
  const book = new NameBook([one, two]);
  t.same([...book.read()], [], "nothing is there yet");
  book.replace(["v1", "v2"]);
  book.add("v3");
  book.remove("v1");
  fs.rmSync(two, { recursive: true });
  t.same([...new NameBook([one, two]).read()].sort(), ["v2", "v3"]);
  book.replace(["v4"]);
  fs.rmSync(one, { recursive: true });
  t.same([...book.read()], ["v4"]);
});
