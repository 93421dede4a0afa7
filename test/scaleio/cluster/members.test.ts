import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import t from "tap";
import type { CapacityStates } from "../../../src/scaleio/model.ts";
import { call } from "../../helpers/plugin-client.ts";
import { requiresFuse, requiresRoot } from "../../helpers/requires.ts";
import { type Sim, startSim } from "../../helpers/sim.ts";
import { waitFor } from "../../helpers/wait.ts";
import {
  CONFIG,
  dropCaches,
  endFio,
  fio,
  type Layout,
  lastingFio,
  mountAgain,
  mountVolume,
  random,
  seed,
} from "./load.ts";

t.comment(`KILL_SEED=${seed}`);
const skip = requiresRoot() || requiresFuse();

interface Status {
  health: string;
  reasons: string[];
  pools: { health: string }[];
  sds: { name: string; devices: string[] }[];
}
const status = (sim: Sim) => sim.json<Status>("status");
const hashOf = (file: string) => createHash("sha256").update(fs.readFileSync(file)).digest("hex");
const layout = (sim: Sim, name: string) => sim.json<Layout>("volume", "inspect", name, "--chunks");
const nodesOf = ({ chunks }: Layout) => [...new Set(chunks.flatMap(({ primary, secondary }) => [primary, secondary]))];
const settled = ({ chunks }: Layout) => chunks.every(({ third, stale }) => third === undefined && stale.length === 0);

/** Copies move slowly enough under load for a daemon to be killed meanwhile, and for the time left to be told. */
const SLOWLY = `${CONFIG}  rebalancePolicy: {policy: favorAppIos, bandwidthKbps: 4096}\n`;

/** What a command says that waits for copies to move: how much that is still, and for how long. */
const TIME_LEFT = /\nrebalance: (\d+ % done, )?[\d.]+ [KMG]iB to do, \d+ (s|min|h) left\n/;

/** The places of each group's copies, by the map that the volume's engine goes by; also those that are to go. */
function mapOf(sim: Sim, id: string): number[][] {
  const session = fs.readFileSync(path.join(sim.runDir, "sdc", id, "session.json"), "utf8");
  const { groups } = JSON.parse(session) as { groups: number[] };
  return Array.from({ length: groups.length / 4 }, (_, number) =>
    groups.slice(4 * number, 4 * number + 3).filter((place) => place >= 0),
  );
}

/** Whether so many equal devices have their shares to 5 %, and nothing is on its way. */
function isEven(map: number[][], devices: number): boolean {
  const share = (map.length * 2) / devices;
  const held = Array.from({ length: devices }, (_, device) => map.filter((group) => group.includes(device)).length);
  return map.every(({ length }) => length === 2) && held.every((copies) => Math.abs(copies / share - 1) <= 0.05);
}

/** Random bytes in a new file; answers the way to check it, there or in another directory. */
function write(directory: string, name: string): (where?: string) => boolean {
  const file = path.join(directory, name);
  const fd = fs.openSync(file, "w");
  fs.writeSync(fd, Buffer.from(Array.from({ length: 3_000_000 }, () => Math.floor(random() * 256))));
  fs.fsyncSync(fd);
  fs.closeSync(fd);
  const before = hashOf(file);
  return (where = directory) => {
    dropCaches();
    return hashOf(path.join(where, name)) === before;
  };
}

t.test(
  "a node is lost for good: all copies are made anew elsewhere, and the next loss costs nothing",
  { skip, timeout: 120_000 },
  async (t) => {
    const sim = await startSim(t, { config: CONFIG });
    const shelf = await mountVolume(sim, "shelf", { size: "64MB" });
    const onShelf = write(shelf, "kept");
    await call(sim.socket, "Unmount", { Name: "shelf", ID: "test" });
    const directory = await mountVolume(sim, "busy", { size: "128MB" });
    const intact = write(directory, "before");

    const load = fio(directory, 6);
    t.equal((await sim.cli("sds", "stop", "sds-2")).code, 0);
    const meanwhile = write(directory, "meanwhile");
    await waitFor(async () => (await status(sim)).pools[0]?.health === "ok", {
      what: "two good copies of every chunk",
      deadline: 60_000,
    });
    t.equal((await status(sim)).health, "degraded", "a node is down, and the status says so");
    for (const name of ["busy", "shelf"]) {
      await waitFor(async () => settled(await layout(sim, name)), { what: `${name} to be settled`, deadline: 30_000 });
      t.notOk(nodesOf(await layout(sim, name)).includes("sds-2"), `${name} does not need sds-2 any more`);
    }
    await load.ended;

    t.equal((await sim.cli("sds", "stop", "sds-3")).code, 0);
    t.ok(intact() && meanwhile(), "readable without the second node");
    t.ok(onShelf(await mountAgain(sim, "shelf", "again")));
    t.equal((await sim.cli("sds", "start", "sds-3", "--wait")).code, 0);
    t.equal((await sim.cli("sds", "start", "sds-2", "--wait")).code, 0);
    await waitFor(async () => nodesOf(await layout(sim, "busy")).length === 4, {
      what: "copies to go back to sds-2",
      deadline: 60_000,
    });
    t.ok(intact() && meanwhile());
  },
);

