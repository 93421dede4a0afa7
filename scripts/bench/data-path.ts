/**
 * Our volume (two copies) beside nbdkit+nbdfuse and a plain file (one copy each), all as ext4 on a direct-I/O loop device,
 * in turns in one run. Exit status 1 when a floor is missed. `--quick`: one round of two seconds. `--only TEXT`: the jobs
 * with this in their name.
 */
import { dir, ext4On, fio, median, nbdfuse, sh, startProduct } from "./tools.ts";

const GIB = 1024 ** 3;
const quick = process.argv.includes("--quick");
const [rounds, seconds] = quick ? [1, 2] : [3, 5];

/** Floors are ratios to nbdkit+nbdfuse. */
const JOBS = [
  { name: "1 MiB write, depth 4", rw: "write", bs: "1m", depth: 4, floor: 1 },
  { name: "1 MiB read, depth 4", rw: "read", bs: "1m", depth: 4, floor: 2 },
  { name: "4 KiB random write, depth 1", rw: "randwrite", bs: "4k", depth: 1, floor: 1 },
  { name: "4 KiB random read, depth 1", rw: "randread", bs: "4k", depth: 1, floor: 1 },
  { name: "4 KiB random write, depth 16", rw: "randwrite", bs: "4k", depth: 16, floor: 2 },
  { name: "4 KiB random read, depth 16", rw: "randread", bs: "4k", depth: 16, floor: 3 },
] as const;
const only = process.argv[process.argv.indexOf("--only") + 1] ?? "";
const jobs = process.argv.includes("--only") ? JOBS.filter(({ name }) => name.includes(only)) : JOBS;

const call = startProduct();
await call("Create", { Name: "bench", Opts: { size: "8GB" } });
const ours = (await call("Mount", { Name: "bench", ID: "bench" }))["Mountpoint"] as string;
sh("truncate", "--size", String(8 * GIB), `${dir}/plain.img`);
const contestants = {
  ours,
  nbd: ext4On(await nbdfuse(8 * GIB), "on-nbd"),
  plain: ext4On(`${dir}/plain.img`, "on-plain"),
};

// The first pass over fresh memory and fresh blocks is slower for everybody.
for (const directory of Object.values(contestants)) fio(directory, { rw: "write", bs: "1m", depth: 4 }, 3);

console.log(`job${" ".repeat(27)}ours, IOPS   nbdfuse    plain   ours/nbdfuse  floor   ours/plain`);
let missed = 0;
for (const job of jobs) {
  const results = { ours: [] as number[], nbd: [] as number[], plain: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    for (const name of ["ours", "nbd", "plain"] as const) results[name].push(fio(contestants[name], job, seconds));
  }
  const [a, b, c] = [median(results.ours), median(results.nbd), median(results.plain)];
  const ok = a / b >= job.floor;
  if (!ok) missed++;
  const cells = [a.toFixed(0).padStart(10), b.toFixed(0).padStart(9), c.toFixed(0).padStart(8)].join(" ");
  console.log(
    `${job.name.padEnd(30)}${cells} ${(a / b).toFixed(2).padStart(14)} ${job.floor.toFixed(1).padStart(6)} ${ok ? "ok  " : "MISS"} ${(a / c).toFixed(2).padStart(7)}`,
  );
}
process.exit(missed > 0 ? 1 : 0);
