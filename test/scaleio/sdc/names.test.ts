import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { makeDirectory } from "../../../src/lib/make-directory.ts";
import { BlockStore } from "../../../src/scaleio/sdc/block-store.ts";
import { createRecords } from "../../../src/scaleio/sdc/books.ts";
import { Intent } from "../../../src/scaleio/sdc/intent.ts";
import { Layout } from "../../../src/scaleio/sdc/layout.ts";
import { createLedger } from "../../../src/scaleio/sdc/ledger.ts";
import type { Session } from "../../../src/scaleio/sdc/session.ts";
import { tempDir } from "../../helpers/temp-dir.ts";
import { SimulatedDisk } from "./simulation/disk.ts";

const MIB = 1024 * 1024;

t.test("a copy that was made anew does not go with its file's name when power is lost", async (t) => {
  // Everything that was not synced is lost.
  const disk = new SimulatedDisk(() => 0.5 - Number.EPSILON);
  const file = (device: number) => `/sds/${device}/l.vol`;
  for (const device of [0, 1]) disk.labels.add(`/sds/${device}/device.json`);
  createLedger(disk, "/rec", "l", 1, 1);
  Intent.create(disk, "/rec");
  disk.close(disk.open(file(0), { create: true }));
  for (const directory of ["/rec", "/sds/0"]) disk.syncDirectory(directory);
  const session = (first: "up" | "stopped"): Session => ({
    ...{ format: 1, volumeId: "l", layerId: "l", sizeBytes: MIB, mapVersion: 1, firstGroup: 0, recordDir: "/rec" },
    devices: [first, "up" as const].map((state, device) => ({ name: `${device}`, file: file(device), state })),
    groups: [0, 1, -1, 0],
    ...{ lower: [], absorb: 0, giveUp: true, checksum: false, limits: { iops: 0, bytesPerSecond: 0 } },
  });
  const store = new BlockStore(disk, session("up"), () => 0);
  while (store.work(1) > 0);
  t.equal(store.status().staleCopies, 0, "the second device has had no file, and has a good copy now");
  store.reload(session("stopped"));
  const text = Buffer.alloc(4096, "only there ");
  store.write(text, 0, 0, text.length);
  store.flush();
  disk.powerLoss();
  const found = Buffer.alloc(text.length);
  new BlockStore(disk, session("stopped"), () => 0).read(found, 0, 0, found.length);
  t.ok(found.equals(text));
});

t.test("directories are synced after names have been made in them", async (t) => {
  const dir = tempDir("names");
  const { fsyncSync } = fs;
  t.teardown(() => {
    fs.fsyncSync = fsyncSync;
    fs.rmSync(dir, { recursive: true, force: true });
  });
  /** What each directory held when it was synced last. */
  const synced = new Map<string, string[]>();
  fs.fsyncSync = (fd) => {
    const place = fs.readlinkSync(`/proc/self/fd/${fd}`);
    if (fs.statSync(place).isDirectory()) synced.set(path.relative(dir, place), fs.readdirSync(place).sort());
    fsyncSync(fd);
  };
  makeDirectory(path.join(dir, "a/b/c"));
  t.same(
    [...synced],
    [
      ["a/b", ["c"]],
      ["a", ["b"]],
      ["", ["a"]],
    ],
  );
  synced.clear();
  makeDirectory(path.join(dir, "a/b/c"));
  t.same([...synced], [], "what is there costs nothing");
  const layout = new Layout({ sizeBytes: MIB, firstGroup: 0 }, [0, 1, -1, 0]);
  createRecords(dir, { id: "l", layout, mapVersion: 1, hasFile: () => true });
  const records = fs.readdirSync(path.join(dir, "sdc/l")).sort();
  t.same(synced.get("sdc/l"), records, `${records}`);
  t.same(synced.get("sdc"), ["l"]);
});
