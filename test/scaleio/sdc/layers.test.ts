import t from "tap";
import { CHUNKS, MIB, Stack } from "./stack.ts";

// Snapshots, and the records of a layer, while devices come, go and fail.
const QUIET = 10_000;
const REFUSED = { code: "unavailable" };

for (const checksum of [false, true]) {
  const how = checksum ? "with checksums" : "without checksums";

  t.test(
    `killed while a layer is frozen, the one that has all of it is away: no flush before it is on disk, ${how}`,
    async (t) => {
      const volume = new Stack(checksum);
      volume.fill(1, 0, 4096);
      volume.store.flush();
      volume.become("stopped", "up");
      volume.fill(2, 0, 4096);
      volume.addLayer("own");
      volume.kill("up", "stopped");
      t.throws(() => volume.store.flush(), REFUSED);
      volume.become("up", "up");
      t.ok(volume.holds(2, 0, 4096));
      volume.store.flush();
      volume.powerLoss("up", "up");
      t.ok(volume.holds(2, 0, 4096));
    },
  );

  t.test(`killed while a layer is frozen, and the last one cannot sync it: one flush says so, ${how}`, async (t) => {
    const volume = new Stack(checksum);
    volume.become("up", "stopped");
    volume.fill(2, 0, 4 * MIB);
    volume.addLayer("own");
    volume.disk.brokenSyncs.add("/sds/0/");
    volume.kill("up", "stopped");
    t.match(volume.store.status().failedDevices, [{ name: "0" }], "which is reported");
    volume.disk.repair("/sds/0/");
    t.throws(() => volume.store.flush(), REFUSED);
    volume.store.flush();
    volume.become("up", "stopped");
    t.same(volume.store.status().failedDevices, [], "and no longer when it is declared well");
  });

  t.test(
    `what a flush owes is told also when engines are killed around the freezing of the layer, ${how}`,
    async (t) => {
      for (const seals of [true, false]) {
        for (let after = 0, done = false; !done; after++) {
          const volume = new Stack(checksum);
          volume.become("up", "stopped");
          volume.fill(2, 0, 4096);
          volume.disk.brokenSyncs.add("/sds/0/");
          volume.become("stopped", "stopped");
          volume.disk.repair("/sds/0/");
          volume.become("up", "stopped");
          volume.addLayer("own");
          if (seals) volume.store.seal();
          volume.disk.crash();
          volume.disk.killAfter = after;
          try {
            volume.opened();
          } catch (error) {
            if (!volume.disk.dead) throw error;
          }
          done = !volume.disk.dead;
          volume.kill("up", "stopped");
          t.throws(() => volume.store.flush(), REFUSED, `${seals ? "" : "not "}sealed, after ${after} operations`);
        }
      }
    },
  );

  t.test(
    `a device that was away when a layer was made has got its copies: they are read when the other one fails, ${how}`,
    async (t) => {
      const volume = new Stack(checksum, ["up", "stopped"]);
      volume.fill(1, 0, MIB);
      volume.freeze("own");
      volume.become("up", "up");
      const repair = volume.opened("low");
      while (repair.work(CHUNKS) > 0);
      repair.close();
      volume.disk.brokenReads.add("/sds/0/");
      t.ok(volume.holds(1, 0, MIB));
    },
  );

  t.test(`a loss is noted though the layer below cannot be opened at that moment, ${how}`, async (t) => {
    const volume = new Stack(checksum);
    volume.fill(1, 0, MIB);
    volume.freeze("own");
    volume.become("up", "stopped");
    volume.fill(2, 0, 4096);
    volume.store.flush();
    volume.become("failed", "stopped");
    volume.fill(3, 0, 4096);
    volume.disk.brokenSyncs.add("/sds/0/");
    volume.disk.brokenReads.add("/rec/low/");
    t.throws(() => volume.become("up", "stopped"), { code: "state_corrupt" });
    volume.disk.repair("/sds/0/");
    volume.disk.repair("/rec/low/");
    volume.become("up", "stopped");
    t.throws(() => volume.store.flush(), REFUSED);
    volume.store.flush();
  });

  t.test(`what of a write could not be put on record is not answered before it is, ${how}`, async (t) => {
    const volume = new Stack(checksum);
    volume.fill(1, 0, MIB);
    volume.freeze("own");
    volume.fill(2, MIB, 4096);
    volume.disk.refusedWrites.add("/rec/own/");
    t.throws(() => volume.fill(3, 0, 4096), "refused");
    t.throws(() => volume.holds(1, 0, 4096));
    volume.disk.repair("/rec/own/");
    const isThere = volume.holds(3, 0, 4096);
    volume.kill("up", "up");
    t.equal(volume.holds(3, 0, 4096), isThere, "the next engine has what has been answered");
    t.ok(volume.holds(1, 4096, MIB - 4096));
  });

  t.test(`an engine that cannot begin, or not settle what is below, leaves no file open, ${how}`, async (t) => {
    const volume = new Stack(checksum);
    volume.fill(1, 0, MIB);
    volume.addLayer("middle");
    volume.addLayer("own");
    volume.disk.crash();
    for (const records of ["low", "middle", "own"].flatMap((id) => [`${id}/ledger`, `${id}/intent`, `${id}/`])) {
      for (const broken of [volume.disk.brokenReads, volume.disk.refusedWrites]) {
        broken.add(`/rec/${records}`);
        try {
          volume.opened().close();
        } catch {
          // It depends on what is read and written when.
        }
        volume.disk.repair(`/rec/${records}`);
        t.equal(volume.disk.descriptors, 0, records);
      }
    }
  });

  t.test(
    `killed at any moment of copying up, while one cannot sync: what is there then survives a power loss, ${how}`,
    async (t) => {
      for (let after = 0, done = false; !done; after++) {
        // In memory only: what a failed sync is about.
        const volume = new Stack(checksum, ["up", "up"], 0.5);
        volume.fill(1, 0, MIB);
        volume.store.seal();
        volume.addLayer("own");
        volume.absorb = 1;
        volume.store = volume.opened();
        volume.disk.brokenSyncs.add("/sds/0/own.vol");
        volume.disk.killAfter = after;
        try {
          volume.store.work(1);
        } catch (error) {
          if (!volume.disk.dead) throw error;
        }
        done = !volume.disk.dead;
        volume.disk.repair("/sds/0/own.vol");
        volume.kill("up", "up");
        volume.work();
        volume.store.flush();
        volume.powerLoss("up", "stopped");
        if (!volume.holds(1, 0, MIB)) t.fail(`the first device's copy, killed after ${after} operations`);
        volume.become("stopped", "up");
        if (!volume.holds(1, 0, MIB)) t.fail(`the second device's copy, killed after ${after} operations`);
      }
    },
  );

  t.test(
    `one is away, the other cannot sync what a chunk above needs: that is on record when it is refused, ${how}`,
    async (t) => {
      const volume = new Stack(checksum);
      volume.fill(1, 0, CHUNKS * MIB);
      volume.freeze("own");
      volume.fill(2, 0, 4096);
      volume.store.flush();
      volume.fill(3, 0, 4096);
      // It has been synced, and has it.
      volume.become("up", "stopped");
      volume.fill(9, MIB, MIB);
      volume.store.zero(MIB, MIB);
      const mend = volume.breakSyncs("/sds/0/own.vol");
      t.throws(() => volume.fill(4, 5 * MIB, 4096), REFUSED);
      mend();
      volume.kill("up", "stopped");
      volume.become("up", "up");
      volume.work();
      t.ok(volume.holds(3, 0, 4096), "what was acknowledged");
    },
  );

  t.test(
    `a device has failed the layer below while the other one is away: nothing is given up for it, ${how}`,
    async (t) => {
      const volume = new Stack(checksum);
      volume.fill(1, 0, CHUNKS * MIB);
      volume.freeze("own");
      volume.fill(2, 5 * MIB, 4096);
      volume.store.flush();
      volume.become("up", "stopped");
      volume.disk.brokenReads.add("/sds/0/low.vol");
      t.throws(() => volume.holds(1, 0, 4096), REFUSED);
      t.throws(() => volume.fill(3, 5 * MIB, 4096), REFUSED);
      t.match(volume.store.status().failedDevices, [{ name: "0", code: "EIO" }, { name: "0" }]);
      volume.become("failed", "up");
      t.ok(volume.holds(2, 5 * MIB, 4096));
      t.ok(volume.holds(1, 0, 4096));
    },
  );

  t.test(`a damaged write-intent record: what it may have said is not taken for never written, ${how}`, async (t) => {
    const volume = new Stack(checksum);
    volume.fill(1, 0, 4096);
    volume.store.flush();
    volume.become("up", "stopped");
    volume.fill(1, 5 * MIB, 4096);
    volume.store.flush();
    volume.disk.rot("/rec/low/intent", 8192 + 20);
    volume.kill("up", "up");
    volume.work();
    volume.store.flush();
    t.equal(volume.store.status().staleCopies, 0);
    volume.become("stopped", "up");
    t.ok(volume.holds(1, 5 * MIB, 4096));
    volume.store.zero(4 * MIB, 4 * MIB);
    t.ok(volume.holds(0, 4 * MIB, 4 * MIB));
  });

  t.test(`a replica of the ledger is lost, the other one damaged: no copy is believed in, ${how}`, async (t) => {
    const volume = new Stack(checksum);
    volume.become("up", "stopped");
    volume.fill(1, 0, 4096);
    volume.disk.remove("/rec/low/ledger.1");
    volume.disk.rot("/rec/low/ledger.2", 4096 + 20);
    t.throws(() => volume.kill("up", "up"), { code: "state_corrupt" });
  });
}

