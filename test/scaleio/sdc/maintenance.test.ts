import t from "tap";
import { CHUNKS, MIB, TwoDevices } from "./two-devices.ts";

// The second device rests, and the third one stands in for it.
const REFUSED = { code: "unavailable" };

function resting(checksum: boolean): TwoDevices {
  const volume = new TwoDevices(checksum);
  volume.groups = [0, 1, 2, 0];
  volume.become("up", "resting", "up");
  volume.disk.changed.clear();
  return volume;
}

/** The chunks of a device in which something has changed. */
const changed = ({ disk }: TwoDevices, device: number) => [...(disk.changed.get(`/sds/${device}/l.vol`) ?? [])].sort();

for (const checksum of [false, true]) {
  const how = checksum ? "with checksums" : "without checksums";

  t.test(
    `what is written has two copies, nothing else is copied, and the loss of the other one costs the rest only, ${how}`,
    async (t) => {
      const volume = resting(checksum);
      t.equal(volume.store.work(CHUNKS), 0);
      t.match(volume.store.status(), { staleCopies: 0, degradedChunks: 0 }, "nothing is to be made good");
      volume.fill(2, 3 * MIB + 4096, 8192);
      volume.fill(3, 3 * MIB + 8192, 4096);
      volume.fill(2, 6 * MIB - 4096, 8192);
      t.equal(volume.store.status().staleCopies, 3, "what rests has missed it");
      volume.work();
      t.same(changed(volume, 2), [3, 5, 6]);
      volume.store.flush();

      volume.become("stopped", "resting", "up");
      t.ok(volume.holds(2, 3 * MIB + 4096, 4096) && volume.holds(3, 3 * MIB + 8192, 4096));
      t.ok(volume.holds(1, 3 * MIB, 4096) && volume.holds(1, 3 * MIB + 12288, MIB - 12288));
      t.ok(volume.holds(2, 6 * MIB - 4096, 8192));
      t.throws(() => volume.holds(1, 0, 4096), REFUSED, "what was not written waits");
      t.throws(() => volume.fill(4, 0, 4096), REFUSED);
      volume.fill(4, 3 * MIB, 4096);
      volume.kill("stopped", "resting", "up");
      t.ok(volume.holds(4, 3 * MIB, 4096));

      volume.become("stopped", "up", "up");
      volume.work();
      t.ok(volume.holds(1, 0, 3 * MIB) && volume.holds(4, 3 * MIB, 4096), "what has rested has the rest");
      volume.become("up", "up", "up");
      volume.work();
      t.match(volume.store.status(), { staleCopies: 0, unsyncedChunks: 0 });
      for (const states of [
        ["up", "stopped", "stopped"],
        ["stopped", "up", "stopped"],
        ["stopped", "stopped", "up"],
      ] as const) {
        volume.become(...states);
        t.ok(volume.holds(4, 3 * MIB, 4096) && volume.holds(3, 3 * MIB + 8192, 4096) && volume.holds(2, 6 * MIB, 4096));
        t.ok(volume.holds(1, 0, 3 * MIB) && volume.holds(1, 7 * MIB, MIB));
      }
    },
  );

  t.test(`when it is back it gets what it has missed, and the stand-in goes, ${how}`, async (t) => {
    const volume = resting(checksum);
    volume.fill(2, 3 * MIB, 4096);
    volume.disk.changed.clear();
    volume.groups = [0, 1, 2, 4];
    volume.become("up", "up", "up");
    volume.work();
    t.same(changed(volume, 1), [3]);
    t.match(volume.store.status(), { staleCopies: 0, garbage: 0 });
    t.equal(volume.disk.heldIn("/sds/2/l.vol", 0, CHUNKS * MIB), 0, "what is given up takes no space");
    volume.become("stopped", "up", "up");
    t.ok(volume.holds(2, 3 * MIB, 4096) && volume.holds(1, 0, 3 * MIB));
  });

  t.test(`what is discarded has two copies soon, ${how}`, async (t) => {
    const volume = resting(checksum);
    volume.store.zero(2 * MIB - 65536, 2 * MIB);
    for (const [chunk, bytes] of [
      [1, MIB - 65536],
      [2, 0],
      [3, 65536],
    ] as const)
      t.equal(
        volume.disk.heldIn("/sds/2/l.vol", chunk * MIB, MIB) * 512,
        bytes,
        "what stays of a chunk is copied first",
      );
    volume.work();
    volume.become("stopped", "resting", "up");
    t.ok(volume.holds(0, 2 * MIB - 65536, 2 * MIB));
    t.ok(volume.holds(1, MIB, MIB - 65536) && volume.holds(1, 4 * MIB - 65536, 65536));
  });

  t.test(`a stand-in that fails costs nothing, ${how}`, async (t) => {
    for (const broken of ["brokenWrites", "brokenReads", "brokenSyncs", "brokenSums"] as const) {
      const volume = resting(checksum);
      volume.disk[broken].add("/sds/2/");
      volume.fill(2, 3 * MIB, 4096);
      volume.store.flush();
      volume.disk.repair("/sds/2/");
      volume.become("up", "resting", "failed");
      volume.become("up", "resting", "up");
      volume.work();
      volume.become("stopped", "resting", "up");
      t.ok(volume.holds(2, 3 * MIB, 4096), `${broken}: when it is well it has it`);
      volume.become("up", "up", "up");
      volume.work();
      t.ok(volume.holds(2, 3 * MIB, 4096) && volume.holds(1, 4 * MIB, 4 * MIB));
    }
  });

  t.test(`a copy that was to be given up takes writes until the device is back, ${how}`, async (t) => {
    const volume = new TwoDevices(checksum);
    volume.groups = [0, 1, 2, 0];
    volume.become("up", "up", "up");
    volume.work();
    volume.groups = [0, 1, 2, 1];
    volume.become("up", "resting", "up");
    volume.work();
    volume.fill(2, 3 * MIB, 4096);
    volume.work();
    volume.become("up", "resting", "stopped");
    t.ok(volume.holds(2, 3 * MIB, 4096));
    volume.become("up", "up", "up");
    volume.work();
    t.match(volume.store.status(), { staleCopies: 0, garbage: 0 });
    t.equal(volume.disk.heldIn("/sds/0/l.vol", 0, CHUNKS * MIB), 0);
    volume.become("stopped", "up", "stopped");
    t.ok(volume.holds(2, 3 * MIB, 4096) && volume.holds(1, 4 * MIB, 4 * MIB));
  });

  t.test(
    `an engine that is killed at any moment of the first write to a chunk has old or new, and no less, ${how}`,
    async (t) => {
      for (let after = 0, done = false; !done; after++) {
        const volume = resting(checksum);
        volume.disk.killAfter = after;
        try {
          volume.fill(2, 3 * MIB, 4096);
          done = true;
        } catch {
          // Killed.
        }
        volume.kill("up", "resting", "up");
        const isNew = volume.holds(2, 3 * MIB, 4096);
        if (!(isNew || (!done && volume.holds(1, 3 * MIB, 4096)))) t.fail(`after ${after} operations`);
        volume.work();
        volume.store.flush();
        volume.become("stopped", "resting", "up");
        const isThere = done || volume.disk.heldIn("/sds/2/l.vol", 3 * MIB, MIB) > 0;
        try {
          if (!volume.holds(isNew ? 2 : 1, 3 * MIB, 4096) || !volume.holds(1, 3 * MIB + 4096, MIB - 4096))
            t.fail(`after ${after}`);
        } catch (error) {
          // What was not acknowledged may never have begun.
          if (done || !isThere) throw error;
        }
      }
    },
  );
}

t.test(
  "the other one fails meanwhile, and can be read: the copies of the third one are completed from it",
  async (t) => {
    const volume = resting(false);
    volume.become("failed", "resting", "up");
    volume.work();
    volume.fill(2, 0, 4096);
    volume.become("stopped", "resting", "up");
    t.ok(volume.holds(2, 0, 4096) && volume.holds(1, MIB, MIB));
  },
);

t.test("a copy that is to be given up rests, and one that is to stay is away: the third one is enough", async (t) => {
  const volume = new TwoDevices(false);
  volume.groups = [0, 1, 2, 0];
  volume.become("up", "up", "up");
  volume.work();
  volume.groups = [0, 1, 2, 2];
  volume.become("stopped", "resting", "up");
  volume.work();
  t.equal(volume.store.status().garbage, 0);
});
