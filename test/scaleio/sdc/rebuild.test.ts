import t from "tap";
import { BlockStore } from "../../../src/scaleio/sdc/block-store.ts";
import { Intent } from "../../../src/scaleio/sdc/intent.ts";
import { createLedger } from "../../../src/scaleio/sdc/ledger.ts";
import type { Session } from "../../../src/scaleio/sdc/session.ts";
import { SimulatedDisk } from "./simulation/disk.ts";

const MIB = 1024 * 1024;
const CHUNKS = 8;
const BACK = "/sds/1/l.vol";

/** A volume with a copy of every chunk on each of two devices. */
function volume(checksum: boolean) {
  const disk = new SimulatedDisk(() => 0.5);
  createLedger(disk, "/rec", "l", CHUNKS, 1);
  Intent.create(disk, "/rec");
  for (const device of [0, 1]) {
    disk.labels.add(`/sds/${device}/device.json`);
    for (const name of ["l.vol", "l.vol.sum"]) disk.close(disk.open(`/sds/${device}/${name}`, { create: true }));
  }
  const session = (mapVersion: number, second: "up" | "stopped"): Session => ({
    ...{
      format: 1,
      volumeId: "l",
      layerId: "l",
      sizeBytes: CHUNKS * MIB,
      mapVersion,
      firstGroup: 0,
      recordDir: "/rec",
    },
    devices: (["up", second] as const).map((state, device) => ({
      name: `${device}`,
      file: `/sds/${device}/l.vol`,
      state,
    })),
    groups: [0, 1, -1, 0],
    ...{ lower: [], absorb: 0, giveUp: true, checksum, limits: { iops: 0, bytesPerSecond: 0 } },
  });
  const store = new BlockStore(disk, session(1, "up"), () => 0);
  while (store.work(CHUNKS) > 0);
  store.write(Buffer.alloc(CHUNKS * MIB, 1), 0, 0, CHUNKS * MIB);
  store.flush();
  store.reload(session(2, "stopped"));
  const back = () => {
    disk.changed.clear();
    store.reload(session(3, "up"));
    while (store.work(CHUNKS) > 0);
    return store.status().staleCopies;
  };
  return { disk, store, back };
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
}
