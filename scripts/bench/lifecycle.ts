/**
 * The life of a volume through the plugin (create, mount, unmount, remove) beside a shell script that does the same with
 * a plain file: truncate, losetup, mkfs.ext4, mount, umount. In turns; medians; floor 1.5. The start of dvdcli beside
 * that of `node -e 0`. And a snapshot of a mounted volume to which 1 GiB was written beside one of an empty one.
 */
import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { administer, dir, median, sh, startProduct } from "./tools.ts";

const ROUNDS = 11;
const LIMIT = 1.5;
/** Between rounds (ms): as from a person, so that the SDC's spare engine is ready again. */
const PAUSE = 500;

const script = path.join(dir, "life.sh");
fs.mkdirSync(path.join(dir, "mnt"));
fs.writeFileSync(
  script,
  `set -e\ntruncate -s 16G ${dir}/life.img\ndev=$(losetup --direct-io=on -f --show ${dir}/life.img)\nmkfs.ext4 -q -F $dev\nmount $dev ${dir}/mnt\numount ${dir}/mnt\nlosetup -d $dev\nrm ${dir}/life.img\n`,
);

async function timed(task: () => unknown): Promise<number> {
  const began = performance.now();
  await task();
  return performance.now() - began;
}

const call = startProduct();
const parts: Record<string, number[]> = { Create: [], Mount: [], Unmount: [], Remove: [] };
const [ours, shell, dvdcli, node]: number[][] = [[], [], [], []];
for (let round = 0; round < ROUNDS; round++) {
  const Name = `life-${round}`;
  let total = 0;
  await pause(PAUSE);
  for (const [operation, times] of Object.entries(parts)) {
    const ms = await timed(() => call(operation, { Name, ID: "a", Opts: { size: "16" } }));
    times.push(ms);
    total += ms;
  }
  ours?.push(total);
  shell?.push(await timed(() => sh("sh", script)));
  node?.push(await timed(() => sh(process.execPath, "-e", "0")));
  dvdcli?.push(
    await timed(() => sh(process.execPath, path.resolve(import.meta.dirname, "../../dist/bin/dvdcli.js"), "version")),
  );
}
const [a, b, c, d] = [ours, shell, dvdcli, node].map((times) => median(times ?? [])) as [
  number,
  number,
  number,
  number,
];
console.log(
  `through the plugin ${a.toFixed(0)} ms (${Object.entries(parts)
    .map(([name, times]) => `${name} ${median(times).toFixed(0)}`)
    .join(", ")})`,
);
console.log(
  `shell script       ${b.toFixed(0)} ms, ratio ${(a / b).toFixed(2)}, limit ${LIMIT} ${a / b <= LIMIT ? "ok" : "MISS"}`,
);
console.log(
  `dvdcli             ${c.toFixed(0)} ms, node -e 0 ${d.toFixed(0)} ms, ratio ${(c / d).toFixed(2)}, limit ${LIMIT} ${c / d <= LIMIT ? "ok" : "MISS"}`,
);

/** Milliseconds of a snapshot; volume and snapshot are new and go again, so that each snapshot freezes all that was written. */
async function snapshotOf(mebibytes: number): Promise<number> {
  const names = { volume: "frozen", name: "snapshot" };
  await call("Create", { Name: names.volume, Opts: { size: "4" } });
  const { Mountpoint } = await call("Mount", { Name: names.volume, ID: "a" });
  // What is still to be written down would be a matter of the page cache.
  if (mebibytes > 0)
    sh("dd", "if=/dev/urandom", `of=${Mountpoint}/file`, "bs=1M", `count=${mebibytes}`, "conv=fsync", "status=none");
  await pause(PAUSE);
  const ms = await timed(() => administer("bench", "/snapshots", { snapshots: [names] }));
  await call("Unmount", { Name: names.volume, ID: "a" });
  for (const Name of Object.values(names)) await call("Remove", { Name });
  return ms;
}

const [full, empty]: [number[], number[]] = [[], []];
for (let round = 0; round < ROUNDS; round++) {
  full.push(await snapshotOf(1024));
  empty.push(await snapshotOf(0));
}
const [e, f] = [median(full), median(empty)];
console.log(
  `snapshot           ${e.toFixed(0)} ms with 1 GiB written, ${f.toFixed(0)} ms with nothing, ratio ${(e / f).toFixed(2)}, limit ${LIMIT} ${e / f <= LIMIT ? "ok" : "MISS"}`,
);
process.exit([a / b, c / d, e / f].every((ratio) => ratio <= LIMIT) ? 0 : 1);