t.test(
  "under load a node is added and another one removed, with the daemon killed in between",
  { skip, timeout: 180_000 },
  async (t) => {
    const sim = await startSim(t, { config: SLOWLY });
    const directory = await mountVolume(sim, "moving", { size: "128MB" });
    const intact = write(directory, "file");
    const load = await lastingFio(t, directory);
    const { id } = await layout(sim, "moving");
    const before = mapOf(sim, id);
    t.equal((await sim.cli("sds", "add", "sds-5")).code, 0);
    const after = await waitFor(() => isEven(mapOf(sim, id), 5) && mapOf(sim, id), {
      what: "all five to have their shares",
      deadline: 60_000,
    });
    const moved = after.flatMap((group, number) => group.filter((place) => !before[number]?.includes(place))).length;
    const least = (after.length * 2) / 5;
    t.ok(moved <= least * 1.05 + 1, `${moved} copies moved, ${least} are the least`);
    const { sds } = await status(sim);
    const place = sds.find(({ name }) => name === "sds-1")?.devices[0] as string;
    t.equal((await sim.cli("sds", "remove", "sds-1")).code, 0);
    await sim.restart("SIGKILL");
    await waitFor(async () => !(await status(sim)).sds.some(({ name }) => name === "sds-1"), {
      what: "sds-1 to be gone",
      deadline: 60_000,
    });
    // From before the one came until after the other has gone.
    await load.end();
    t.notOk(fs.existsSync(place), "nothing of it is left");
    await waitFor(async () => (await status(sim)).health === "ok", { what: "health", deadline: 30_000 });
    t.ok(intact());
    t.notOk(nodesOf(await layout(sim, "moving")).includes("sds-1"));

    await t.test("a second volume is made on the new map, and read back after a remount", async (t) => {
      const fresh = await mountVolume(sim, "fresh", { size: "64MB" });
      const good = write(fresh, "f");
      await call(sim.socket, "Unmount", { Name: "fresh", ID: "test" });
      t.ok(good(await mountAgain(sim, "fresh", "again")));
      t.match(nodesOf(await layout(sim, "fresh")).sort(), ["sds-2", "sds-3", "sds-4", "sds-5"]);
    });

    await t.test("a removal that the rest could not bear is refused, and changes nothing", async (t) => {
      const load = await lastingFio(t, directory);
      const removed = await sim.cli("sds", "remove", "sds-2", "--wait");
      await load.end();
      t.match(removed, { code: 0, stderr: TIME_LEFT });
      t.notOk(
        (await status(sim)).sds.some(({ name }) => name === "sds-2"),
        "gone, as the command has said by its end",
      );
      const { code, stderr } = await sim.cli("sds", "remove", "sds-3");
      t.equal(code, 1);
      t.match(stderr, /sds-3 cannot be removed: 2 fault units would be left, and 3 are needed/);
      t.equal((await status(sim)).health, "ok");
    });

    await t.test("bad input", async (t) => {
      t.match((await sim.cli("sds", "add", "sds-3")).stderr, /there is an SDS called "sds-3" already/);
      t.match((await sim.cli("sds", "add", "a/b")).stderr, /"a\/b" is no name for a SDS/);
      t.match((await sim.cli("sds", "add", "x", "--size", "16xb")).stderr, /16xb/);
      t.match((await sim.cli("device", "remove", "sds-3", "none")).stderr, /has no device "none"; it has dev-1/);
      t.match((await sim.cli("sds", "remove", "none")).stderr, /no SDS is called "none"/);
    });
  },
);

