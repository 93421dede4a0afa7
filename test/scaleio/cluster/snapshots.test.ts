import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import t, { type Test } from "tap";
import { AdminClient } from "../../../src/admin/client.ts";
import { call } from "../../helpers/plugin-client.ts";
import { requiresFuse, requiresRoot } from "../../helpers/requires.ts";
import { output } from "../../helpers/run.ts";
import { type Sim, startSim } from "../../helpers/sim.ts";
import { waitFor } from "../../helpers/wait.ts";
import { CONFIG, dropCaches, fio, killHard, mountAgain, mountVolume, random, type Status, seed } from "./load.ts";

t.comment(`KILL_SEED=${seed}`);
const skip = requiresRoot() || requiresFuse();

const unmount = (sim: Sim, name: string) => call(sim.socket, "Unmount", { Name: name, ID: "test" });
const remove = (sim: Sim, name: string) => call(sim.socket, "Remove", { Name: name });
const read = (directory: string, name: string) => fs.readFileSync(path.join(directory, name), "utf8");

function write(directory: string, name: string, text: string): void {
  const fd = fs.openSync(path.join(directory, name), "w");
  fs.writeSync(fd, text);
  fs.fsyncSync(fd);
  fs.closeSync(fd);
}

async function cli(t: Test, sim: Sim, ...args: string[]): Promise<void> {
  const { code, stderr } = await sim.cli(...args);
  t.equal(code, 0, `rexray-sim ${args.join(" ")}: ${stderr}`);
}

/** CAP_SYS_RESOURCE: the kernel wants it of whoever grows a mounted ext4. */
const mayGrowMounted =
  (BigInt(`0x${/CapEff:\s*(\w+)/.exec(fs.readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0"}`) & (1n << 24n)) !==
  0n;

/** Files of volumes on all nodes. */
const filesLeft = (sim: Sim) =>
  fs
    .readdirSync(path.join(sim.stateDir, "sds"), { recursive: true, encoding: "utf8" })
    .filter((f) => f.endsWith(".vol"));

t.test(
  "snapshots of a volume in use: independent, nestable, removed in any order",
  { skip, timeout: 120_000 },
  async (t) => {
    const sim = await startSim(t, { config: CONFIG });
    const base = await mountVolume(sim, "base", { size: "128MB" });
    write(base, "file", "first");
    const load = fio(base, 8);
    await cli(t, sim, "snapshot", "create", "base=one");
    write(base, "file", "second");
    await cli(t, sim, "snapshot", "create", "base=two");
    write(base, "file", "third");
    const one = await mountAgain(sim, "one", "test");
    t.equal(read(one, "file"), "first");
    write(one, "file", "first, changed");
    await cli(t, sim, "snapshot", "create", "one=one-of-one");
    write(one, "file", "first, changed again");
    t.match(await load.ended, /err= 0/, "the load went on and found all it had written");
    const twoOf = await sim.json<{ name: string; snapshotOf: string }[]>("snapshot", "ls");
    t.strictSame(twoOf.map(({ name, snapshotOf }) => `${name} of ${snapshotOf}`).sort(), [
      "one of base",
      "one-of-one of one",
      "two of base",
    ]);
    t.match((await sim.cli("snapshot", "create", "base=one")).stderr, /one exists already/);

    await sim.restart("SIGKILL");
    dropCaches();
    t.equal(read(base, "file"), "third");
    t.equal(read(one, "file"), "first, changed again");
    await unmount(sim, "base");
    await remove(sim, "base");
    const [two, nested] = [await mountAgain(sim, "two", "test"), await mountAgain(sim, "one-of-one", "test")];
    t.equal(read(two, "file"), "second");
    t.equal(read(nested, "file"), "first, changed");
    await output("sync", []);
    for (const name of ["two", "one-of-one", "one"]) {
      const { device } = (await sim.json<Status>("status")).volumes.find((v) => v.name === name) as { device: string };
      await unmount(sim, name);
      t.ok(device);
    }
    await remove(sim, "one");
    t.equal(
      read(await mountAgain(sim, "one-of-one", "test"), "file"),
      "first, changed",
      "what it shared is still there",
    );
    await unmount(sim, "one-of-one");
    await remove(sim, "one-of-one");
    // The last one takes over what it needs of the layers it shared, and these go.
    await waitFor(() => filesLeft(sim).length <= 4, { what: "the shared layers to go", deadline: 30_000 });
    t.equal(read(await mountAgain(sim, "two", "test"), "file"), "second");
    await unmount(sim, "two");
    await remove(sim, "two");
    t.strictSame(filesLeft(sim), [], "all space is given back");
  },
);

