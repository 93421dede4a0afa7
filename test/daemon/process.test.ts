import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import t from "tap";
import type { StatusReport } from "../../src/admin/report.ts";
import type { Finding } from "../../src/cli/finding.ts";
import { type ProcessId, processId, stillRuns } from "../../src/lib/process-id.ts";
import { call } from "../helpers/plugin-client.ts";
import { requiresFuse, requiresTools } from "../helpers/requires.ts";
import { run } from "../helpers/run.ts";
import { Sim, startSim } from "../helpers/sim.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait.ts";

const PROGRAM = path.resolve(import.meta.dirname, "../../dist/bin/rexray-sim.js");
// Small volumes: what is tested here is who lives and who dies.
const config = "simulator: { granularity: 64MB, deviceSize: 1GB, sds: 3 }\n";

/** Mounts the volume "v" and writes a file into it. */
async function mountedVolume(sim: Sim): Promise<string> {
  await call(sim.socket, "Create", { Name: "v", Opts: { size: "64MB" } });
  const { Mountpoint } = await call<{ Mountpoint: string }>(sim.socket, "Mount", { Name: "v", ID: "a" });
  fs.writeFileSync(path.join(Mountpoint, "file"), "hi");
  return path.join(Mountpoint, "file");
}

/** What `doctor` finds under a name. */
async function examined(sim: Sim, name: string): Promise<Finding[]> {
  const { stdout } = await sim.cli("doctor", "--json");
  const { checks } = JSON.parse(stdout) as { checks: Finding[] };
  return checks.filter((check) => check.name === name);
}