t.test("maintenance: nothing is rebuilt elsewhere; what was missed is copied at the end", { skip }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  const directory = await mountVolume(sim, "m", { size: "64MB" });
  const old = write(directory, "old");
  const states = async () => (await sim.json<{ pools: CapacityStates[] }>("status")).pools[0] as CapacityStates;
  const load = fio(directory, 60);
  await waitFor(() => fs.existsSync(path.join(directory, "fio")), { what: "the load to begin" });
  t.equal((await sim.cli("sds", "maintenance", "sds-4")).code, 0);
  const meanwhile = await states();
  t.ok(meanwhile.inMaintenanceBytes > 0 && meanwhile.unreachableUnusedBytes > 0);
  t.match(meanwhile, { degradedHealthyBytes: 0, semiProtectedBytes: 0, failedBytes: 0 });
  t.ok(old(), "reads are answered by the other copies, and so are those of what is written meanwhile");
  const intact = write(directory, "f");
  t.match((await status(sim)).reasons.join(), /sds-4 is in maintenance/);
  t.match(
    (await sim.cli("sds", "maintenance", "sds-1")).stderr,
    /sds-1 cannot go into maintenance while the health is degraded/,
  );
  const before = await layout(sim, "m");
  t.ok(before.chunks.some(({ stale }) => stale.includes("sds-4")));
  t.equal((await sim.cli("sds", "start", "sds-4", "--wait")).code, 0);
  t.notOk(load.over(), "in, and out again, under load");
  const whole = await states();
  t.match(whole, { inMaintenanceBytes: 0, protectedBytes: whole.inUseBytes, unreachableUnusedBytes: 0 });
  await endFio(load);
  // What has been written to may keep its stand-in: of three complete copies the one goes that is best for balance.
  const places = ({ primary, secondary, third }: Layout["chunks"][number]) =>
    [primary, secondary, third].filter((node) => node !== undefined);
  for (const [index, chunk] of (await layout(sim, "m")).chunks.entries()) {
    const good = places(chunk).filter((node) => !chunk.stale.includes(node));
    t.ok(good.length >= 2, "what was missed is copied");
    const there = places(before.chunks[index] as Layout["chunks"][number]);
    t.ok(
      places(chunk).every((node) => there.includes(node)),
      "and nothing was rebuilt anywhere else",
    );
  }
  await sim.cli("sds", "stop", "sds-1");
  t.ok(old() && intact());
});

t.test("under load a device is added to a node, resized, and removed again", { skip, timeout: 180_000 }, async (t) => {
  const sim = await startSim(t, { config: SLOWLY });
  const directory = await mountVolume(sim, "d", { size: "64MB" });
  const intact = write(directory, "f");
  const place = path.join(sim.dir, "second-disk");
  interface Row {
    file: string;
    primaryChunks: number;
    secondaryChunks: number;
  }
  const held = async () => {
    const { devices } = await sim.json<{ devices: Row[] }>("volume", "inspect", "d");
    const there = devices.find(({ file }) => file.startsWith(place));
    return there && there.primaryChunks + there.secondaryChunks;
  };
  const load = await lastingFio(t, directory);
  const order = (...words: string[]) => sim.cli("device", ...words, "--wait");
  // Each order returns when it has been carried out, so there is nothing to be waited for.
  t.match(await order("add", "sds-1", "dev-2", "--path", place, "--size", "512GB"), { code: 0, stderr: TIME_LEFT });
  t.ok(((await held()) ?? 0) > 20, `${await held()} copies on the new device`);
  t.ok(intact());
  t.match(await order("resize", "sds-1", "dev-2", "8GB"), { code: 0, stderr: TIME_LEFT });
  t.ok(((await held()) ?? 64) < 10, `${await held()} on the smaller one`);
  t.ok(intact());
  const { id } = await layout(sim, "d");
  const groups = mapOf(sim, id).length;
  t.ok(groups > 2000, `${groups} groups: the share of so small a device is a whole number of copies to 5 %`);
  t.match((await sim.cli("device", "resize", "sds-1", "dev-2", "0")).stderr, /too small|size/);
  t.match(await order("remove", "sds-1", "dev-2"), { code: 0, stderr: /^sds-1\/dev-2 is being emptied\nhealth ok\n/ });
  t.equal(await held(), undefined, "the device is gone");
  t.notOk(fs.existsSync(place));
  await load.end();
  t.ok(intact());
});