for (const lower of [false, true]) {
  t.test(`each copy has a bad block, and together they have all${lower ? ", in a layer below" : ""}`, async (t) => {
    const volume = new Stack(true);
    volume.fill(1, 0, MIB);
    volume.now += QUIET;
    volume.store.flush();
    if (lower) {
      volume.freeze("own");
    }
    volume.disk.rot("/sds/0/low.vol", 100);
    volume.disk.rot("/sds/1/low.vol", 5000);
    t.ok(volume.holds(1, 0, 64 * 1024));
  });
}

t.test(
  "a discard of which one device fails, and another loses what it took before: what differs is known to",
  async (t) => {
    const volume = new Stack(false, ["up", "up", "up"], 0.5);
    volume.groups = [...[0, 1, -1, 0], ...[2, 1, -1, 0]];
    volume.become("up", "up", "up");
    volume.work();
    volume.fill(1, 0, CHUNKS * MIB);
    volume.store.seal();
    volume.addLayer("own");
    for (const name of ["own.vol", "own.vol.sum"])
      volume.disk.close(volume.disk.open(`/sds/2/${name}`, { create: true }));
    volume.store = volume.opened();
    volume.work();
    volume.fill(2, 0, 2 * MIB);
    for (const again of [true, false]) {
      volume.store.zero(6 * MIB, MIB);
      if (again) volume.fill(2, 6 * MIB, MIB);
    }
    // Chunk 2 is copied up after chunks 0 and 1 have been looked at; then the second device's punch fails.
    const mend = volume.breakSyncs("/sds/0/own.vol");
    const { punch } = volume.disk;
    let punches = 0;
    volume.disk.punch = (fd, position, length) => {
      if (length > MIB && punches++ === 1) throw Object.assign(new Error("EIO"), { code: "EIO" });
      punch.call(volume.disk, fd, position, length);
    };
    t.throws(() => volume.store.zero(0, 2.5 * MIB), REFUSED);
    mend();
    volume.disk.punch = punch;
    t.ok(punches > 1, "the second one has failed");
    const read = Buffer.alloc(1);
    const reads = () => {
      volume.store.read(read, 0, MIB, 1);
      return read[0];
    };
    const [first, second] = [1, 2].map((device) => volume.raw(`/sds/${device}/own.vol`, MIB));
    t.not(first, second, "the copies differ");
    const before = reads();
    volume.become("up", "up", "stopped");
    try {
      t.equal(reads(), before);
    } catch (error) {
      t.match(error, REFUSED);
    }
  },
);
