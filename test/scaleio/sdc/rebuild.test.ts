import t from "tap";
import { BlockStore } from "../../../src/scaleio/sdc/block-store.ts";
import { Intent } from "../../../src/scaleio/sdc/intent.ts";
import { createLedger } from "../../../src/scaleio/sdc/ledger.ts";
import type { Session } from "../../../src/scaleio/sdc/session.ts";
import { SimulatedDisk } from "./simulation/disk.ts";

const MIB = 1024 * 1024;
const CHUNKS = 8;
const BACK = "/sds/1/l.vol";

/** A volume with a copy of every chunk on each of two devices, full of ones, the second device away. */
function volume(checksum: boolean) {
  // What a failed sync was about is gone.
  const disk = new SimulatedDisk(() => 0.9);
  createLedger(disk, "/rec", "l", CHUNKS, 1);
  Intent.create(disk, "/rec");
  for (const device of [0, 1]) {
    disk.labels.add(`/sds/${device}/device.json`);
    for (const name of ["l.vol", "l.vol.sum"]) disk.close(disk.open(`/sds/${device}/${name}`, { create: true }));
  }
  const session = (mapVersion: number, ...states: readonly ("up" | "stopped")[]): Session => ({
    ...{
      format: 1,
      volumeId: "l",
      layerId: "l",
      sizeBytes: CHUNKS * MIB,
      mapVersion,
      firstGroup: 0,
      recordDir: "/rec",
    },
    devices: states.map((state, device) => ({
      name: `${device}`,
      file: `/sds/${device}/l.vol`,
      state,
    })),
    groups: [0, 1, -1, 0],
    ...{ lower: [], absorb: 0, giveUp: true, checksum, limits: { iops: 0, bytesPerSecond: 0 } },
  });
  const store = new BlockStore(disk, session(1, "up", "up"), () => 0);
  while (store.work(CHUNKS) > 0);
  store.write(Buffer.alloc(CHUNKS * MIB, 1), 0, 0, CHUNKS * MIB);
  store.flush();
  store.reload(session(2, "up", "stopped"));
  const back = () => {
    disk.changed.clear();
    store.reload(session(3, "up", "up"));
    while (store.work(CHUNKS) > 0);
    return store.status().staleCopies;
  };
  /** The engine is killed; another one begins. */
  const killed = (...states: Parameters<typeof session>) => {
    disk.crash();
    return new BlockStore(disk, session(...states), () => 0);
  };
  return { disk, store, session, killed, back };
}

/** Whether all of it reads as ones. */
function isWhole(store: BlockStore): boolean {
  const read = Buffer.alloc(CHUNKS * MIB);
  store.read(read, 0, 0, read.length);
  return read.every((byte) => byte === 1);
}

for (const checksum of [false, true]) {
  const how = checksum ? "with checksums" : "without checksums";

  t.test(`a device that comes back gets what it has missed, and no more, ${how}`, async (t) => {
    const { disk, store, back } = volume(checksum);
    store.write(Buffer.alloc(8192, 2), 0, 3 * MIB + 4096, 8192);
    store.write(Buffer.alloc(4096, 2), 0, 6 * MIB, 4096);
    t.equal(back(), 0);
    t.same([...(disk.changed.get(BACK) ?? [])].sort(), [3, 6], "the chunks that were written meanwhile");
    const copy = Buffer.alloc(MIB);
    disk.peek(BACK, copy, 3 * MIB);
    t.equal(copy.filter((byte) => byte === 2).length, 8192);
  });

  t.test(`what was discarded while a device was away takes no space on it when it is back, ${how}`, async (t) => {
    const { disk, store, back } = volume(checksum);
    store.zero(2 * MIB, 3 * MIB);
    t.equal(back(), 0);
    for (const device of [0, 1]) t.equal(disk.heldIn(`/sds/${device}/l.vol`, 2 * MIB, 3 * MIB), 0, `device ${device}`);
    const read = Buffer.alloc(MIB, 7);
    for (const chunk of [2, 3, 4]) {
      store.read(read, 0, chunk * MIB, MIB);
      t.ok(read.every((byte) => byte === 0));
    }
    store.read(read, 0, 5 * MIB, MIB);
    t.ok(read.every((byte) => byte === 1));
  });

  for (const first of [0, 1]) {
    t.test(
      `both devices are away when the engine is killed: device ${first} comes back and has all, ${how}`,
      async (t) => {
        const { store, session, killed } = volume(checksum);
        store.reload(session(3, "stopped", "stopped"));
        const next = killed(3, "stopped", "stopped");
        t.throws(() => next.flush(), { code: "unavailable" }, "nobody knows what is on their disks");
        next.reload(first === 0 ? session(4, "up", "stopped") : session(4, "stopped", "up"));
        t.ok(isWhole(next));
        next.reload(session(5, "up", "up"));
        while (next.work(CHUNKS) > 0);
        next.flush();
        t.match(next.status(), { staleCopies: 0, unsyncedChunks: 0 });
      },
    );
  }

  t.test(
    `an engine finds one device away and the other unable to sync: the one that is back has all, ${how}`,
    async (t) => {
      const { disk, store, session, killed, back } = volume(checksum);
      t.equal(back(), 0);
      store.write(Buffer.alloc(8192, 2), 0, 0, 8192);
      store.write(Buffer.alloc(8192, 1), 0, 0, 8192);
      // It syncs what it leaves.
      store.reload(session(4, "up", "stopped"));
      disk.brokenSyncs.add("/sds/0/");
      const next = killed(4, "up", "stopped");
      t.throws(() => next.flush(), { code: "unavailable" });
      next.reload(session(5, "up", "up"));
      next.flush();
      t.ok(isWhole(next));
    },
  );
}
