/**
 * Our volume under conditions, each compared with the healthy volume in the same run, in turns: with checksums; with a node
 * away, or in maintenance; while what it held is rebuilt elsewhere. Then the memory of 50 mounted idle volumes. Floors: half of the healthy IOPS
 * degraded and while rebuilding; 25 MB a volume beyond the first. Exit status 1 when one is missed. Arguments say which
 * conditions; without any all are measured.
 */
import fs from "node:fs";
import { fio, median, order, sh, startProduct, stopProduct } from "./tools.ts";

const ROUNDS = 3;
const SECONDS = 3;
const VOLUMES = 50;
const FLOOR = 0.5;
const MOST_MEMORY_MB = 25;
/** Besides the file of the jobs, for a rebuild that outlasts each of them (MiB). */
const FILLER_MIB = 3072;
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
  await call("Create", { Name: "v", Opts: { size: "6GB" } });
  const directory = (await call("Mount", { Name: "v", ID: "bench" }))["Mountpoint"] as string;
  fio(directory, { rw: "write", bs: "1m", depth: 4 }, SECONDS);
  return directory;
}

/** One job under two conditions, in turns; prints the ratio of the second to the first. */
async function compare(
  job: (typeof JOBS)[number],
  first: () => number,
  second: () => number | Promise<number>,
  floor: number,
): Promise<void> {
  const results: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    // What one has left to be written back is not to be in the way of the other.
    sh("sync");
    results[0].push(first());
    sh("sync");
    results[1].push(await second());
  }
  const [a, b] = results.map((iops) => (iops.some(Number.isNaN) ? Number.NaN : median(iops))) as [number, number];
  const ok = b / a >= floor;
  const verdict = Number.isNaN(b) ? "not measured: the rebuild was over" : ok ? "ok" : "MISS";
  if (!ok) missed++;
  const cells = [a.toFixed(0).padStart(10), b.toFixed(0).padStart(10), (b / a).toFixed(2).padStart(7)].join(" ");
  console.log(`  ${job.name.padEnd(30)}${cells} ${floor > 0 ? `${verdict} (floor ${floor})` : ""}`);
}

const toRebuild = () => {
  const { pools } = JSON.parse(order("lost", "status", "--json")) as { pools: [{ rebuildBytes: number }] };
  return pools[0].rebuildBytes;
};
/** On a volume of its own, that a job has as much of the rebuild before it as any other. */
const rebuilding = async (job: (typeof JOBS)[number]) => {
  const lost = await volumeOf("lost", SMALL);
  sh("dd", "if=/dev/urandom", `of=${lost}/filler`, "bs=1M", `count=${FILLER_MIB}`, "status=none");
  sh("sync");
  order("lost", "sds", "stop", "sds-2");
  while (toRebuild() === 0);
  const iops = fio(lost, job, SECONDS);
  // A rebuild that was over before the job says nothing.
  const over = toRebuild() === 0;
  stopProduct("lost");
  return over ? Number.NaN : iops;
};
/** Memory of a process, shared pages divided among those who share them (MB). */
const pssOf = (pid: number) =>
  Number(/^Pss:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1]) / 1024;

async function compareAll(
  title: string,
  second: (job: (typeof JOBS)[number]) => number | Promise<number>,
  floor: number,
) {
  console.log(`${title} (healthy, so, ratio)`);
  for (const job of JOBS)
    await compare(
      job,
      () => fio(healthy, job, SECONDS),
      () => second(job),
      floor,
    );
}

const CONDITIONS: Readonly<Record<string, () => Promise<void>>> = {
  async checksums() {
    const checked = await volumeOf("checked", `${SMALL}  checksum: true\n`);
    await compareAll("with checksums", (job) => fio(checked, job, SECONDS), 0);
  },

  async away() {
    const away = await volumeOf("away", `${SMALL}  rebuildGracePeriod: 3600s\n`);
    order("away", "sds", "stop", "sds-2");
    await compareAll("a node away", (job) => fio(away, job, SECONDS), FLOOR);
  },

  async maintenance() {
    const resting = await volumeOf("resting", SMALL);
    order("resting", "sds", "maintenance", "sds-2");
    await compareAll("a node in maintenance", (job) => fio(resting, job, SECONDS), FLOOR);
  },

  rebuild: () => compareAll("while a node is rebuilt", rebuilding, FLOOR),

  async memory() {
    const call = startProduct("many", SMALL);
    const memory = () => {
      const { daemon, volumes } = JSON.parse(order("many", "status", "--json")) as {
        daemon: { pid: number };
        volumes: { enginePid: number; supervisorPid: number }[];
      };
      return [daemon.pid, ...volumes.flatMap(({ enginePid, supervisorPid }) => [enginePid, supervisorPid])].reduce(
        (sum, pid) => sum + pssOf(pid),
        0,
      );
    };
    let first = 0;
    for (let n = 1; n <= VOLUMES; n++) {
      await call("Create", { Name: `v${n}`, Opts: { size: "64MB" } });
      await call("Mount", { Name: `v${n}`, ID: "bench" });
      if (n === 1) first = memory();
    }
    const each = (memory() - first) / (VOLUMES - 1);
    if (each > MOST_MEMORY_MB) missed++;
    console.log(
      `memory: the daemon and the first volume ${first.toFixed(1)} MB, each of the other ${VOLUMES - 1} ${each.toFixed(1)} MB (floor ${MOST_MEMORY_MB})`,
    );
  },
};

const healthy = await volumeOf("healthy", SMALL);
const chosen = process.argv.slice(2);
for (const [name, measure] of Object.entries(CONDITIONS))
  if (chosen.length === 0 || chosen.includes(name)) await measure();
process.exit(missed > 0 ? 1 : 0);
