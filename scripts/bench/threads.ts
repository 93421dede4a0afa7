/**
 * Would several engine threads on one volume be quicker? An engine is one thread; so the same load is put on one volume, and
 * half of it on each of two, which have an engine each. Prints IOPS and the ratio of two to one.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { dir, median, startProduct } from "./tools.ts";

const ROUNDS = 3;
const SECONDS = 4;
const call = startProduct("threads", "simulator:\n  granularity: 64MB\n");
const directories: string[] = [];
for (const name of ["a", "b"]) {
  await call("Create", { Name: name, Opts: { size: "2GB" } });
  directories.push((await call("Mount", { Name: name, ID: "bench" }))["Mountpoint"] as string);
}

async function load(directory: string, rw: string, depth: number): Promise<number> {
  const shape = [`--rw=${rw}`, "--bs=4k", `--iodepth=${depth}`, "--size=1G", `--filename=${directory}/fio`];
  const how = ["--ioengine=libaio", "--direct=1", "--time_based", `--runtime=${SECONDS}`, "--output-format=json"];
  const { stdout } = await promisify(execFile)("fio", ["--name=load", ...shape, ...how], { cwd: dir });
  const { read, write } = (JSON.parse(stdout) as { jobs: { read: { iops: number }; write: { iops: number } }[] })
    .jobs[0] as { read: { iops: number }; write: { iops: number } };
  return read.iops + write.iops;
}

for (const directory of directories) await load(directory, "write", 16);
for (const rw of ["randwrite", "randread"]) {
  const [one, two]: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    one.push(await load(directories[0] as string, rw, 16));
    const both = await Promise.all(directories.map((directory) => load(directory, rw, 8)));
    two.push(both.reduce((sum, iops) => sum + iops, 0));
  }
  const ratio = median(two) / median(one);
  console.log(`4 KiB ${rw}: one engine ${median(one).toFixed(0)}, two ${median(two).toFixed(0)}, ${ratio.toFixed(2)}`);
}
process.exit(0);
