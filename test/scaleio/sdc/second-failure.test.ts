import t from "tap";
import { Intent } from "../../../src/scaleio/sdc/intent.ts";
import { CHUNKS, MIB, TwoDevices, torn } from "./two-devices.ts";

// One of two copies cannot be had, and something happens to the other one.
const REFUSED = { code: "unavailable" };

for (const checksum of [false, true]) {
  const how = checksum ? "with checksums" : "without checksums";

  for (const first of [0, 1]) {
    t.test(`both are away when the engine is killed: device ${first} comes back and has all, ${how}`, async (t) => {
      const volume = new TwoDevices(checksum);
      volume.become("up", "stopped");
      volume.become("stopped", "stopped");
      volume.kill("stopped", "stopped");
      t.throws(() => volume.store.flush(), REFUSED, "nobody knows what is on their disks");
      if (first === 0) volume.become("up", "stopped");
      else volume.become("stopped", "up");
      t.ok(volume.holds(1));
      volume.become("up", "up");
      volume.work();
      volume.store.flush();
      t.match(volume.store.status(), { staleCopies: 0, unsyncedChunks: 0 });
    });
  }

  t.test(`an engine finds one away and the other unable to sync: the one that is back has all, ${how}`, async (t) => {
    const volume = new TwoDevices(checksum);
    volume.fill(2, 0, 8192);
    // It syncs what it leaves.
    volume.become("up", "stopped");
    volume.disk.brokenSyncs.add("/sds/0/");
    volume.kill("up", "stopped");
    t.throws(() => volume.store.flush(), REFUSED);
    volume.become("up", "up");
    volume.store.flush();
    t.ok(volume.holds(2, 0, 8192));
    t.ok(volume.holds(1, 8192, CHUNKS * MIB - 8192));
  });

  t.test(`what is away is not given up for what has failed, ${how}`, async (t) => {
    const volume = new TwoDevices(checksum);
    volume.become("up", "stopped");
    for (const broken of [volume.disk.brokenReads, volume.disk.brokenWrites]) broken.add("/sds/0/");
    t.throws(() => volume.holds(1), REFUSED);
    t.throws(() => volume.fill(2, 3 * MIB, 4096), REFUSED);
    t.throws(() => volume.store.zero(4 * MIB, 2 * MIB), REFUSED);
    volume.kill("failed", "stopped");
    t.throws(() => volume.holds(1), REFUSED, "nor by the next engine, which has copies to compare");
    volume.become("failed", "up");
    volume.work();
    t.ok(volume.holds(1));
    volume.fill(2, 0, 4096);
    volume.store.flush();
    t.ok(volume.holds(2, 0, 4096));
  });

  for (const what of ["write", "discard"]) {
    t.test(
      `who finds the one dead while the other is away is a ${what}: no copy is given up for it, ${how}`,
      async (t) => {
        const volume = new TwoDevices(checksum);
        volume.become("up", "stopped");
        for (const broken of [volume.disk.brokenReads, volume.disk.brokenWrites]) broken.add("/sds/0/");
        if (what === "write") t.throws(() => volume.fill(2, 3 * MIB, 4096), REFUSED);
        else t.throws(() => volume.store.zero(2 * MIB + MIB / 2, 3 * MIB), REFUSED);
        volume.become("failed", "up");
        volume.work();
        t.ok(volume.holds(1));
        volume.fill(2, 3 * MIB, 4096);
        volume.store.flush();
        t.ok(volume.holds(2, 3 * MIB, 4096));
      },
    );
  }

  t.test(`neither takes a write, one of them for a moment only: it has what was there, ${how}`, async (t) => {
    const volume = new TwoDevices(checksum);
    for (const device of [0, 1]) volume.disk.brokenWrites.add(`/sds/${device}/`);
    t.throws(() => volume.fill(2, MIB, 4096), REFUSED);
    volume.disk.brokenReads.add("/sds/1/");
    volume.disk.repair("/sds/0/");
    volume.become("failed", "failed");
    volume.become("up", "failed");
    t.ok(volume.holds(1, 0, MIB));
    t.ok(volume.holds(1, MIB + 4096, (CHUNKS - 1) * MIB - 4096));
    volume.fill(3, MIB, 4096);
    t.throws(() => volume.store.flush(), REFUSED, "what the dead one had taken was in doubt");
    volume.store.flush();
    t.ok(volume.holds(3, MIB, 4096));
  });

  t.test(
    `one is dead, the other cannot sync for a moment: what it has is not given up for the dead one, ${how}`,
    async (t) => {
      const volume = new TwoDevices(checksum);
      for (const broken of [volume.disk.brokenReads, volume.disk.brokenWrites]) broken.add("/sds/1/");
      volume.fill(2, 2 * MIB, 4096);
      volume.disk.brokenSyncs.add("/sds/0/");
      t.throws(() => volume.store.flush(), REFUSED);
      volume.disk.repair("/sds/0/");
      volume.become("failed", "failed");
      volume.become("up", "failed");
      volume.work();
      t.ok(volume.holds(1, 0, 2 * MIB));
      t.ok(volume.holds(1, 3 * MIB, (CHUNKS - 3) * MIB));
      volume.store.flush();
    },
  );

  t.test(
    `one is away, the other turns unreadable between two reads of an engine that compares: nothing is given up, ${how}`,
    async (t) => {
      const volume = new TwoDevices(checksum);
      volume.become("up", "stopped");
      volume.kill("up", "stopped");
      volume.disk.breakAfter(1, volume.disk.brokenReads, "/sds/0/l.vol");
      t.throws(() => volume.holds(1, 0, MIB), REFUSED);
      volume.become("failed", "up");
      t.ok(volume.holds(1));
    },
  );

  t.test(`both have failed for a moment: what is written reaches those that take it, ${how}`, async (t) => {
    const volume = new TwoDevices(checksum);
    volume.become("failed", "failed");
    volume.fill(2, 0, 4096);
    t.ok(volume.holds(2, 0, 4096));
    volume.disk.brokenWrites.add("/sds/0/");
    volume.fill(3, 0, 4096);
    volume.disk.repair("/sds/0/");
    volume.become("up", "up");
    volume.work();
    t.ok(volume.holds(3, 0, 4096));
  });

  t.test(
    `the last one has lost what it took when the engine is killed: the next engine's flush says so, ${how}`,
    async (t) => {
      const volume = new TwoDevices(checksum);
      volume.become("up", "stopped");
      volume.fill(2, 0, 4096);
      volume.disk.brokenSyncs.add("/sds/0/");
      volume.become("stopped", "stopped");
      volume.disk.repair("/sds/0/");
      volume.kill("up", "up");
      t.throws(() => volume.store.flush(), REFUSED);
      volume.kill("up", "up");
      t.throws(() => volume.store.flush(), REFUSED, "whether the answer has come to somebody nobody knows");
      volume.store.close();
      volume.kill("up", "up");
      volume.store.flush();
      volume.kill("up", "up");
      volume.store.flush();
    },
  );

  t.test(`the last one goes and cannot sync what it took: the next flush says so, ${how}`, async (t) => {
    const volume = new TwoDevices(checksum);
    volume.become("up", "stopped");
    volume.fill(2, 0, 4096);
    volume.disk.brokenSyncs.add("/sds/0/");
    volume.become("stopped", "stopped");
    volume.disk.repair("/sds/0/");
    volume.become("up", "stopped");
    t.throws(() => volume.store.flush(), REFUSED);
    volume.store.flush();
  });

  t.test(
    `the last one loses what it took while it counts as failed, and is declared well: a flush says so, ${how}`,
    async (t) => {
      const volume = new TwoDevices(checksum);
      volume.become("up", "stopped");
      volume.fill(1, 0, 4096);
      volume.store.flush();
      volume.become("failed", "stopped");
      volume.fill(2, 0, 4096);
      volume.disk.brokenSyncs.add("/sds/0/");
      volume.become("up", "stopped");
      volume.disk.repair("/sds/0/");
      t.throws(() => volume.store.flush(), REFUSED);
      volume.become("failed", "stopped");
      volume.become("up", "stopped");
      volume.store.flush();
    },
  );

  t.test(`it says so again when more is lost later, ${how}`, async (t) => {
    const volume = new TwoDevices(checksum);
    volume.become("up", "stopped");
    volume.fill(3, 5 * MIB, 4096);
    volume.now += 10_000;
    volume.store.flush();
    volume.fill(4, 0, 4096);
    volume.disk.brokenSyncs.add("/sds/0/");
    t.throws(() => volume.store.flush(), REFUSED);
    volume.disk.repair("/sds/0/");
    volume.become("failed", "up");
    volume.store.work(1);
    volume.store.flush();
    volume.fill(5, 5 * MIB, 4096);
    volume.disk.brokenSyncs.add("/sds/0/");
    volume.become("stopped", "up");
    volume.disk.repair("/sds/0/");
    volume.become("up", "up");
    t.throws(() => volume.store.flush(), REFUSED);
  });

  for (const states of [
    ["up", "up"],
    ["stopped", "up"],
    ["stopped", "stopped"],
  ] as const) {
    t.test(
      `the kernel could not write back what one took, an engine finds ${states}: the other one counts, ${how}`,
      async (t) => {
        const volume = new TwoDevices(checksum);
        volume.fill(2, 0, 4096);
        volume.disk.brokenSyncs.add("/sds/0/");
        const fd = volume.disk.open("/sds/0/l.vol");
        t.throws(() => volume.disk.datasync(fd));
        volume.kill(...states);
        volume.become("up", "up");
        t.ok(volume.holds(2, 0, 4096));
        volume.store.flush();
        volume.disk.repair("/sds/0/");
        volume.become("failed", "up");
        volume.become("up", "up");
        volume.work();
        t.ok(volume.holds(2, 0, 4096));
        t.match(volume.store.status(), { staleCopies: 0, unsyncedChunks: 0 });
      },
    );
  }

  t.test(
    `one leaves and cannot sync, the other comes back without its file: what was on disk stays, ${how}`,
    async (t) => {
      const volume = new TwoDevices(checksum);
      volume.become("up", "stopped");
      volume.fill(2, MIB, 4096);
      volume.disk.brokenSyncs.add("/sds/0/");
      for (const name of ["l.vol", "l.vol.sum"]) volume.disk.remove(`/sds/1/${name}`);
      volume.become("stopped", "up");
      volume.disk.repair("/sds/0/");
      volume.become("up", "up");
      volume.work();
      t.ok(volume.holds(1, 0, MIB));
      t.throws(() => volume.store.flush(), REFUSED, "of the second chunk something is lost");
    },
  );

  t.test(
    `a node is back with a device that has failed, which has what nothing else has: it is read, ${how}`,
    async (t) => {
      const volume = new TwoDevices(checksum);
      volume.become("stopped", "up");
      volume.fill(2, 0, 4096);
      volume.store.flush();
      volume.become("stopped", "stopped");
      t.throws(() => volume.holds(2, 0, 4096), REFUSED);
      volume.become("stopped", "failed");
      t.ok(volume.holds(2, 0, 4096));
    },
  );

  t.test(`the last good copy's file is gone: nothing is answered, and nothing taken, ${how}`, async (t) => {
    const volume = new TwoDevices(checksum);
    volume.become("up", "stopped");
    volume.fill(2, 0, 4096);
    volume.store.flush();
    for (const name of ["l.vol", "l.vol.sum"]) volume.disk.remove(`/sds/0/${name}`);
    volume.kill("up", "up");
    t.throws(() => volume.holds(2, 0, 4096), REFUSED);
    t.throws(() => volume.fill(3, 0, 4096), REFUSED);
    t.throws(() => volume.store.zero(0, MIB), REFUSED);
    volume.work();
    t.equal(volume.store.status().unsyncedChunks, 0, "there is nothing to compare");
  });

  t.test(`one is away, the other is found unreadable: nothing was given up for it, ${how}`, async (t) => {
    const volume = new TwoDevices(checksum);
    volume.become("up", "stopped");
    volume.disk.brokenReads.add("/sds/0/l.vol");
    volume.kill("up", "stopped");
    t.throws(() => volume.holds(1), REFUSED);
    volume.become("failed", "up");
    t.ok(volume.holds(1));
  });
}

