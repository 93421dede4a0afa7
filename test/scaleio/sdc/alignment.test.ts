import t from "tap";
import { randomOf } from "../../helpers/random.ts";
import { CHUNKS, MIB, TwoDevices } from "./two-devices.ts";

const REQUESTS = 600;
const BYTES = CHUNKS * MIB;
/** Where the arithmetic is: sectors, blocks of checksums, pieces of copies, chunks. */
const BORDERS = [512, 4096, 65_536, MIB];

for (const checksum of [false, true]) {
  t.test(`requests of any alignment and length, ${checksum ? "with" : "without"} checksums`, async (t) => {
    const random = randomOf(checksum ? 2 : 1);
    const upTo = (most: number) => Math.floor(random() * most);
    const volume = new TwoDevices(checksum);
    const wanted = Buffer.alloc(BYTES, 1);
    let isAway = false;
    for (let n = 0; n < REQUESTS; n++) {
      const border = BORDERS[upTo(BORDERS.length)] as number;
      const near = Math.floor(upTo(BYTES) / border) * border - 5 + upTo(10);
      const offset = Math.min(Math.max(0, random() < 0.3 ? upTo(BYTES) : near), BYTES - 1);
      const length = Math.min(1 + Math.floor((2 * MIB) ** random()), BYTES - offset);
      const dice = random();
      if (dice < 0.5) {
        volume.fill(1 + (n % 255), offset, length);
        wanted.fill(1 + (n % 255), offset, offset + length);
      } else if (dice < 0.65) {
        volume.store.zero(offset, length);
        wanted.fill(0, offset, offset + length);
      } else if (dice < 0.7) {
        isAway = !isAway;
        volume.become(isAway ? "stopped" : "up", "up");
        if (!isAway) volume.work();
      } else if (dice < 0.72) volume.kill(isAway ? "stopped" : "up", "up");
      // A byte more on either side: what is beside the request stays as it was.
      const [from, end] = [Math.max(0, offset - 1), Math.min(BYTES, offset + length + 1)];
      const read = Buffer.alloc(end - from, 0xee);
      volume.store.read(read, 0, from, read.length);
      if (!read.equals(wanted.subarray(from, end))) t.fail(`request ${n}, ${length} bytes at ${offset}`);
    }
    const all = Buffer.alloc(BYTES);
    volume.store.read(all, 0, 0, BYTES);
    t.ok(all.equals(wanted), "the whole volume");
  });
}
