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

t.test(
  "limits of IOPS and bandwidth hold to a tenth, from the moment they are set",
  { skip, timeout: 90_000 },
  async (t) => {
    const sim = await startSim(t, { config: CONFIG });
    const directory = await mountVolume(sim, "limited", { size: "128MB", iops: "200" });
    const { device } = await sim.json<{ device: string }>("volume", "inspect", "limited");
    const measured = async (...job: string[]) => {
      const text = await output("fio", [
        "--name=x",
        `--filename=${device}`,
        "--rw=randread",
        "--direct=1",
        "--ioengine=libaio",
        "--iodepth=8",
        "--size=64M",
        "--time_based",
        "--runtime=3",
        "--output-format=json",
        ...job,
      ]);
      const { jobs } = JSON.parse(text) as { jobs: { read: { iops: number; bw_bytes: number } }[] };
      return jobs[0]?.read ?? { iops: 0, bw_bytes: 0 };
    };
    const near = (value: number, wanted: number) =>
      t.ok(Math.abs(value / wanted - 1) < 0.1, `${Math.round(value)} for ${wanted}`);
    near((await measured("--bs=4k")).iops, 200);
    t.equal((await sim.cli("volume", "limit", "limited", "--iops", "1500")).code, 0);
    near((await measured("--bs=4k")).iops, 1500);
    t.match(await sim.cli("volume", "limit", "limited", "--iops", "0", "--bandwidth", "20"), {
      code: 0,
      stderr: /at most 20 MiB\/s/,
    });
    near((await measured("--bs=256k")).bw_bytes, 20 * 1024 ** 2);
    t.match(await sim.cli("volume", "limit", "limited", "--iops", "5"), {
      code: 1,
      stderr: /too low: give 11 or more/,
    });
    t.match(await sim.cli("volume", "limit", "limited"), { code: 1, stderr: /no limit is named/ });
    t.match(await sim.cli("volume", "limit", "limited", "--bandwidth", "fast"), {
      code: 1,
      stderr: /not a whole number/,
    });
    t.equal((await sim.cli("volume", "limit", "limited", "--bandwidth", "0")).code, 0);
    t.ok((await measured("--bs=256k")).bw_bytes > 100e6, "no limit any more");
    t.ok(fs.existsSync(directory));
  },
);