t.test("a scan finds one dead and the other unreadable for a moment: nothing is given up", async (t) => {
  const volume = new TwoDevices(false);
  volume.disk.brokenReads.add("/sds/1/");
  // Each copy is tried twice before it is looked at again.
  volume.disk.breakAfter(0, volume.disk.brokenReads, "/sds/0/", 4);
  volume.store.scan(0, 1);
  volume.become("failed", "failed");
  volume.become("up", "failed");
  volume.work();
  t.ok(volume.holds(1));
});

t.test(
  "copies differ and both devices count as failed: with both back the block is one of the two, for good",
  async (t) => {
    const volume = torn();
    volume.kill("failed", "failed");
    t.throws(() => volume.holds(1), REFUSED);
    volume.become("up", "up");
    volume.work();
    t.ok(volume.holds(2, 0, 4096) || volume.holds(1, 0, 4096));
    volume.now += 10_000;
    volume.store.flush();
    volume.kill("up", "up");
    t.ok(volume.holds(2, 0, 4096) || volume.holds(1, 0, 4096));
    t.match(volume.store.status(), { staleCopies: 0, unsyncedChunks: 0, badBlocks: [] });
  },
);

for (const broken of ["brokenSyncs", "brokenWrites"] as const) {
  t.test(
    `a device that has failed keeps nothing on the write-intent record that is good elsewhere (${broken})`,
    async (t) => {
      const volume = new TwoDevices(true);
      volume.disk[broken].add("/sds/0/");
      volume.fill(2, 0, 4096);
      volume.store.flush();
      volume.become("failed", "up");
      volume.now += 10_000;
      volume.store.flush();
      const intent = new Intent(volume.disk, "/rec", CHUNKS * MIB);
      t.same(intent.activeRegions(), []);
      intent.close();
    },
  );
}

t.test("a device that has failed, and has lost the layer's file as well, takes nothing", async (t) => {
  const volume = new TwoDevices(false);
  volume.disk.remove("/sds/1/l.vol");
  volume.kill("up", "failed");
  volume.fill(2, 0, 4096);
  volume.work();
  volume.become("stopped", "failed");
  t.throws(() => volume.fill(3, 0, 4096), REFUSED, "nothing is given up for it");
  volume.become("up", "failed");
  t.ok(volume.holds(2, 0, 4096));
});
