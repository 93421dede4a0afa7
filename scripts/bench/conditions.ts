/**
 * Our volume under conditions, each compared with the healthy volume in the same run, in turns: with checksums; with a node
 * away; while what it held is rebuilt elsewhere. Then the memory of 50 mounted idle volumes. Floors: half of the healthy IOPS
 * degraded and while rebuilding; 25 MB a volume beyond the first. Exit status 1 when one is missed.
 */
import fs from "node:fs";
import { fio, median, order, startProduct } from "./tools.ts";

const ROUNDS = 3;
const SECONDS = 3;
const VOLUMES = 50;
const FLOOR = 0.5;
const MOST_MEMORY_MB = 25;
const JOBS = [
  { name: "1 MiB write, depth 4", rw: "write", bs: "1m", depth: 4 },
  { name: "1 MiB read, depth 4", rw: "read", bs: "1m", depth: 4 },
  { name: "4 KiB random write, depth 1", rw: "randwrite", bs: "4k", depth: 1 },
  { name: "4 KiB random read, depth 1", rw: "randread", bs: "4k", depth: 1 },
  { name: "4 KiB random write, depth 16", rw: "randwrite", bs: "4k", depth: 16 },
  { name: "4 KiB random read, depth 16", rw: "randread", bs: "4k", depth: 16 },
] as const;

const SMALL = "simulator:\n  granularity: 64MB\n";
let missed = 0;

async function volumeOf(name: string, config: string): Promise<string> {
  const call = startProduct(name, config);
  await call("Create", { Name: "v", Opts: { size: "2GB" } });
  const directory = (await call("Mount", { Name: "v", ID: "bench" }))["Mountpoint"] as string;
  fio(directory, { rw: "write", bs: "1m", depth: 4 }, SECONDS);
  return directory;
}

/** One job on two directories, in turns; prints the ratio of the second to the first. */
function compare(job: (typeof JOBS)[number], first: () => number, second: () => number, floor: number): void {
  const results: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    results[0].push(first());
    results[1].push(second());
  }
  const [a, b] = results.map((iops) => (iops.some(Number.isNaN) ? Number.NaN : median(iops))) as [number, number];
  const ok = b / a >= floor;
  const verdict = Number.isNaN(b) ? "not measured: the rebuild was over" : ok ? "ok" : "MISS";
  if (!ok) missed++;
  const cells = [a.toFixed(0).padStart(10), b.toFixed(0).padStart(10), (b / a).toFixed(2).padStart(7)].join(" ");
  console.log(`  ${job.name.padEnd(30)}${cells} ${floor > 0 ? `${verdict} (floor ${floor})` : ""}`);
}

const healthy = await volumeOf("healthy", SMALL);
const checked = await volumeOf("checked", `${SMALL}  checksum: true\n`);
console.log("with checksums (healthy, with, ratio)");
for (const job of JOBS)
  compare(
    job,
    () => fio(healthy, job, SECONDS),
    () => fio(checked, job, SECONDS),
    0,
  );

console.log("a node away (healthy, degraded, ratio)");
const away = await volumeOf("away", SMALL);
order("away", "sds", "maintenance", "sds-2");
for (const job of JOBS)
  compare(
    job,
    () => fio(healthy, job, SECONDS),
    () => fio(away, job, SECONDS),
    FLOOR,
  );

console.log("while a node is rebuilt (healthy, rebuilding, ratio)");
const lost = await volumeOf("lost", SMALL);
for (const job of JOBS) {
  const rebuilding = () => {
    order("lost", "sds", "start", "sds-2", "--wait");
    order("lost", "sds", "stop", "sds-2");
    const iops = fio(lost, job, SECONDS);
    const { pools } = JSON.parse(order("lost", "status", "--json")) as { pools: { rebuildBytes: number }[] };
    // A rebuild that was over before the job says nothing.
    return pools[0]?.rebuildBytes === 0 ? Number.NaN : iops;
  };
  compare(job, () => fio(healthy, job, SECONDS), rebuilding, FLOOR);
}

const call = startProduct("many", SMALL);
const memory = () => {
  const { volumes } = JSON.parse(order("many", "status", "--json")) as {
    volumes: { enginePid: number; supervisorPid: number }[];
  };
  return volumes
    .flatMap(({ enginePid, supervisorPid }) => [enginePid, supervisorPid])
    .reduce((sum, pid) => sum + pssOf(pid), 0);
};
/** Memory of a process, shared pages divided among those who share them (MB). */
const pssOf = (pid: number) =>
  Number(/^Pss:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1]) / 1024;
let first = 0;
for (let n = 1; n <= VOLUMES; n++) {
  await call("Create", { Name: `v${n}`, Opts: { size: "64MB" } });
  await call("Mount", { Name: `v${n}`, ID: "bench" });
  if (n === 1) first = memory();
}
const each = (memory() - first) / (VOLUMES - 1);
if (each > MOST_MEMORY_MB) missed++;
console.log(
  `memory: the first volume ${first.toFixed(1)} MB, each of the other ${VOLUMES - 1} ${each.toFixed(1)} MB (floor ${MOST_MEMORY_MB})`,
);
process.exit(missed > 0 ? 1 : 0);
