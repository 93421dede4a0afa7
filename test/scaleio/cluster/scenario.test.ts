import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { requiresFuse, requiresRoot } from "../../helpers/requires.ts";
import { output } from "../../helpers/run.ts";
import { startSim } from "../../helpers/sim.ts";
import { waitFor } from "../../helpers/wait.ts";
import { CONFIG, mountVolume } from "./load.ts";

const skip = requiresRoot() || requiresFuse();
const EXAMPLE = path.resolve(import.meta.dirname, "../../../examples/node-loss.yml");
const CLI = path.resolve(import.meta.dirname, "../../../dist/bin/rexray-sim.js");

interface Event {
  id: number;
  name: string;
  severity: string;
  text: string;
}

t.test("events are told live, with alerts under ScaleIO's names", { skip, timeout: 60_000 }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  const directory = await mountVolume(sim, "v", { size: "64MB" });
  fs.writeFileSync(path.join(directory, "file"), Buffer.alloc(40 << 20, 1));
  await output("sync", ["-f", directory]);
  const follower = spawn(process.execPath, [CLI, "events", "-f", "--json"], {
    env: sim.env,
    stdio: ["ignore", "pipe", "ignore"],
  });
  t.teardown(() => follower.kill("SIGKILL"));
  let told = "";
  follower.stdout.setEncoding("utf8").on("data", (part: string) => (told += part));
  const heard = (name: string, words = "") =>
    waitFor(
      () =>
        told
          .split("\n")
          .map((line) => line && (JSON.parse(line) as Event))
          .find((event) => event && event.name === name && event.text.includes(words)),
      {
        what: `event ${name} ${words}`,
        deadline: 15_000,
      },
    );

  await sim.cli("sds", "maintenance", "sds-3");
  t.match(await heard("SDS_DECOUPLED"), { severity: "error", text: /sds-3/ });
  t.match(await heard("MDM_DATA_DEGRADED"), {
    text: /pool1 degraded: sds-3 stopped since \d\d:\d\d:\d\d, \d+ MB on one copy/,
  });
  const { alerts } = await sim.json<{ alerts: { type: string; text: string }[] }>("status");
  const types = alerts.map(({ type }) => type);
  for (const type of ["SDS_DISCONNECTED", "STORAGE_POOL_HAS_DEGRADED_CAPACITY"]) t.ok(types.includes(type), type);
  const unreachable = "STORAGE_POOL_HAS_UNREACHABLE_CAPACITY";
  t.match(await heard(unreachable), { severity: "warning", text: /free space of pool1 are out of reach/ });
  await sim.cli("sds", "start", "sds-3");
  await heard("SDS_RECONNECTED");
  await heard("MDM_DATA_NORMAL");
  t.match(await heard(unreachable, "cleared: "), { severity: "info" });

  // A node that is lost, and a rebuild that takes long enough to have a time left.
  for (const sds of ["sds-1", "sds-2"]) await sim.cli("fault", "add", "slow", sds, "ms=100");
  await sim.cli("sds", "stop", "sds-4");
  t.match(await heard("REBUILD_PROGRESS", "sds-4"), {
    text: /^pool1 degraded: sds-4 stopped since \d\d:\d\d:\d\d, \d+ MB on one copy, rebuilding \d+ MB, \d+ s left, \d+ % done$/,
  });
  t.match(await heard("REBUILD_STARTED"), { text: /^pool1: rebuild started: \d+ MB to do$/ });
  await sim.cli("fault", "reset");
  await sim.restart("SIGKILL");
  t.match((await sim.cli("events")).stdout, /SDS_DECOUPLED ERROR SDS: sds-3 decoupled/, "the log outlives the daemon");
});

t.test("a scenario is carried out step by step", { skip, timeout: 120_000 }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  await mountVolume(sim, "v", { size: "64MB" });
  const { code, stdout, stderr } = await sim.cli("scenario", "run", EXAMPLE);
  t.equal(code, 0, stdout + stderr);
  const begun = /^ *([\d.]+) s +ok +sds start sds-2$/m.exec(stdout)?.[1];
  t.ok(Number(begun) >= 2, `as it says, not before two seconds are over: ${stdout}`);
  t.match((await sim.cli("fault", "ls")).stdout, /no faults/, "its faults are gone");

  const file = path.join(sim.dir, "scenario.yml");
  const tried = async (text: string) => {
    fs.writeFileSync(file, text);
    return sim.cli("scenario", "run", file);
  };
  t.match(await tried("steps:\n  - do: fault add slow sds-1\n  - {expect: health failed, within: 300ms}\n"), {
    code: 1,
    stdout: /FAIL +expect health failed: not within 0.3 s: it is ok/,
    stderr: /step 2 of 2 failed/,
  });
  t.match((await sim.cli("fault", "ls")).stdout, /no faults/, "also those of one that failed");
  // Every kind of fault, and everything that can be expected.
  const kinds = await sim.json<{ type: string }[]>("fault", "types");
  const targets: Record<string, string> = { "mdm-down": "mdm-1", "sdc-disconnect": "v", "sds-stop": "sds-1" };
  const steps = kinds.flatMap(({ type }) => [
    `do: fault add ${type} ${targets[type] ?? "sds-1/dev-1"} --name f`,
    "do: [fault, rm, f]",
  ]);
  t.equal(steps.length, 18);
  const expectations = [
    ...["health ok", "pool pool1 ok", "volume v ok", "volume w gone", "sds sds-1 up", "sds sds-9 gone"],
    ...["event FAULT_REMOVED", "no alert SDC_DISCONNECTED", "app /none gone"],
  ];
  const silent = ["do: fault add disconnect sds-1", "expect: sds sds-1 decoupled", "expect: alert SDS_DISCONNECTED"];
  const all = [...steps, ...expectations.map((text) => `{expect: ${text}, within: 30s}`), ...silent];
  const { code: status, stdout: said } = await tried(`steps:\n${all.map((step) => `  - ${step}\n`).join("")}`);
  t.equal(status, 0, said);
  t.match(await tried("steps:\n  - {expect: agent agent-1 up, within: 300ms}\n"), { stdout: /it is unknown/ });

  t.match(await tried("steps:\n  - run: [sh, -c, 'echo hello; exit 3']\n"), {
    code: 1,
    stdout: /hello\n.*FAIL .*status 3/,
  });
  t.match(await tried("steps:\n  - do: sds stop nobody\n"), { code: 1, stderr: /no SDS is called "nobody"/ });
  t.match(await tried("steps:\n  - expect: the best\n"), {
    code: 1,
    stderr: /step 1: "the best" cannot be expected; what can: health ok/,
  });
  t.match(await tried("steps:\n  - {do: status, at: soon}\n"), { code: 1, stderr: /must be a time/ });
  t.match(await tried("steps:\n  - {at: 1s}\n"), { code: 1, stderr: /one of do, run and expect/ });
  t.match(await tried("steps: [}"), { code: 1, stderr: /scenario .*scenario.yml: / });
  t.match(await sim.cli("scenario", "run", "/none"), { code: 1, stderr: /no such file/ });
});
