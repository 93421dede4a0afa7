import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { holdDir } from "../../src/daemon/lock.ts";
import { tempDir } from "../helpers/temp-dir.ts";

const options = { what: "state directory", flag: "--state-dir", mode: 0o755, runDir: "/run/a", lost: () => {} };

function temp(t: { teardown(work: () => void): void }): string {
  const dir = tempDir("rexray-sim-lock");
  t.teardown(() => fs.rmSync(dir, { recursive: true }));
  return dir;
}

/** A process that holds the directory until it is killed. */
async function holder(dir: string) {
  const module = path.resolve(import.meta.dirname, "../../src/daemon/lock.ts");
  const text = `import { holdDir } from ${JSON.stringify(module)};
    await holdDir(${JSON.stringify(dir)}, ${JSON.stringify(options)});
    console.log("held");
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--import=tsx", "--input-type=module", "--eval", text], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return child;
}

t.test("a directory is made, held once, and free again after its release", async (t) => {
  const dir = path.join(temp(t), "a/b");
  const held = await holdDir(dir, options);
  await t.rejects(holdDir(dir, { ...options, runDir: "/run/b" }), {
    code: "in_use",
    message: `a rexray-sim runs with state directory ${dir} (process ${process.pid}, run directory /run/a): stop it with \`rexray-sim down --run-dir /run/a\`, or give another --state-dir`,
  });
  await held.release();
  await (await holdDir(dir, options)).release();
  t.same(fs.readdirSync(dir), []);
});

t.test("of many that want a directory at once, one gets it", async (t) => {
  const dir = temp(t);
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => holdDir(dir, options)));
  const held = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  t.equal(held.length, 1);
  await held[0]?.release();
});

t.test("the directory of a live process is refused, that of a killed one taken over at once", async (t) => {
  const dir = temp(t);
  const child = await holder(dir);
  await t.rejects(holdDir(dir, options), { code: "in_use", message: new RegExp(`process ${child.pid}`) });
  child.kill("SIGKILL");
  await once(child, "exit");
  t.ok(fs.existsSync(path.join(dir, "daemon.lock")), "the lock is still there");
  const begin = performance.now();
  const held = await holdDir(dir, options);
  t.ok(performance.now() - begin < 1000, "without waiting for the lock to become stale");
  await held.release();
});

t.test("a holder of another PID namespace is believed as long as it keeps its lock fresh", async (t) => {
  const dir = temp(t);
  const held = await holdDir(dir, options);
  const file = path.join(dir, "daemon.holder");
  const record = JSON.parse(fs.readFileSync(file, "utf8"));
  fs.writeFileSync(file, JSON.stringify({ ...record, pid: 2 ** 30, namespace: "pid:[1]" }));
  await t.rejects(holdDir(dir, options), { code: "in_use" });
  await held.release();
});

t.test("a directory that cannot be made is named with the remedy", async (t) => {
  const file = path.join(temp(t), "file");
  fs.writeFileSync(file, "");
  await t.rejects(holdDir(path.join(file, "x"), options), {
    code: "host_failed",
    message: /state directory .*--state-dir/,
  });
});
