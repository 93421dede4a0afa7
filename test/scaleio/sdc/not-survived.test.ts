import t from "tap";
import { CHUNKS, MIB, TwoDevices } from "./two-devices.ts";

// What README's fault model says is not survived, as it happens. Should one of these tests fail because it is survived, README says too
// little. What must hold even then: nothing but what was written is read, and both copies are the same.

/** The byte of which all of the range is; undefined: it is of several. */
function byteOf(volume: TwoDevices, length: number): number | undefined {
  return [1, 2].find((byte) => volume.holds(byte, 0, length));
}

/** Whether each of the two copies alone reads as this byte. */
function bothHold(volume: TwoDevices, byte: number, length: number): boolean {
  return [["up", "stopped"] as const, ["stopped", "up"] as const].every((states) => {
    volume.become(...states);
    const isThere = volume.holds(byte, 0, length);
    volume.become("up", "up");
    volume.work();
    return isThere;
  });
}

for (const checksum of [false, true])
  t.test(
    `a device loses writes in a sync that fails, and the engine is killed before that is on record, ${checksum ? "with" : "without"} checksums`,
    async (t) => {
      const lost: number[] = [];
      for (let after = 0, done = false; !done; after++) {
        const volume = new TwoDevices(checksum);
        volume.fill(2, 0, 8192);
        volume.disk.brokenSyncs.add("/sds/0/");
        volume.disk.killAfter = after;
        try {
          volume.store.flush();
        } catch (error) {
          if (!volume.disk.dead) throw error;
        }
        done = !volume.disk.dead;
        volume.disk.repair("/sds/0/");
        volume.kill("up", "up");
        volume.work();
        volume.store.flush();
        const byte = byteOf(volume, 8192);
        if (byte === undefined) t.fail(`killed after ${after} operations: what is read was never written`);
        else if (!bothHold(volume, byte, 8192)) t.fail(`killed after ${after} operations: the copies differ`);
        else if (byte === 1) lost.push(after);
        if (done) t.equal(byte, 2, "survived once it is on record");
        t.ok(volume.holds(1, 8192, CHUNKS * MIB - 8192), "and all else");
      }
      t.ok(lost.length > 0, `lost when killed after ${lost} operations`);
      t.notOk(lost.includes(0), "not before the sync");
    },
  );

const ROTTEN = [
  { device: 0, written: "a moment ago", settles: false, survived: false },
  { device: 1, written: "a moment ago", settles: false, survived: true },
  { device: 0, written: "a while ago", settles: true, survived: true },
];

for (const { device, written, settles, survived } of ROTTEN)
  t.test(
    `what was written ${written} rots on device ${device}, and the engine is killed: ${survived ? "it is put right" : "it is taken for good"}`,
    async (t) => {
      const volume = new TwoDevices(true);
      volume.fill(2, 0, 4096);
      if (settles) {
        // Long enough for its checksums to be on disk.
        volume.now += 60_000;
        volume.store.flush();
      }
      volume.disk.rot(`/sds/${device}/l.vol`, 100);
      volume.kill("up", "up");
      volume.work();
      t.equal(volume.holds(2, 0, 4096), survived);
      t.equal(bothHold(volume, 2, 4096), survived, "in both copies");
      t.ok(volume.holds(1, 4096, CHUNKS * MIB - 4096), "nothing else has changed");
      t.match(volume.store.status(), { staleCopies: 0, unsyncedChunks: 0 });
    },
  );
