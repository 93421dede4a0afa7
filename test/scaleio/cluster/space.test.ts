import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { requiresFuse, requiresRoot } from "../../helpers/requires.ts";
import { output } from "../../helpers/run.ts";
import { startSim } from "../../helpers/sim.ts";
import { CONFIG, mountVolume } from "./load.ts";

const skip = requiresRoot() || requiresFuse();

t.test("fstrim gives the space of deleted files back on every node", { skip }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  const directory = await mountVolume(sim, "trimmed", { size: "128MB" });
  const used = async () => {
    const { sds } = await sim.json<{ sds: { usedBytes: number }[] }>("status");
    return sds.map(({ usedBytes }) => usedBytes);
  };
  const file = path.join(directory, "big");
  const fd = fs.openSync(file, "w");
  fs.writeSync(fd, Buffer.alloc(80_000_000, 7));
  fs.fsyncSync(fd);
  fs.closeSync(fd);
  const full = await used();
  t.ok(
    full.every((bytes) => bytes > 35_000_000),
    "80 MB, twice, over four nodes",
  );
  fs.rmSync(file);
  await output("sync", []);
  await output("fstrim", [directory]);
  t.ok(
    (await used()).every((bytes) => bytes < 10_000_000),
    `given back: ${full} -> ${await used()}`,
  );
});