t.test(
  "31 snapshots of a volume, the most there can be: all read right, and give all space back in any order",
  { skip, timeout: 180_000 },
  async (t) => {
    const sim = await startSim(t, { config: CONFIG });
    const client = new AdminClient(sim.runDir);
    const base = await mountVolume(sim, "v0", { size: "64MB" });
    for (let number = 1; number <= 31; number++) {
      write(base, "number", String(number));
      write(base, `file-${number}`, String(number).repeat(5000));
      await client.snapshot([{ volume: "v0", name: `v${number}` }]);
    }
    write(base, "number", "base");
    t.match((await sim.cli("snapshot", "create", "v0=more")).stderr, /are 32 volumes, and 32 is the limit/);
    dropCaches();
    // The newest shows through all the layers that there are.
    const checkAll = (directory: string, number: number) => {
      for (let n = 1; n <= number; n++)
        if (read(directory, `file-${n}`) !== String(n).repeat(5000)) t.fail(`file-${n} of v${number}`);
      t.notOk(fs.existsSync(path.join(directory, `file-${number + 1}`)), `v${number} has nothing that came later`);
    };
    checkAll(base, 31);
    t.equal(read(base, "number"), "base");
    await unmount(sim, "v0");
    const left = Array.from({ length: 32 }, (_, number) => number);
    const check = async (number: number) => {
      const directory = await mountAgain(sim, `v${number}`, "test");
      t.equal(read(directory, "number"), number === 0 ? "base" : String(number));
      checkAll(directory, number || 31);
      await unmount(sim, `v${number}`);
    };
    await check(31);
    while (left.length > 0) {
      const [number] = left.splice(Math.floor(random() * left.length), 1) as [number];
      await remove(sim, `v${number}`);
      if (left.length > 0 && left.length % 8 === 0) await check(left[Math.floor(random() * left.length)] as number);
    }
    await waitFor(() => filesLeft(sim).length === 0, { what: "all space to be given back", deadline: 30_000 });
  },
);

t.test("snapshots of several volumes are of one instant", { skip, timeout: 60_000 }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  const [a, b] = [await mountVolume(sim, "a", { size: "64MB" }), await mountVolume(sim, "b", { size: "64MB" })];
  let stop = false;
  const writer = (async () => {
    for (let n = 1; !stop; n++) {
      for (const directory of [a, b])
        await output("dd", [`of=${directory}/n`, "conv=notrunc,fsync", "status=none"], {
          input: String(n).padStart(8, "0"),
        });
    }
  })();
  await waitFor(() => fs.existsSync(path.join(b, "n")), { what: "the first numbers" });
  for (let round = 1; round <= 4; round++) {
    await pause(random() * 100);
    await cli(t, sim, "snapshot", "create", `a=a${round}`, `b=b${round}`);
  }
  stop = true;
  await writer;
  for (let round = 1; round <= 4; round++) {
    const [first, second] = [await mountAgain(sim, `a${round}`, "test"), await mountAgain(sim, `b${round}`, "test")];
    const [m, n] = [Number(read(first, "n")), Number(read(second, "n"))];
    t.ok(m - n === 0 || m - n === 1, `a is at ${m}, b at ${n}`);
    await unmount(sim, `a${round}`);
    await unmount(sim, `b${round}`);
  }
});

