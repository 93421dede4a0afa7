/**
 * The life of a volume through the plugin (create, mount, unmount, remove) beside a shell script that does the same with
 * a plain file: truncate, losetup, mkfs.ext4, mount, umount. In turns; medians; floor 1.5. And the start of dvdcli beside
 * that of `node -e 0`.
 */
import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { dir, median, sh, startProduct } from "./tools.ts";

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
process.exit(a / b <= LIMIT && c / d <= LIMIT ? 0 : 1);
