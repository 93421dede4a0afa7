import t from "tap";
import { CHUNKS, MIB, TwoDevices } from "./two-devices.ts";

const BACK = "/sds/1/l.vol";

/** The second device comes back; the chunks that are written to it then. */
function back(volume: TwoDevices): number[] {
  volume.disk.changed.clear();
  volume.become("up", "up");
  volume.work();
  return [...(volume.disk.changed.get(BACK) ?? [])].sort();
}

for (const checksum of [false, true]) {
  const how = checksum ? "with checksums" : "without checksums";

  t.test(`a device that comes back gets what it has missed, and no more, ${how}`, async (t) => {
    const volume = new TwoDevices(checksum);
    volume.become("up", "stopped");
    volume.fill(2, 3 * MIB + 4096, 8192);
    volume.fill(2, 6 * MIB, 4096);
    t.same(back(volume), [3, 6], "the chunks that were written meanwhile");
    t.equal(volume.store.status().staleCopies, 0);
    const copy = Buffer.alloc(MIB);
    volume.disk.peek(BACK, copy, 3 * MIB);
    t.equal(copy.filter((byte) => byte === 2).length, 8192);
  });

  t.test(`what was discarded while a device was away takes no space on it when it is back, ${how}`, async (t) => {
    const volume = new TwoDevices(checksum);
    volume.become("up", "stopped");
    volume.store.zero(2 * MIB, 3 * MIB);
    back(volume);
    t.equal(volume.store.status().staleCopies, 0);
    for (const device of [0, 1])
      t.equal(volume.disk.heldIn(`/sds/${device}/l.vol`, 2 * MIB, 3 * MIB), 0, `device ${device}`);
    t.ok(volume.holds(0, 2 * MIB, 3 * MIB));
    t.ok(volume.holds(1, 5 * MIB, (CHUNKS - 5) * MIB));
  });

  t.test(
    `a copy that is to be given up takes writes and counts until the one instead of it is there, ${how}`,
    async (t) => {
      const volume = new TwoDevices(checksum);
      // The third device takes the place of the first one.
      volume.groups = [0, 1, 2, 1];
      volume.become("up", "up", "up");
      volume.fill(2, MIB, 4096);
      volume.become("up", "stopped", "up");
      t.ok(volume.holds(2, MIB, 4096));
      t.ok(volume.holds(1, 2 * MIB, (CHUNKS - 2) * MIB));
      volume.become("up", "up", "up");
      volume.work();
      t.match(volume.store.status(), { staleCopies: 0, garbage: 0 });
      t.equal(volume.disk.heldIn("/sds/0/l.vol", 0, CHUNKS * MIB), 0, "what is given up takes no space");
      volume.become("stopped", "stopped", "up");
      t.ok(volume.holds(2, MIB, 4096));
    },
  );
}

t.test("a chunk with one good copy comes before those whose copies are only moved", async (t) => {
  const volume = new TwoDevices(false);
  volume.become("up", "stopped");
  volume.fill(2, 3 * MIB, 4096);
  t.match(volume.store.status(), { staleCopies: 1, degradedChunks: 0 }, "nothing can be done about it now");
  // Chunks 0, 2, 4 and 6 get a third copy.
  volume.groups = [0, 1, 2, 0, 0, 1, -1, 0];
  volume.become("up", "up", "up");
  t.match(volume.store.status(), { staleCopies: 5, degradedChunks: 1 });
  volume.store.work(1);
  t.match(volume.store.status(), { staleCopies: 4, degradedChunks: 0 });
});

t.test("however slow a device is, work makes way for others after a while, and gets on", async (t) => {
  const volume = new TwoDevices(false);
  volume.become("up", "stopped");
  volume.fill(2, 0, CHUNKS * MIB);
  volume.become("up", "up");
  volume.pace = 100;
  let turns = 0;
  for (let left = CHUNKS; left > 0; left = volume.store.status().staleCopies, turns++)
    t.ok(volume.store.work(CHUNKS) > 0, `${left} chunks are left`);
  t.ok(turns > 1 && turns <= CHUNKS, `${turns} turns`);
});

t.test("a scan that is killed at any moment loses nothing, and leaves nothing to compare", async (t) => {
  for (let after = 0, done = false; !done; after++) {
    const volume = new TwoDevices(false);
    volume.now += 10_000;
    volume.store.flush();
    volume.disk.rot(BACK, 3 * MIB + 100);
    volume.disk.killAfter = after;
    try {
      volume.store.scan(0, CHUNKS);
    } catch (error) {
      if (!volume.disk.dead) throw error;
    }
    done = !volume.disk.dead;
    volume.kill("up", "up");
    t.equal(volume.store.status().unsyncedChunks, 0, `after ${after} operations`);
    volume.work();
    volume.store.scan(0, CHUNKS);
    volume.become("stopped", "up");
    t.ok(volume.holds(1), "by the copy that was put right");
  }
});

t.test("that a copy is good could not be put on record: it is before anything relies on it", async (t) => {
  const volume = new TwoDevices(false);
  volume.become("up", "stopped");
  volume.fill(2, 0, 4096);
  volume.become("up", "up");
  volume.disk.refusedWrites.add("/rec/ledger");
  t.throws(() => volume.work());
  volume.disk.repair("/rec/ledger");
  volume.fill(3, 0, 4096);
  volume.store.flush();
  volume.kill("stopped", "up");
  t.ok(volume.holds(3, 0, 4096));
});