t.test("back to a snapshot, and new volumes from one", { skip, timeout: 60_000 }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  const directory = await mountVolume(sim, "base", { size: "64MB", fstype: "ext4" });
  write(directory, "file", "good");
  await cli(t, sim, "snapshot", "create", "base=good");
  write(directory, "file", "spoilt");
  t.match((await sim.cli("snapshot", "restore", "base", "good")).stderr, /is mapped to .*; unmount it/);
  await unmount(sim, "base");
  await cli(t, sim, "snapshot", "restore", "base", "good");
  t.equal(read(await mountAgain(sim, "base", "test"), "file"), "good");

  const larger = await mountVolume(sim, "larger", { snapshotname: "good", size: "192MB" });
  t.equal(read(larger, "file"), "good");
  const { bsize, blocks } = fs.statfsSync(larger);
  t.ok(bsize * blocks > 150e6, "the file system fills the larger volume");
  const { Volume } = await call<{ Volume: { Status: { fields: Record<string, string> } } }>(sim.socket, "Get", {
    Name: "base",
  });
  const id = Volume.Status.fields["scaleioId"] as string;
  t.equal(read(await mountVolume(sim, "copy", { VolumeID: id }), "file"), "good");
  await t.rejects(call(sim.socket, "Create", { Name: "x", Opts: { volumename: "none" } }), /no volume or snapshot has/);
  await t.rejects(call(sim.socket, "Create", { Name: "x", Opts: { volumename: "good", size: "1MB" } }), /larger one/);
});

for (const fstype of ["ext4", "xfs"]) {
  t.test(`${fstype}: a volume grows in use and out of use`, { skip, timeout: 60_000 }, async (t) => {
    const sim = await startSim(t, { config: CONFIG });
    const size = fstype === "xfs" ? 384 : 64;
    const directory = await mountVolume(sim, "small", { size: `${size}MB`, fstype });
    write(directory, "file", "kept");
    const room = (at: string) => {
      const { bsize, blocks } = fs.statfsSync(at);
      return (bsize * blocks) / 1024 ** 2;
    };
    const load = fio(directory, 6);
    for (let step = 1; step <= 4; step++) {
      const { code, stderr } = await sim.cli("volume", "resize", "small", `${size + (step * size) / 4}MB`);
      if (fstype === "ext4" && !mayGrowMounted) t.match(stderr, /will be when it is mounted next/);
      else t.equal(code, 0, stderr);
    }
    if (fstype === "xfs" || mayGrowMounted) t.ok(room(directory) > 1.5 * size, `${room(directory)} MiB`);
    t.match(await load.ended, /err= 0/);
    t.match((await sim.cli("volume", "resize", "small", "64MB")).stderr, /cannot become smaller/);
    await unmount(sim, "small");
    await cli(t, sim, "volume", "resize", "small", `${4 * size}MB`);
    await sim.cli("sds", "stop", "sds-1");
    const again = await mountAgain(sim, "small", "test");
    t.ok(room(again) > 3.3 * size, `${room(again)} MiB`);
    t.equal(read(again, "file"), "kept");
    const text = "x".repeat(size * 1024 ** 2);
    for (const name of ["large", "larger"]) write(again, name, text);
    dropCaches();
    for (const name of ["large", "larger"]) t.ok(read(again, name) === text);
  });
}

t.test("whoever dies while snapshots are made, nothing acknowledged is lost", { skip, timeout: 120_000 }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  const directory = await mountVolume(sim, "base", { size: "64MB" });
  const load = fio(directory, 12);
  for (let round = 1; round <= 6; round++) {
    write(directory, "round", String(round));
    const snapshot = sim.cli("snapshot", "create", `base=s${round}`);
    await pause(random() * 400);
    if (round % 2 === 1) await sim.restart("SIGKILL");
    else {
      const { volumes } = await sim.json<Status>("status");
      killHard(volumes.find(({ name }) => name === "base")?.enginePid ?? 0);
    }
    const made = (await snapshot).code === 0;
    write(directory, "after", String(round));
    if (!made) continue;
    t.equal(read(await mountAgain(sim, `s${round}`, "test"), "round"), String(round));
    await unmount(sim, `s${round}`);
  }
  t.match(await load.ended, /err= 0/);
});
