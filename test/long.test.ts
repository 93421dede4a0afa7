import fs from "node:fs";
import path from "node:path";
import t, { type Test } from "tap";
import { run } from "./helpers/run.ts";
import { tempDir } from "./helpers/temp-dir.ts";

const LONG = path.resolve(import.meta.dirname, "../scripts/long");

/** Runs scripts/long over programs that say what they were asked, when so much of its time (s) is over. */
async function long(t: Test, minutes: number, { over = 0, node = "", tests = "" }) {
  const dir = tempDir("long");
  t.teardown(() => fs.rmSync(dir, { recursive: true }));
  fs.mkdirSync(path.join(dir, "scripts"));
  fs.copyFileSync(LONG, path.join(dir, "scripts/long"));
  const script = (name: string, text: string) =>
    fs.writeFileSync(path.join(dir, "scripts", name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  const asked = 'echo "ok asked: $KILL_SECONDS,$LIFE_SECONDS,$POWER_LOSS_FILES,$SIMULATION_SECONDS $*"';
  for (const name of ["setup", "build"]) script(name, "");
  script("test", `${asked}\n${tests}`);
  script("node", `${asked}\n${node}`);
  fs.writeFileSync(path.join(dir, "clock"), `SECONDS=${over}\n`);
  const env = {
    ...process.env,
    PATH: `${dir}/scripts:${process.env["PATH"]}`,
    BASH_ENV: path.join(dir, "clock"),
    SIMULATION_SEED: "7",
  };
  const { code, stdout } = await run("bash", [path.join(dir, "scripts/long"), String(minutes)], { env });
  return { code, stdout };
}

t.test(
  "scripts/long ends when it is told: what does not fit is left out, the simulation has what is over",
  async (t) => {
    const began = Date.now();
    const { code, stdout } = await long(t, 1, { over: 55, node: "sleep $SIMULATION_SECONDS" });
    t.equal(code, 0);
    t.ok(Date.now() - began < 10_000, `${Date.now() - began} ms`);
    t.equal(stdout.match(/== left out/g)?.length, 5, stdout);
    t.match(stdout, /ok asked: ,,,[345] --import=tsx test\/scaleio\/sdc\/simulation.test.ts\n/);
  },
);

t.test("each part has a share, and a failure ends it with the command that replays it", async (t) => {
  // The simulation fails.
  const { code, stdout } = await long(t, 60, { node: "case $* in *simulation.test*) exit 1 ;; esac" });
  t.equal(code, 1);
  t.notMatch(stdout, "left out");
  const numbers = [...stdout.matchAll(/ok asked: (\d*),(\d*),(\d*),(\d*) /g)].map((found) =>
    found.slice(1).map(Number),
  );
  const [kill = 0, blows = 0] = numbers.map(([seconds]) => seconds).filter(Boolean);
  const lives = numbers.reduce((sum, [, seconds = 0]) => sum + seconds, 0);
  t.ok(lives > 500 && lives <= 540, `${lives} s of lives`);
  t.ok(kill > 100 && 4 * kill + 80 <= 540, `${kill} s of each kill`);
  t.ok(blows > 300 && 2 * blows + 60 <= 720, `${blows} s of blows`);
  t.match(
    stdout,
    /\nreplay of all of it: SIMULATION_SEED=7 SIMULATION_SECONDS=\d+ node --import=tsx \S+simulation.test.ts\n$/,
  );

  const failed = await long(t, 60, { over: 3300, tests: "echo 'failed: it'; exit 1" });
  t.equal(failed.code, 1);
  t.match(failed.stdout, /failed: it\nreplay of all of it: .*scripts\/test test\/docker\/managed-plugin.test.ts\n$/);
});
