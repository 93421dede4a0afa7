import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import t, { type Test } from "tap";
import { Cluster } from "../../../src/scaleio/cluster.ts";
import type { ClusterConfig } from "../../../src/scaleio/cluster-options.ts";
import { Mdm } from "../../../src/scaleio/mdm/mdm.ts";
import type { ThrottlePolicy } from "../../../src/scaleio/pool/throttle.ts";
import { workersIn } from "../../../src/scaleio/sdc/processes.ts";
import type { EngineStatus } from "../../../src/scaleio/sdc/session.ts";
import { requiresFuse } from "../../helpers/requires.ts";
import { tempDir } from "../../helpers/temp-dir.ts";
import { waitFor } from "../../helpers/wait.ts";
import { killHard } from "./load.ts";

const skip = requiresFuse();
const BIN_DIR = path.resolve(import.meta.dirname, "../../../dist/bin");
const UNLIMITED: ThrottlePolicy = {
  ...{ policy: "unlimited", concurrentIos: 1, bandwidthKbps: 0, quietPeriodMs: 0 },
  ...{ appIopsThreshold: 0, appBandwidthKbpsThreshold: 0 },
};
const MIB = 1024 ** 2;

/** A cluster without a daemon around it, and a volume that host "a" has. */
async function world(t: Test) {
  const dir = fs.realpathSync(tempDir("races"));
  const config: ClusterConfig = {
    ...{ protectionDomain: "pd1", pool: "pool1", sparePercentage: 10, checksum: false, scannerBytesPerSecond: 0 },
    rebuildGraceMs: 0,
    ...{ rebuildPolicy: UNLIMITED, rebalancePolicy: UNLIMITED },
    granularityBytes: 16 * MIB,
    sds: ["sds-1", "sds-2", "sds-3"].map((name) => ({
      ...{ name, faultSet: name },
      devices: [{ name: "dev-1", path: path.join(dir, "state/sds", name), sizeBytes: 1024 * MIB }],
    })),
  };
  const options = {
    stateDir: path.join(dir, "state"),
    runDir: path.join(dir, "run"),
    binDir: BIN_DIR,
    log: () => {},
    hosts: ["a", "b"],
  };
  const cluster = await Cluster.open({ ...options, config });
  const { id } = await cluster.createVolume({ name: "v", sizeBytes: 16 * MIB, fsType: "ext4", iops: 0 });
  t.teardown(async () => {
    for (const { mappedTo } of cluster.state.volumes.values())
      if (mappedTo !== null) await cluster.detach(id, mappedTo);
    await cluster.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });
  return { cluster, id, runDir: path.join(dir, "run/sdc", id) };
}

const statusOf = (runDir: string) =>
  JSON.parse(fs.readFileSync(path.join(runDir, "status.json"), "utf8")) as EngineStatus;

function write(device: string, text: string): void {
  const fd = fs.openSync(device, "r+");
  try {
    fs.writeSync(fd, text);
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

t.test("a host is fenced whatever its engine is about to become", { skip, timeout: 120_000 }, async (t) => {
  const { cluster, id, runDir } = await world(t);
  const hosts = ["a", "b"] as const;
  await cluster.attach(id, hosts[0], { preempt: false });
  // Ways to leave the volume with a process that its status does not name.
  const ways: Record<string, () => Promise<void>> = {
    "the engine has been killed, and its successor has not introduced itself": async () => {
      const { pid } = statusOf(runDir);
      killHard(pid);
      await waitFor(
        () => workersIn(runDir).some((other) => other !== pid && other !== statusOf(runDir).supervisorPid),
        {
          what: "a new engine to be started",
          every: 1,
        },
      );
    },
    "the supervisor has been killed, and the engine is starting another one": async () => {
      const { supervisorPid } = statusOf(runDir);
      killHard(supervisorPid);
      // It notices at a request.
      fs.promises.stat(path.join(runDir, "volume")).catch(() => undefined);
      await waitFor(() => workersIn(runDir).some((other) => other > statusOf(runDir).pid), {
        what: "a new supervisor",
        every: 1,
      });
    },
    "both at any moment": async () => {
      killHard(statusOf(runDir).supervisorPid);
      fs.promises.stat(path.join(runDir, "volume")).catch(() => undefined);
      await pause(Math.random() * 200);
      killHard(statusOf(runDir).pid);
      await pause(Math.random() * 100);
    },
  };
  let turn = 0;
  for (const [what, way] of Object.entries(ways)) {
    const [host, next] = [hosts[turn % 2] as string, hosts[(turn + 1) % 2] as string];
    turn++;
    const device = (await cluster.device(id, host)) as string;
    write(device, `of ${host}`);
    const held = fs.openSync(device, "r+");
    await way();
    const before = workersIn(runDir);
    const attached = await cluster.attach(id, next, { preempt: true });
    t.same(
      before.filter((pid) => workersIn(runDir).includes(pid)),
      [],
      `${what}: none of its processes is left`,
    );
    t.throws(() => {
      fs.writeSync(held, `late, of ${host}`, 0);
      fs.fsyncSync(held);
    }, `${host} cannot write any more`);
    fs.closeSync(held);
    const text = Buffer.alloc(4);
    const fd = fs.openSync(attached.device, "r");
    fs.readSync(fd, text, 0, 4, 0);
    fs.closeSync(fd);
    t.equal(text.toString(), `of ${host}`, `${next} finds what ${host} had written`);
  }
});

t.test("an engine that takes over ends what its predecessor has left behind", { skip, timeout: 60_000 }, async (t) => {
  const { cluster, id, runDir } = await world(t);
  await cluster.attach(id, "a", { preempt: false });
  // As the helper that punches holes looks.
  const helper = spawn("bash", ["-c", "exec -a fallocate sleep 600"], { cwd: runDir, stdio: "ignore" });
  t.teardown(() => helper.kill("SIGKILL"));
  await waitFor(() => workersIn(runDir).includes(helper.pid as number), { what: "the helper to be there" });
  const { pid } = statusOf(runDir);
  killHard(pid);
  await waitFor(() => helper.signalCode === "SIGKILL", { what: "the helper to be ended" });
  await waitFor(() => statusOf(runDir).pid !== pid, { what: "another engine" });
  write((await cluster.device(id, "a")) as string, "on");
});

t.test(
  "a volume that grows while its engine is told something else is served in full by the next engine too",
  { skip, timeout: 60_000 },
  async (t) => {
    const { cluster, id, runDir } = await world(t);
    const { device } = await cluster.attach(id, "a", { preempt: false });
    const commit = Mdm.prototype.commit;
    t.teardown(() => {
      Mdm.prototype.commit = commit;
    });
    // Between the engine's taking the new size and the MDM's word.
    Mdm.prototype.commit = async function (this: Mdm, change) {
      if (change.type === "volumes-changed") await cluster.faults.apply();
      return commit.call(this, change);
    };
    await cluster.resize(id, 32 * MIB);
    const { pid } = statusOf(runDir);
    killHard(pid);
    const fd = fs.openSync(device, "r+");
    const text = Buffer.from("at the very end");
    const at = 32 * MIB - text.length;
    fs.writeSync(fd, text, 0, text.length, at);
    fs.fsyncSync(fd);
    fs.writeFileSync("/proc/sys/vm/drop_caches", "3");
    const found = Buffer.alloc(text.length);
    fs.readSync(fd, found, 0, found.length, at);
    fs.closeSync(fd);
    t.equal(found.toString(), text.toString());
    t.not(statusOf(runDir).pid, pid);
  },
);
