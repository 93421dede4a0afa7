import t from "tap";
import { CHUNKS, MIB, TwoDevices, torn } from "./two-devices.ts";

// The checksums of one of two copies cannot be had, and something happens to the other one.
const REFUSED = { code: "unavailable" };

t.test(
  "one is away, the other's checksums cannot be read by the next engine: nothing is given up for it",
  async (t) => {
    const volume = new TwoDevices(true);
    volume.fill(2, 0, 4096);
    volume.become("up", "stopped");
    volume.disk.brokenSums.add("/sds/0/");
    volume.kill("up", "stopped");
    t.throws(() => volume.holds(2, 0, 4096), REFUSED);
    volume.become("failed", "up");
    t.ok(volume.holds(2, 0, 4096));
    t.ok(volume.holds(1, 4096, CHUNKS * MIB - 4096));
  },
);

for (const device of [0, 1]) {
  t.test(`copies differ and the checksums of device ${device} cannot be read: the other one is used`, async (t) => {
    const volume = torn();
    volume.disk.brokenReads.add(`/sds/${device}/l.vol.sum`);
    volume.kill("up", "up");
    t.ok(volume.holds(2, 0, 4096) || volume.holds(1, 0, 4096));
    volume.fill(3, 0, 4096);
    volume.work();
    volume.store.flush();
    t.ok(volume.holds(3, 0, 4096));
    t.same(
      volume.store.status().failedDevices.map(({ name }) => name),
      [String(device)],
    );
  });
}

for (const left of ["failed", "stopped"] as const) {
  t.test(`one is away, the other cannot write its checksums and is ${left}: its data is not given up`, async (t) => {
    const volume = new TwoDevices(true);
    volume.fill(2, 0, 4096);
    volume.store.flush();
    volume.become("up", "stopped");
    volume.disk.brokenSums.add("/sds/0/");
    volume.store.flush();
    volume.become(left, "stopped");
    t.equal(volume.store.status().staleCopies, 0);
    volume.disk.repair("/sds/0/");
    volume.become("up", "stopped");
    t.ok(volume.holds(2, 0, 4096));
  });
}

for (const how of ["the engine is killed", "its node is back"] as const) {
  t.test(`the only good copy's checksums are gone when ${how}: they are made anew of what it holds`, async (t) => {
    const volume = new TwoDevices(true);
    volume.become("up", "stopped");
    volume.fill(2, 0, 4096);
    volume.store.flush();
    if (how === "its node is back") volume.become("stopped", "stopped");
    volume.disk.remove("/sds/0/l.vol.sum");
    if (how === "its node is back") volume.become("up", "stopped");
    else volume.kill("up", "stopped");
    // Also if that engine dies before it has looked at anything.
    volume.kill("up", "stopped");
    t.ok(volume.holds(2, 0, 4096));
    t.ok(volume.holds(1, 4096, CHUNKS * MIB - 4096));
    volume.become("up", "up");
    volume.work();
    volume.store.scan(0, CHUNKS);
    t.match(volume.store.status(), { staleCopies: 0, unsyncedChunks: 0, badBlocks: [], failedDevices: [] });
    volume.become("stopped", "up");
    t.ok(volume.holds(2, 0, 4096));
  });
}

t.test("one copy's checksums are gone, and some of what it holds is rotten: the other one is believed", async (t) => {
  const volume = new TwoDevices(true);
  volume.now += 10_000;
  volume.store.flush();
  volume.disk.remove("/sds/0/l.vol.sum");
  volume.disk.rot("/sds/0/l.vol", 5000);
  volume.kill("up", "up");
  volume.work();
  t.ok(volume.holds(1));
  volume.become("up", "stopped");
  t.ok(volume.holds(1));
});

for (const [what, device] of [
  ["is zeros there", 0],
  ["is rotten on the other one", 1],
] as const) {
  for (const isKilledAgain of [false, true]) {
    t.test(
      `a copy's checksums are gone, and a block ${what}: the right one is kept${isKilledAgain ? ", also with a kill" : ""}`,
      async (t) => {
        const volume = new TwoDevices(true);
        volume.store.close();
        volume.disk.crash();
        if (device === 0) {
          const fd = volume.disk.open("/sds/0/l.vol");
          volume.disk.punch(fd, 2 * MIB, 4096);
          volume.disk.datasync(fd);
          volume.disk.close(fd);
        } else volume.disk.rot("/sds/0/l.vol", 2 * MIB + 5);
        volume.disk.remove(`/sds/${device}/l.vol.sum`);
        volume.kill("up", "up");
        if (isKilledAgain) volume.kill("up", "up");
        volume.work();
        t.ok(volume.holds(1));
        volume.become("up", "stopped");
        t.ok(volume.holds(1));
      },
    );
  }
}

t.test("checksums are gone of a device that has failed: what a flush passes is on its disk all the same", async (t) => {
  const volume = new TwoDevices(true);
  volume.become("up", "stopped");
  volume.fill(2, 0, 4096);
  volume.disk.crash();
  volume.disk.remove("/sds/0/l.vol.sum");
  volume.kill("failed", "up");
  t.ok(volume.holds(2, 0, 4096));
  volume.store.flush();
  t.ok(volume.disk.isSynced("/sds/0/l.vol", 0, 4096));
});

t.test("checksums cannot be made anew at first: what the copy holds can be read then and later", async (t) => {
  const volume = new TwoDevices(true);
  volume.become("up", "stopped");
  volume.fill(2, 0, 4096);
  volume.store.flush();
  volume.store.close();
  volume.disk.crash();
  volume.disk.remove("/sds/0/l.vol.sum");
  const { syncDirectory } = volume.disk;
  volume.disk.syncDirectory = (path) => {
    if (path === "/sds/0") throw Object.assign(new Error("EIO"), { code: "EIO" });
    syncDirectory.call(volume.disk, path);
  };
  volume.kill("up", "stopped");
  volume.disk.syncDirectory = syncDirectory;
  t.match(volume.store.status().failedDevices, [{ name: "0" }]);
  t.ok(volume.holds(2, 0, 4096));
  volume.become("failed", "stopped");
  volume.become("up", "stopped");
  t.ok(volume.holds(2, 0, 4096));
  volume.kill("up", "stopped");
  t.ok(volume.holds(2, 0, 4096) && volume.holds(1, MIB, MIB));
  t.same(volume.store.status().badBlocks, []);
});
