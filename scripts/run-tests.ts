import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { baseline, findLeaks, type Leak, removeLeaks } from "../test/helpers/leaks.ts";
import { readTap } from "./read-tap.ts";

/*
 * Runs tap on the given files, or all, then looks for what the tests left on the machine. The last line is
 * `N passed, N failed[, N skipped]`: tap's own counts, and a failure more for each leak and each forbidden skip.
 *
 * TEST_LIMIT: seconds after which the run is broken off. ALLOWED_SKIPS: a file with the only tests that may be skipped.
 * NOT_ALONE: others make loop devices meanwhile, so one that does not tell its file is not taken for ours.
 */
const limit = Number(process.env["TEST_LIMIT"] ?? 0);
const allowedSkips = process.env["ALLOWED_SKIPS"];

/** How long what has ended may take to be gone (ms). */
const GONE_LIMIT = 5_000;
/** Caches of the tools themselves, in the directory for temporary files. */
const CACHES = /^(?:tsx-\d+|node-compile-cache)$/;

// One name, in paths and in the environment, tells ours from everybody else's, whatever else runs on the machine.
const run = `rxs-${randomBytes(4).toString("hex")}`;
const dir = path.join(os.tmpdir(), run);
const plugin = (name: string) => name.startsWith(`${run}-`);
const before = process.env["NOT_ALONE"] ? {} : { before: baseline() };
const scope = { dir, mark: `REXRAY_SIM_TEST_RUN=${run}`, plugin, ...before };
const tapFile = path.join(dir, "run.tap");
fs.mkdirSync(dir, { mode: 0o755 });

// Ctrl-C reaches tap as well and ends it; the rest still has to be cleaned up.
process.on("SIGINT", () => undefined);

const { status, tap } = await runTap();
const { passed, failures, skips } = readTap(tap);
const wrong = failures.map((name) => `failed: ${name}`);
// tap fails for more than tests: a run broken off, a file that is none, a configuration that it cannot read.
if (status !== 0 && wrong.length === 0) wrong.push(`failed: tap ended with ${status}`);

const allowed = allowedSkips === undefined ? undefined : fs.readFileSync(allowedSkips, "utf8").split("\n");
for (const { name, reason } of skips) {
  if (allowed === undefined || allowed.includes(name)) console.log(`skipped: ${name}: ${reason}`);
  else wrong.push(`skipped without leave: ${name}: ${reason}`);
}

for (const { kind, what } of await leaksLeft()) wrong.push(`left behind: ${kind} ${what}`);
removeLeaks(scope);
fs.rmSync(dir, { recursive: true, force: true });

for (const line of wrong) console.log(line);
console.log(`${passed} passed, ${wrong.length} failed${skips.length > 0 ? `, ${skips.length} skipped` : ""}`);
process.exitCode = wrong.length === 0 ? 0 : 1;

/** Answers tap's exit status, or the signal that ended it, and its raw output. */
async function runTap(): Promise<{ status: number | string; tap: string }> {
  const screen = process.stdout.isTTY;
  // On a terminal a picture, and the TAP aside; otherwise the TAP itself. Both at once are beyond tap: it doubles each line.
  const args = screen ? ["--reporter=base", `--output-file=${tapFile}`] : ["--reporter=tap"];
  const child = spawn("node_modules/.bin/tap", [...args, ...process.argv.slice(2)], {
    stdio: ["ignore", screen ? "inherit" : "pipe", "inherit"],
    env: { ...process.env, TMPDIR: dir, REXRAY_SIM_TEST_RUN: run },
  });
  const timer = limit > 0 ? setTimeout(() => child.kill("SIGKILL"), limit * 1000) : undefined;
  let tap = "";
  child.stdout?.setEncoding("utf8").on("data", (part: string) => {
    tap += part;
    process.stdout.write(part);
  });
  const status = await new Promise<number | string>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(code === null ? `signal ${signal}` : code));
  });
  clearTimeout(timer);
  if (screen && fs.existsSync(tapFile)) tap = fs.readFileSync(tapFile, "utf8");
  return { status, tap };
}

/** What is still there after a while, files in the directory for temporary files included. */
async function leaksLeft(): Promise<Pick<Leak, "kind" | "what">[]> {
  const end = Date.now() + GONE_LIMIT;
  while (findLeaks(scope).length > 0 && Date.now() < end) await pause(100);
  const files = fs.readdirSync(dir).filter((name) => !CACHES.test(name) && name !== path.basename(tapFile));
  return [...findLeaks(scope), ...files.map((name) => ({ kind: "file" as const, what: path.join(dir, name) }))];
}
