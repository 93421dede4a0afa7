/**
 * What 10,000 volumes of 8 GB cost: an operation on one of them beside the same with 10, the same while a lost node's copies of all of
 * them are made anew, how long that takes, and a start that finds them all. Floors: a ratio of 1.5 for each operation, 2 s for the
 * start. Exit status 1 when one is missed. MANY: another number of volumes.
 */
import { spawn } from "node:child_process";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { administer, dir, median, order, startProduct } from "./tools.ts";

const FEW = 10;
const MANY = Number(process.env["MANY"] ?? 10_000);
const LARGEST = 100_000;
const SAMPLES = 30;
const MOST_RATIO = 1.5;
const MOST_START_MS = 2000;

const call = startProduct("bench", "simulator:\n  granularity: 1MB\n  deviceSize: 64TB\n");
let made = 0;

async function make(count: number): Promise<void> {
  const lane = async () => {
    while (made < count) await call("Create", { Name: `v${++made}`, Opts: { size: "8GB" } });
  };
  await Promise.all(Array.from({ length: 8 }, lane));
}

/** A snapshot is made of the mounted volume, restored to the unmounted one, and dropped. */
const OPERATIONS = [
  "create",
  "get",
  "mount",
  "snapshot",
  "limit",
  "unmount",
  "resize",
  "restore",
  "drop",
  "remove",
] as const;
type Times = Record<(typeof OPERATIONS)[number], number>;

/** Medians in milliseconds. */
async function measure(): Promise<Times> {
  const times: Record<string, number[]> = {};
  const timing = async (name: string, task: Promise<unknown>) => {
    const began = performance.now();
    await task;
    times[name] = [...(times[name] ?? []), performance.now() - began];
  };
  const timed = (name: string, operation: string, body: object) => timing(name, call(operation, body));
  /** What Docker has no words for. */
  const ordered = (name: string, path: string, body: object) => timing(name, administer("bench", path, body));
  for (let i = 0; i < SAMPLES; i++) {
    await timed("create", "Create", { Name: "one", Opts: { size: "64MB" } });
    await timed("get", "Get", { Name: "one" });
    await timed("mount", "Mount", { Name: "one", ID: "x" });
    await ordered("snapshot", "/snapshots", { snapshots: [{ volume: "one", name: "frozen" }] });
    await ordered("limit", "/volumes/one/limits", { iops: 1000 });
    await timed("unmount", "Unmount", { Name: "one", ID: "x" });
    await ordered("resize", "/volumes/one/resize", { sizeBytes: 65 * 1024 ** 2 });
    await ordered("restore", "/volumes/one/overwrite", { from: "frozen" });
    await timed("drop", "Remove", { Name: "frozen" });
    await timed("remove", "Remove", { Name: "one" });
  }
  return Object.fromEntries(OPERATIONS.map((name) => [name, median(times[name] ?? [])])) as Times;
}

let missed = 0;
await make(FEW);
const few = await measure();
await make(MANY);
const many = await measure();
const isDegraded = () =>
  /"pools":\s*\[\s*\{\s*"name":[^,]*,\s*"health": "degraded"/.test(order("bench", "status", "--json"));
const lost = performance.now();
order("bench", "sds", "stop", "sds-2");
const meanwhile = await measure();
const stillAtIt = isDegraded();
while (isDegraded()) await pause(5000);
const rebuilt = (performance.now() - lost) / 1000;

const column = (text: string, width: number) => text.padStart(width);
console.log(`operation   with ${FEW}, ms   with ${MANY}, ms   ratio   rebuilding, ms   ratio`);
for (const name of OPERATIONS) {
  const ratios = [many[name] / few[name], meanwhile[name] / few[name]] as const;
  const ok = ratios[0] <= MOST_RATIO;
  if (!ok) missed++;
  const times = [few[name], many[name], ratios[0], meanwhile[name], ratios[1]];
  const widths = [10, 16, 10, 16, 10];
  const cells = times.map((value, index) =>
    column(value.toFixed(index % 2 === 0 && index > 0 ? 2 : 1), widths[index] ?? 0),
  );
  console.log(`${name.padEnd(10)}${cells.join("")} ${ok ? "ok" : "MISS"}`);
}
if (!stillAtIt) console.log("(the rebuild had ended before the last column was complete)");
const each = (1000 * rebuilt) / MANY;
console.log(
  `a lost node's copies of ${MANY} volumes that are not mounted and were never written: ${rebuilt.toFixed(0)} s, ${each.toFixed(1)} ms each; ${LARGEST} would take ${((each * LARGEST) / 60_000).toFixed(0)} min`,
);

order("bench", "sds", "start", "sds-2");
while (/"health": "degraded"/.test(order("bench", "status", "--json").slice(0, 100))) await pause(1000);
order("bench", "down", "--force");
const program = path.resolve(import.meta.dirname, "../../dist/bin/rexray-sim.js");
const home = `${dir}/bench`;
const args = ["up", "--state-dir", `${home}/state`, "--run-dir", `${home}/run`, "--plugin-dir", `${home}/plugins`];
const began = performance.now();
const daemon = spawn(process.execPath, [program, ...args, "--config", `${home}/config.yml`, "--plugin-name", "bench"], {
  stdio: ["ignore", "pipe", "inherit"],
});
await new Promise<void>((resolve) => {
  let said = "";
  daemon.stdout.setEncoding("utf8").on("data", (part: string) => {
    said += part;
    if (/^ready/m.test(said)) resolve();
  });
});
const ready = performance.now() - began;
if (ready > MOST_START_MS) missed++;
console.log(
  `start with ${MANY} volumes: ready after ${ready.toFixed(0)} ms ${ready > MOST_START_MS ? "MISS" : "ok"} (floor ${MOST_START_MS})`,
);
daemon.kill("SIGTERM");
await new Promise((resolve) => daemon.once("exit", resolve));
process.exit(missed > 0 ? 1 : 0);