t.test("process by process", { skip: requiresFuse() }, async (t) => {
  t.test("up says within 5 s what there is, Ctrl-C stops and unmounts, the next up finds the volume", async (t) => {
    const begin = performance.now();
    const sim = await startSim(t, { config });
    t.ok(performance.now() - begin < 5000);
    for (const word of [
      "sds-1 up",
      "sds-3 up",
      "pool1: 3 GiB raw",
      sim.socket,
      sim.stateDir,
      `docker volume create -d ${sim.driver}`,
    ]) {
      t.match(sim.said, word);
    }
    const file = await mountedVolume(sim);
    await sim.kill("SIGINT");
    t.notOk(fs.existsSync(file));
    t.notOk(fs.existsSync(sim.socket));
    t.same(fs.readdirSync(sim.runDir), ["sdc"]);
    t.match(await examined(sim, "leftovers"), [{ state: "ok" }]);

    await sim.start();
    t.match(await sim.json<StatusReport>("status"), { health: "ok", volumes: [{ name: "v", mountpoint: "" }] });
    await call(sim.socket, "Mount", { Name: "v", ID: "b" });
    t.equal(fs.readFileSync(file, "utf8"), "hi");
  });

  t.test("SIGTERM ends the daemon only; the volume goes on, and the next daemon has it", async (t) => {
    const sim = await startSim(t, { config });
    const file = await mountedVolume(sim);
    await sim.kill("SIGTERM");
    fs.writeFileSync(file, "served");
    t.notOk(fs.existsSync(sim.socket));
    t.match(await examined(sim, "leftovers"), [{ state: "failed", fix: /rexray-sim down/ }]);
    t.equal((await sim.cli("status")).code, 3);
    await sim.start();
    t.match(await sim.json<StatusReport>("status"), { volumes: [{ mountpoint: path.dirname(file) }] });
    t.equal(fs.readFileSync(file, "utf8"), "served");
  });

  t.test("after kill -9 the next up starts at once and has the volume", async (t) => {
    const sim = await startSim(t, { config });
    const file = await mountedVolume(sim);
    await sim.kill("SIGKILL");
    fs.writeFileSync(file, "served");
    t.ok(fs.existsSync(sim.socket), "a dead socket is there");
    t.match(await examined(sim, "sockets"), [
      { state: "failed", fix: `\`rm ${sim.socket}\`` },
      { state: "failed", fix: /admin/ },
    ]);
    const begin = performance.now();
    await sim.start();
    t.ok(performance.now() - begin < 2000, "without waiting for a lock to become stale");
    t.match(await sim.json<StatusReport>("status"), { volumes: [{ mountpoint: path.dirname(file) }] });
  });

  t.test("after kill -9 down cleans up, and again does nothing", async (t) => {
    const sim = await startSim(t, { config });
    const file = await mountedVolume(sim);
    await sim.kill("SIGKILL");
    // By the run directory alone: the record of the dead daemon knows the rest.
    sim.env["REXRAY_SIM_STATE_DIR"] = "/nonexistent";
    t.match(await sim.cli("down"), {
      code: 0,
      stdout: "",
      stderr: /the daemon was dead; cleaned up after it\nstopped\n$/,
    });
    t.notOk(fs.existsSync(file));
    t.notOk(fs.existsSync(sim.socket));
    t.same(fs.readdirSync(sim.runDir), ["sdc"]);
    t.match(await sim.cli("down"), { code: 0, stderr: /^nothing to stop/ });
    t.notOk(fs.existsSync("/nonexistent"));
  });

  t.test("down cleans up after everything was killed", async (t) => {
    const sim = await startSim(t, { config });
    await mountedVolume(sim);
    const [volume] = (await sim.json<StatusReport>("status")).volumes;
    await sim.kill("SIGKILL");
    // The supervisor first: it would start its engine again.
    for (const pid of [volume?.supervisorPid, volume?.enginePid]) process.kill(pid as number, "SIGKILL");
    t.match(await examined(sim, "leftovers"), [{ state: "failed" }]);
    t.match(await sim.cli("down"), { code: 0 });
    t.match(await examined(sim, "leftovers"), [{ state: "ok" }]);
  });

  t.test("a volume that another namespace holds stays served, and is named with its holder", async (t) => {
    const sim = await startSim(t, { config });
    await mountedVolume(sim);
    const holder = spawn("unshare", ["--mount", "--propagation", "private", "sleep", "600"], { stdio: "ignore" });
    t.teardown(() => holder.kill());
    const here = fs.readlinkSync("/proc/self/ns/mnt");
    await waitFor(() => fs.readlinkSync(`/proc/${holder.pid}/ns/mnt`) !== here, { what: "the namespace" });
    const down = await sim.cli("down");
    t.equal(down.code, 1);
    t.match(down.stderr, new RegExp(`volume v stays mounted and served: held by .*${holder.pid}`));
    await waitFor(() => !sim.running, { what: "the daemon to end" });
    holder.kill();
    await once(holder, "exit");
    t.match(await sim.cli("down"), { code: 0, stderr: /stopped\n$/ });
    t.match(await examined(sim, "leftovers"), [{ state: "ok" }]);
  });

  t.test("a second up is refused on the same state directory, run directory and plugin name", async (t) => {
    const sim = await startSim(t, { config });
    const other = new Sim();
    t.teardown(() => other.destroy());
    for (const [args, said] of [
      [["--state-dir", sim.stateDir], /state directory .*stop it with `rexray-sim down --run-dir .*--state-dir/],
      [["--run-dir", sim.runDir], /run directory .*--run-dir/],
      [["--plugin-name", sim.driver], /--plugin-name/],
    ] as const) {
      const { code, stdout, stderr } = await other.cli("up", ...args);
      t.match({ code, stdout }, { code: 1, stdout: "" });
      t.match(stderr, said);
    }
    t.equal((await sim.json<StatusReport>("status")).health, "ok");
  });

  t.test("a daemon that loses its state directory's lock goes at once, sockets first; volumes go on", async (t) => {
    const sim = await startSim(t, { config });
    const file = await mountedVolume(sim);
    fs.rmdirSync(path.join(sim.stateDir, "daemon.lock"));
    await waitFor(() => !sim.running, { what: "the daemon to notice" });
    t.match(sim.said, /"level":60.*cannot go on/);
    t.notOk(fs.existsSync(sim.socket));
    t.equal(fs.readFileSync(file, "utf8"), "hi");
  });

  t.test("up --detach returns when ready, and says why it is not", async (t) => {
    const sim = new Sim({ config });
    t.teardown(async () => {
      const leaks = await sim.destroy();
      if (leaks.length > 0) throw new Error(`left behind: ${leaks.map(({ what }) => what).join(", ")}`);
    });
    const args = ["up", "--detach", "--config", sim.configFile, "--plugin-name", sim.driver];
    const up = await sim.cli(...args);
    t.match(up, { code: 0, stderr: "" });
    t.match(up.stdout, /\nready +in the background as process \d+/);
    const { daemon } = await sim.json<StatusReport>("status");
    const id = processId(daemon.pid) as ProcessId;
    t.match(up.stdout, `process ${daemon.pid},`);
    t.equal(fs.readlinkSync(`/proc/${daemon.pid}/cwd`), "/");
    t.match(await sim.cli(...args), { code: 1, stdout: "", stderr: new RegExp(`process ${daemon.pid}`) });
    t.match(await sim.cli("down"), { code: 0 });
    t.equal(stillRuns(id), false, "down waits until the daemon is gone");
    fs.writeFileSync(sim.configFile, "simulator: { sds: two }\n");
    t.match(await sim.cli(...args), { code: 1, stdout: "", stderr: /config\.yml:1/ });
  });

  t.test(
    "up and demo say what the machine lacks before they do anything",
    { skip: requiresTools("setpriv") },
    async (t) => {
      const sim = new Sim({ config });
      t.teardown(() => sim.destroy());
      const dirs = ["--state-dir", sim.stateDir, "--run-dir", sim.runDir, "--plugin-dir", sim.dir];
      const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "--unset=NODE_OPTIONS"];
      const asNobody = /^rexray-sim: this runs as user 65534: run it as root, for instance by sudo\n$/;
      // All that Node wants, and no FUSE.
      const devices = "mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9";
      const noFuse = ["unshare", "--mount", "sh", "-c", `${devices} && exec "$@"`, "sh"];
      const withoutFuse =
        /^rexray-sim: \/dev\/fuse does not open \(ENOENT\): `modprobe fuse`; in a container, give it the .*\n$/;
      for (const [[program, ...words], line, stderr] of [
        [nobody, ["up", "--detach", ...dirs], asNobody],
        [noFuse, ["up", ...dirs], withoutFuse],
        [noFuse, ["demo"], withoutFuse],
      ] as const) {
        const result = await run(program as string, [...words, process.execPath, PROGRAM, ...line], { env: sim.env });
        t.match(result, { code: 1, stdout: "", stderr }, line[0]);
      }
      t.same(fs.readdirSync(sim.dir), ["config.yml"]);
    },
  );

  t.test("a demo that is ended in the middle takes away what it has made", async (t) => {
    const dir = tempDir("demo");
    t.teardown(() => fs.rmSync(dir, { recursive: true }));
    const demo = spawn(process.execPath, [PROGRAM, "demo"], { env: { ...process.env, TMPDIR: dir } });
    let said = "";
    for (const stream of [demo.stdout, demo.stderr])
      stream.setEncoding("utf8").on("data", (part: string) => (said += part));
    await waitFor(() => said.includes("$ dvdcli mount"), { what: "the demo's volume", deadline: 60_000 });
    demo.kill("SIGTERM");
    t.same(await once(demo, "exit"), [1, null]);
    t.match(said, "the demo was ended by SIGTERM");
    t.same(fs.readdirSync(dir), []);
    t.notMatch(fs.readFileSync("/proc/self/mountinfo", "utf8"), dir);
  });

  t.test("doctor sees a running daemon and asks whether Docker does", async (t) => {
    const sim = await startSim(t, { config });
    t.match(await examined(sim, "daemon"), [{ state: "ok", detail: `runs as process ${sim.pid}` }]);
    t.match(await examined(sim, "health"), [{ state: "ok" }]);
    t.equal((await examined(sim, "docker")).length, 1);
  });
});
