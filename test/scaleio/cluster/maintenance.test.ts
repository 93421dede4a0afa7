import fs from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import path from "node:path";
import t, { type Test } from "tap";
import type { CapacityStates } from "../../../src/scaleio/model.ts";
import { call } from "../../helpers/plugin-client.ts";
import { requiresFuse, requiresRoot } from "../../helpers/requires.ts";
import { type Sim, startSim } from "../../helpers/sim.ts";
import { waitFor } from "../../helpers/wait.ts";
import { CONFIG, cli, dropCaches, type Layout, mountAgain, mountVolume, random, seed, status } from "./load.ts";

t.comment(`KILL_SEED=${seed}`);
const skip = requiresRoot() || requiresFuse();

const MIB = 1024 * 1024;
const BLOCK = 4096;
/** Of the file: as many as make sure that every two nodes have some in common, of both kinds. */
const PIECES = 96;

type Pool = CapacityStates & { health: string; usedBytes: number; rebuildBytes: number };
const pool = async (sim: Sim) => (await sim.json<{ pools: [Pool] }>("status")).pools[0];
const healthy = (sim: Sim) =>
  waitFor(async () => (await pool(sim)).health === "ok", { what: "two good copies", deadline: 60_000 });
const layout = (sim: Sim) => sim.json<Layout>("volume", "inspect", "v", "--chunks");
const settled = (sim: Sim) =>
  waitFor(
    async () => (await layout(sim)).chunks.every(({ third, stale }) => third === undefined && stale.length === 0),
    { what: "the stand-ins to go", deadline: 60_000 },
  );

/** A file of 4 KiB that count in every MiB of it: who writes one waits until it is on disk. */
class Pieces {
  readonly #versions = new Uint8Array(PIECES).fill(1);
  readonly #file: string;
  #handle: FileHandle | undefined;

