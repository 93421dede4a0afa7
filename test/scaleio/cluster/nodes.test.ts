import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { call } from "../../helpers/plugin-client.ts";
import { requiresFuse, requiresRoot } from "../../helpers/requires.ts";
import { output } from "../../helpers/run.ts";
import { startSim } from "../../helpers/sim.ts";
import { waitFor } from "../../helpers/wait.ts";
import { CONFIG, dropCaches, fio, type Layout, mountAgain, mountVolume, random, type Status, seed } from "./load.ts";

t.comment(`KILL_SEED=${seed}`);
const skip = requiresRoot() || requiresFuse();

const hashOf = (file: string) => createHash("sha256").update(fs.readFileSync(file)).digest("hex");

t.test(
  "each node in turn is stopped under load, written past, and started: every byte reads back",
  { skip },
  async (t) => {
    const sim = await startSim(t, { config: CONFIG });
    const directory = await mountVolume(sim, "nodes", { size: "128MB" });
    for (const sds of ["sds-1", "sds-2", "sds-3", "sds-4"]) {
      const load = fio(directory, 2);
      await waitFor(() => fs.existsSync(path.join(directory, "fio")), { what: "the load to begin" });
      t.equal((await sim.cli("sds", "stop", sds)).code, 0);
      const file = path.join(directory, `written-without-${sds}`);
      fs.writeFileSync(file, Buffer.from(Array.from({ length: 3_000_000 }, () => Math.floor(random() * 256))));
      const before = hashOf(file);
      await load.ended;
      const status = await sim.json<Status>("status");
      t.equal(status.health, "degraded");
      t.match(status.reasons.join(), new RegExp(`${sds} is stopped`));
      await output("sync", []);
      t.equal((await sim.cli("sds", "start", sds, "--wait")).code, 0);
      t.equal((await sim.json<Status>("status")).health, "ok");

      // The only copy that is left for a quarter of the chunks is the one that was rebuilt.
      const other = sds === "sds-1" ? "sds-2" : "sds-1";
      await sim.cli("sds", "stop", other);
      dropCaches();
      t.equal(hashOf(file), before, `what was written without ${sds} reads back without ${other}`);
      await sim.cli("sds", "start", other, "--wait");
    }
  },
);

t.test(
  "the image rebuilt from the SDS files alone is what the device returns, from either copy",
  { skip },
  async (t) => {
    const sim = await startSim(t, { config: CONFIG });
    const directory = await mountVolume(sim, "image", { size: "64MB" });
    for (let i = 0; i < 12; i++) fs.writeFileSync(path.join(directory, `file-${i}`), Buffer.alloc(1_700_000, i + 1));
    // ext4 initialises its inode tables in the background: nothing may be written between the looks at the two copies.
    await output("fsfreeze", ["--freeze", directory]);
    t.teardown(() => output("fsfreeze", ["--unfreeze", directory]).catch(() => undefined));
    const { device } = (await sim.json<Status>("status")).volumes[0] as Status["volumes"][number];
    const layout = await sim.json<Layout>("volume", "inspect", "image", "--chunks");
    const files = new Map(layout.devices.map(({ sds, file }) => [sds, fs.openSync(file, "r")]));
    await output("blockdev", ["--flushbufs", device]);
    const image = fs.openSync(device, "r");
    for (const side of ["primary", "secondary"] as const) {
      let different = 0;
      const [copy, truth] = [Buffer.alloc(layout.chunkBytes), Buffer.alloc(layout.chunkBytes)];
      for (const chunk of layout.chunks) {
        const at = chunk.chunk * layout.chunkBytes;
        fs.readSync(files.get(chunk[side]) as number, copy, 0, copy.length, at);
        fs.readSync(image, truth, 0, truth.length, at);
        if (!copy.equals(truth)) different++;
      }
      t.equal(different, 0, `every chunk of the ${side} copy`);
    }
    t.equal(layout.chunks.length, 64);
    t.ok(
      layout.chunks.every(({ primary, secondary }) => primary !== secondary),
      "the two copies lie on different nodes",
    );
    for (const fd of [...files.values(), image]) fs.closeSync(fd);
    await output("fsfreeze", ["--unfreeze", directory]);
  },
);

t.test("everything is killed at once: after the restart all that was synced is there", { skip }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  let directory = await mountVolume(sim, "restart", { size: "64MB" });
  for (let round = 0; round < 3; round++) {
    const file = path.join(directory, `synced-${round}`);
    const fd = fs.openSync(file, "w");
    fs.writeSync(fd, Buffer.alloc(500_000, `round ${round};`));
    fs.fsyncSync(fd);
    fs.closeSync(fd);
    const before = hashOf(file);
    const { supervisorPid, enginePid } = (await sim.json<Status>("status")).volumes[0] as Status["volumes"][number];
    for (const pid of [sim.pid, supervisorPid, enginePid]) process.kill(pid, "SIGKILL");
    await waitFor(() => !sim.running, { what: "the daemon to be dead" });
    await sim.start();
    directory = await mountAgain(sim, "restart", `after-${round}`);
    t.equal(hashOf(file), before);
    await waitFor(async () => (await sim.json<Status>("status")).health === "ok", {
      what: "the health to be ok",
      deadline: 30_000,
    });
  }
});

t.test("a full disk below one node, and one whose directory is gone, cost no data", { skip }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  const directory = await mountVolume(sim, "full", { size: "64MB" });
  await call(sim.socket, "Unmount", { Name: "full", ID: "test" });
  await sim.kill("SIGTERM");
  // A device on a file system of its own that is far too small for the volume.
  const device = path.join(sim.stateDir, "sds/sds-3/dev-1");
  await output("mv", [device, `${device}.kept`]);
  fs.mkdirSync(device);
  await output("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", device]);
  t.teardown(() => output("umount", ["--lazy", device]).catch(() => undefined));
  await output("cp", ["--sparse=always", "-a", `${device}.kept/.`, device]);
  await sim.start();
  await mountAgain(sim, "full", "test");
  const file = path.join(directory, "large");
  fs.writeFileSync(file, Buffer.alloc(20_000_000, "x"));
  await output("sync", [file]);
  const status = await waitFor(
    async () => {
      const now = await sim.json<Status>("status");
      return now.sds.some(({ name, state }) => name === "sds-3" && state === "failed") && now;
    },
    { what: "sds-3 to be reported failed" },
  );
  t.match(status.reasons.join(), /sds-3.*(ENOSPC|no space)/);
  dropCaches();
  t.ok(
    fs.readFileSync(file).every((byte) => byte === "x".charCodeAt(0)),
    "all of it reads back",
  );
  // What it took while it was so small counts until it is elsewhere, and is not in the directory that is going to take its place.
  await waitFor(
    async () => {
      const { chunks } = await sim.json<Layout>("volume", "inspect", "full", "--chunks");
      return !chunks.some(({ primary, secondary, third }) => [primary, secondary, third].includes("sds-3"));
    },
    { what: "its copies to be elsewhere", deadline: 60_000 },
  );
  await call(sim.socket, "Unmount", { Name: "full", ID: "test" });
  await output("umount", [device]);
  fs.rmdirSync(device);
  const failed = await sim.cli("sds", "start", "sds-3");
  t.not(failed.code, 0);
  t.match(failed.stderr, /device\.json.*missing|is missing/);
  await output("mv", [`${device}.kept`, device]);
  t.equal((await sim.cli("sds", "start", "sds-3", "--wait")).code, 0);
  await mountAgain(sim, "full", "again");
  t.ok(
    fs.readFileSync(file).every((byte) => byte === "x".charCodeAt(0)),
    "and again after the device is back",
  );
});
