import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import t from "tap";
import type { StatusReport } from "../../src/admin/report.ts";
import { listeners } from "../../src/lib/live-socket.ts";
import { processId } from "../../src/lib/process-id.ts";
import { call } from "../helpers/plugin-client.ts";
import { requiresFuse, requiresTools } from "../helpers/requires.ts";
import { pluginName, Sim } from "../helpers/sim.ts";
import { waitFor } from "../helpers/wait.ts";

/** What systemd does with a .socket unit: listens, and starts the program whenever somebody calls and it does not run. */
const SYSTEMD = `
import os, select, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
while True:
    select.select([listener], [], [])
    child = os.fork()
    if child == 0:
        os.dup2(listener.fileno(), 3)
        os.set_inheritable(3, True)
        os.environ.update(LISTEN_FDS="1", LISTEN_FDNAMES="x", LISTEN_PID=str(os.getpid()))
        os.execv(sys.argv[2], sys.argv[2:])
    os.waitpid(child, 0)
`;
const program = path.resolve(import.meta.dirname, "../../dist/bin/rexray-sim.js");
const volume = { Name: "v", ID: "a" };

t.test("systemd's socket outlives daemons", { skip: requiresFuse() || requiresTools("python3") }, async (t) => {
  const [lent, own] = [pluginName(), pluginName()];
  const sim = new Sim({
    pluginNames: [lent, own],
    config: "simulator: { granularity: 64MB, deviceSize: 1GB, sds: 3 }\n",
  });
  fs.mkdirSync(sim.pluginDir, { recursive: true });
  // Only one of the two is asked for, and it is not the one that systemd has.
  const up = [process.execPath, program, "up", "--config", sim.configFile, "--plugin-name", own];
  const systemd = spawn("python3", ["-c", SYSTEMD, sim.socket, ...up], { stdio: "ignore", env: sim.env });
  t.teardown(async () => {
    // The daemon is its child, and may be there or not.
    systemd.kill();
    const leaks = await sim.destroy();
    fs.rmSync(sim.socket, { force: true });
    const more = leaks.filter(({ what }) => what !== sim.socket);
    if (more.length > 0) throw new Error(`left behind: ${more.map(({ what }) => what).join(", ")}`);
  });
  await waitFor(() => fs.existsSync(sim.socket), { what: "the socket" });
  const socket = fs.statSync(sim.socket).ino;

  // The call waits until the daemon is there.
  await call(sim.socket, "Create", { Name: "v", Opts: { size: "64MB" } });
  const { Mountpoint } = await call<{ Mountpoint: string }>(sim.socket, "Mount", volume);
  const first = await sim.json<StatusReport>("status");
  t.same(
    first.plugins.map((file) => path.basename(file, ".sock")),
    [own, lent],
  );
  fs.writeFileSync(path.join(Mountpoint, "file"), "hi");

  await t.test("the engine has nothing of it", async (t) => {
    const { enginePid } = first.volumes[0] as { enginePid: number };
    const [inode] = [...listeners()].find(([, file]) => file === sim.socket) as [string, string];
    const open = (pid: number) => fs.readdirSync(`/proc/${pid}/fd`).map((fd) => link(`/proc/${pid}/fd/${fd}`));
    t.ok(open(first.daemon.pid).includes(`socket:[${inode}]`));
    t.notOk(open(enginePid).includes(`socket:[${inode}]`));
    t.notMatch(fs.readFileSync(`/proc/${enginePid}/environ`, "utf8"), "LISTEN_");
  });

  await t.test("SIGTERM leaves socket and volume, and a call brings the next daemon", async (t) => {
    process.kill(first.daemon.pid, "SIGTERM");
    await waitFor(() => processId(first.daemon.pid) === undefined, { what: "the daemon to end" });
    t.equal(fs.statSync(sim.socket).ino, socket);
    t.equal(fs.readFileSync(path.join(Mountpoint, "file"), "utf8"), "hi");
    t.match(JSON.parse((await sim.cli("doctor", "--json")).stdout).checks.find(socketsCheck), { state: "ok" });
    t.equal((await sim.cli("status")).code, 3, "to be examined starts no daemon");
    const { Volumes } = await call<{ Volumes: unknown[] }>(sim.socket, "List");
    t.match(Volumes, [{ Name: "v", Mountpoint }]);
    t.not((await sim.json<StatusReport>("status")).daemon.pid, first.daemon.pid);
  });

  await t.test("a daemon that dies of a defect leaves the socket; down unmounts, and leaves it too", async (t) => {
    const { daemon } = await sim.json<StatusReport>("status");
    fs.rmdirSync(path.join(sim.stateDir, "daemon.lock"));
    await waitFor(() => processId(daemon.pid) === undefined, { what: "the daemon to notice" });
    t.equal(fs.statSync(sim.socket).ino, socket);
    await call(sim.socket, "Unmount", volume);
    t.match(await sim.cli("down"), { code: 0 });
    t.equal(fs.statSync(sim.socket).ino, socket);
    t.notOk(fs.existsSync(path.join(Mountpoint, "file")));
  });
});

const socketsCheck = ({ name }: { name: string }) => name === "sockets";

function link(file: string): string {
  try {
    return fs.readlinkSync(file);
  } catch {
    return "";
  }
}