  constructor(directory: string) {
    this.#file = path.join(directory, "pieces");
    fs.writeFileSync(this.#file, Buffer.alloc(PIECES * MIB, 1), { flush: true });
  }

  async open(): Promise<void> {
    this.#handle = await open(this.#file, fs.constants.O_RDWR | fs.constants.O_DSYNC);
  }

  async close(): Promise<void> {
    await this.#handle?.close().catch(() => undefined);
    this.#handle = undefined;
  }

  async write(piece: number): Promise<void> {
    const version = (this.#versions[piece] as number) + 1;
    await (this.#handle as FileHandle).write(Buffer.alloc(BLOCK, version), 0, BLOCK, piece * MIB);
    this.#versions[piece] = version;
  }

  /** Pieces that cannot be read. Throws at one that holds something else. */
  async unreadable(): Promise<number[]> {
    // What the file system knows of the file stays known: only what the pieces hold is looked for.
    fs.writeFileSync("/proc/sys/vm/drop_caches", "1");
    const failed: number[] = [];
    for (let piece = 0; piece < PIECES; piece++) {
      const buffer = Buffer.alloc(BLOCK);
      try {
        await (this.#handle as FileHandle).read(buffer, 0, BLOCK, piece * MIB);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EIO") throw error;
        failed.push(piece);
        continue;
      }
      if (!buffer.every((byte) => byte === this.#versions[piece])) throw new Error(`piece ${piece} holds ${buffer[0]}`);
    }
    return failed;
  }

  /** Whether all of the file is as it should be, there. */
  isWhole(directory: string): boolean {
    dropCaches();
    const content = fs.readFileSync(path.join(directory, "pieces"));
    return this.#versions.every((version, piece) => {
      const [at, end] = [piece * MIB + BLOCK, (piece + 1) * MIB];
      return (
        content.subarray(at - BLOCK, at).every((byte) => byte === version) &&
        content.subarray(at, end).every((byte) => byte === 1)
      );
    });
  }
}

t.test(
  "a node rests, and the node of the other copies is lost: what was written meanwhile is there, and the rest when either is back",
  { skip, timeout: 240_000 },
  async (t) => {
    const sim = await startSim(t, { config: CONFIG });
    let directory = await mountVolume(sim, "v", { size: "128MB" });
    const pieces = new Pieces(directory);
    for (const first of ["sds-2", "sds-1"]) {
      await t.test(`${first} is back first`, async (t) => {
        const before = await pool(sim);
        await cli(sim, "sds", "maintenance", "sds-1");
        const prepared = await layout(sim);
        const onFirst = prepared.chunks.filter(({ primary, secondary }) => [primary, secondary].includes("sds-1"));
        t.ok(onFirst.length > 40 && onFirst.every(({ third }) => third !== undefined), "every copy has a stand-in");
        t.match(await pool(sim), { rebuildBytes: 0, degradedHealthyBytes: 0, semiProtectedBytes: 0 });
        await pieces.open();
        t.teardown(() => pieces.close());
        const written = [...Array(PIECES).keys()].filter(() => random() < 0.4);
        for (const piece of written) await pieces.write(piece);
        const meanwhile = await pool(sim);
        t.ok(meanwhile.inMaintenanceBytes > 0 && meanwhile.inMaintenanceBytes < prepared.sizeBytes);
        const { usedBytes } = meanwhile;
        t.ok(usedBytes - before.usedBytes < (written.length + 16) * MIB, "nothing else has been copied");
        // A volume that is made now has two copies of everything.
        const fresh = await mountVolume(sim, `fresh-${first}`, { size: "64MB" });
        fs.writeFileSync(path.join(fresh, "file"), Buffer.alloc(20 * MIB, 7), { flush: true });

        await cli(sim, "sds", "stop", "sds-2");
        const failed = await pieces.unreadable();
        t.ok(failed.length > 0, `${failed.length} pieces wait`);
        t.same(
          failed.filter((piece) => written.includes(piece)),
          [],
          "none of those that were written",
        );
        dropCaches();
        t.ok(fs.readFileSync(path.join(fresh, "file")).every((byte) => byte === 7));
        t.equal((await status(sim)).health, "failed");

        await cli(sim, "sds", "start", first);
        t.same(await pieces.unreadable(), [], "all of it is there when one is back");
        await pieces.close();
        await cli(sim, "sds", "start", first === "sds-1" ? "sds-2" : "sds-1");
        await call(sim.socket, "Unmount", { Name: "v", ID: "test" });
        // The file system may have given up meanwhile.
        directory = await mountAgain(sim, "v", "test");
        await healthy(sim);
        t.ok(pieces.isWhole(directory));
        await settled(sim);
        t.ok(fs.readFileSync(path.join(fresh, "file")).every((byte) => byte === 7));
        for (const [name, id] of [
          ["v", "test"],
          [`fresh-${first}`, "test"],
        ] as const) {
          await call(sim.socket, "Unmount", { Name: name, ID: id });
          t.match(await sim.cli("volume", "scan", name), { code: 0, stderr: /nothing found/ }, "in both copies");
        }
        directory = await mountAgain(sim, "v", "test");
      });
    }
  },
);

/** Volume v is in use, with pieces; volume shelf was, and nobody has it mounted. */
async function withShelf(t: Test) {
  const sim = await startSim(t, { config: CONFIG });
  const shelf = await mountVolume(sim, "shelf", { size: "64MB" });
  fs.writeFileSync(path.join(shelf, "file"), Buffer.alloc(20 * MIB, 7), { flush: true });
  await call(sim.socket, "Unmount", { Name: "shelf", ID: "test" });
  const directory = await mountVolume(sim, "v", { size: "128MB" });
  const pieces = new Pieces(directory);
  await pieces.open();
  t.teardown(() => pieces.close());
  return { sim, directory, pieces };
}

/** Whether shelf, which is mounted here, is as it should be. */
function isShelf(directory: string): boolean {
  dropCaches();
  return fs.readFileSync(path.join(directory, "file")).every((byte) => byte === 7);
}

t.test(
  "maintenance of one node after the other, a volume in use and another one not",
  { skip, timeout: 240_000 },
  async (t) => {
    const { sim, directory, pieces } = await withShelf(t);
    for (const node of ["sds-1", "sds-2", "sds-3", "sds-4"]) {
      const before = await pool(sim);
      await cli(sim, "sds", "maintenance", node);
      for (let i = 0; i < 10; i++) await pieces.write(Math.floor(random() * PIECES));
      if (node === "sds-2") await sim.restart("SIGKILL");
      await cli(sim, "sds", "start", node, "--wait");
      await settled(sim);
      // The retired copies' space is given back a little later.
      await waitFor(async () => Math.abs((await pool(sim)).usedBytes - before.usedBytes) < MIB, {
        what: "as much to be used as before",
        deadline: 60_000,
      });
    }
    t.same(await pieces.unreadable(), []);
    const orders = await Promise.all(["sds-1", "sds-2"].map((node) => sim.cli("sds", "maintenance", node)));
    t.same(orders.map(({ code }) => code).sort(), [0, 1], "one at a time");
    t.match(orders.map(({ stderr }) => stderr).join(""), /sds-\d cannot go into maintenance/);
    for (const node of ["sds-1", "sds-2"]) await cli(sim, "sds", "start", node);
    await healthy(sim);
    await settled(sim);
    await cli(sim, "sds", "stop", "sds-4");
    t.ok(pieces.isWhole(directory));
    t.ok(isShelf(await mountAgain(sim, "shelf", "again")));
  },
);

t.test(
  "a node that was in maintenance is stopped: what has stood in for it is completed, and the next loss costs nothing",
  { skip, timeout: 120_000 },
  async (t) => {
    const { sim, directory, pieces } = await withShelf(t);
    await cli(sim, "sds", "maintenance", "sds-1");
    for (let piece = 0; piece < PIECES; piece += 5) await pieces.write(piece);
    await cli(sim, "sds", "stop", "sds-1");
    await healthy(sim);
    await settled(sim);
    await cli(sim, "sds", "stop", "sds-2");
    t.same(await pieces.unreadable(), []);
    t.ok(isShelf(await mountAgain(sim, "shelf", "again")));
    await healthy(sim);
    for (const node of ["sds-1", "sds-2"]) await cli(sim, "sds", "start", node, "--wait");
    t.ok(pieces.isWhole(directory));
  },
);
