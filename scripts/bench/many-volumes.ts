/**
 * What 10,000 volumes cost: an operation on one of them beside the same with 10, and a start that finds them all. Floors: a ratio
 * of 1.5 for each operation, 2 s for the start. Exit status 1 when one is missed.
 */
import { spawn } from "node:child_process";
import path from "node:path";
import { dir, median, order, startProduct } from "./tools.ts";

const FEW = 10;
const MANY = 10_000;
const SAMPLES = 30;
const MOST_RATIO = 1.5;
const MOST_START_MS = 2000;

const call = startProduct("bench", "simulator:\n  granularity: 1MB\n  deviceSize: 100GB\n");
let made = 0;

async function make(count: number): Promise<void> {
  const lane = async () => {
    while (made < count) await call("Create", { Name: `v${++made}`, Opts: { size: "1MB" } });
  };
  await Promise.all(Array.from({ length: 8 }, lane));
}

const OPERATIONS = ["create", "get", "mount", "unmount", "remove"] as const;
type Times = Record<(typeof OPERATIONS)[number], number>;

/** Medians in milliseconds. */
async function measure(): Promise<Times> {
  const times: Record<string, number[]> = {};
  const timed = async (name: string, operation: string, body: object) => {
    const began = performance.now();
    await call(operation, body);
    times[name] = [...(times[name] ?? []), performance.now() - began];
  };
  for (let i = 0; i < SAMPLES; i++) {
    await timed("create", "Create", { Name: "one", Opts: { size: "64MB" } });
    await timed("get", "Get", { Name: "one" });
    await timed("mount", "Mount", { Name: "one", ID: "x" });
    await timed("unmount", "Unmount", { Name: "one", ID: "x" });
    await timed("remove", "Remove", { Name: "one" });
  }
  return Object.fromEntries(OPERATIONS.map((name) => [name, median(times[name] ?? [])])) as Times;
}

let missed = 0;
await make(FEW);
const few = await measure();
await make(MANY);
const many = await measure();
console.log(`operation   with ${FEW}, ms   with ${MANY}, ms   ratio`);
for (const name of OPERATIONS) {
  const ratio = many[name] / few[name];
  if (ratio > MOST_RATIO) missed++;
  console.log(
    `${name.padEnd(10)}${few[name].toFixed(1).padStart(10)}${many[name].toFixed(1).padStart(16)}${ratio.toFixed(2).padStart(10)} ${ratio > MOST_RATIO ? "MISS" : "ok"}`,
  );
}

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
