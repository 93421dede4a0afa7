import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { requiresFuse, requiresRoot } from "../../helpers/requires.ts";
import { output } from "../../helpers/run.ts";
import { startSim } from "../../helpers/sim.ts";
import { waitFor } from "../../helpers/wait.ts";
import { CONFIG, cli, dropCaches, fio, killHard, mountVolume, running, stateOf, status } from "./load.ts";

const skip = requiresRoot() || requiresFuse();

const DEVICE_FAULTS = [
  ["io-error", ["on=write"], "failed"],
  ["io-error", ["on=read"], "failed"],
  ["full", [], "failed"],
  ["disconnect", [], "decoupled"],
] as const;

t.test(
  "devices fail under load, and are well again when the fault is taken away",
  { skip, timeout: 120_000 },
  async (t) => {
    const sim = await startSim(t, { config: CONFIG });
    const directory = await mountVolume(sim, "busy", { size: "64MB" });
    const load = fio(directory, 20);
    for (const [type, attributes, state] of DEVICE_FAULTS) {
      const name = await cli(sim, "fault", "add", type, "sds-2", ...attributes);
      t.match(name, new RegExp(`^${type}-1$`));
      dropCaches();
      await waitFor(async () => (await stateOf(sim, "sds-2")) === state, {
        what: `${type} to be noticed`,
        deadline: 10_000,
      });
      t.match((await status(sim)).reasons.join("\n"), /sds-2.*(failed|silent since .*): .*injected fault/);
      await cli(sim, "fault", "rm", name);
      t.equal(await stateOf(sim, "sds-2"), "up");
      await waitFor(async () => (await status(sim)).pools[0]?.health === "ok", {
        what: "two good copies",
        deadline: 30_000,
      });
    }
    t.match(await load.ended, /err= 0/, "the application has noticed nothing");
  },
);

/** After how long the copies of a silent node are made anew (ms): "at once" is before anything else could be waited for. */
const GRACE = [
  { config: "", least: 0, most: 2000, what: "at once, as nothing else is configured" },
  { config: "  rebuildGracePeriod: 3s\n", least: 3000, most: 20_000, what: "after the grace period" },
];

for (const { config, least, most, what } of GRACE) {
  t.test(
    `a silent node is found out though nobody asks it for anything, rebuilt ${what}, and back by itself`,
    { skip, timeout: 120_000 },
    async (t) => {
      const timeZone = "Asia/Kathmandu";
      const sim = await startSim(t, { config: `${CONFIG}${config}`, env: { TZ: timeZone } });
      await mountVolume(sim, "idle", { size: "64MB" });
      await output("sync", []);
      const goes = (state: string) =>
        waitFor(async () => (await status(sim)).sds.find((sds) => sds.name === "sds-2" && sds.state === state), {
          what: `sds-2 ${state}`,
          deadline: 20_000,
        });
      const told = async (name: string) =>
        (await cli(sim, "events", "--json"))
          .split("\n")
          .map((line) => JSON.parse(line) as { name: string; at: string; text: string })
          .find((event) => event.name === name);
      const heard = (name: string) => waitFor(() => told(name), { what: name, deadline: 20_000 });
      const device = path.join(sim.stateDir, "sds/sds-2/dev-1");
      fs.renameSync(device, `${device}.gone`);
      const { since } = await goes("decoupled");
      // By the clock on the wall.
      const clock = new Date(since).toLocaleTimeString("sv", { timeZone });
      t.match((await status(sim)).reasons.join("\n"), `sds-2 is decoupled, silent since ${clock}: ENOENT`);
      t.match((await heard("MDM_DATA_DEGRADED")).text, `pool1 degraded: sds-2 silent since ${clock}, `);
      const waited = Date.parse((await heard("REBUILD_STARTED")).at) - Date.parse(since);
      t.ok(waited >= least && waited < most, `a rebuild after ${waited} ms`);
      await heard("REBUILD_FINISHED");
      fs.renameSync(`${device}.gone`, device);
      await goes("up");
      await heard("SDS_RECONNECTED");
      t.match((await told("SDS_DECOUPLED"))?.text, /SDS: sds-2 decoupled: ENOENT/);
      await waitFor(async () => (await status(sim)).health === "ok", { what: "two good copies", deadline: 30_000 });
    },
  );
}

t.test("a slow device makes the volume slow, and nothing else", { skip, timeout: 60_000 }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  const directory = await mountVolume(sim, "busy", { size: "64MB" });
  await cli(sim, "fault", "add", "slow", "sds-1/dev-1", "ms=50", "--name", "molasses");
  const began = Date.now();
  for (let i = 0; i < 8; i++) {
    const fd = fs.openSync(path.join(directory, `file${i}`), "w");
    fs.writeSync(fd, Buffer.alloc(1 << 20, i + 1));
    fs.fsyncSync(fd);
    fs.closeSync(fd);
  }
  t.ok(Date.now() - began > 8 * 50, `${Date.now() - began} ms for 8 synced files of 1 MiB`);
  await sim.restart("SIGKILL");
  t.match(await cli(sim, "fault", "ls"), /molasses +slow +sds-1\/dev-1 +1 +ms=50/, "faults outlive the daemon");
  await cli(sim, "fault", "reset");
  t.match(await cli(sim, "fault", "ls"), /no faults/);
  t.equal((await status(sim)).health, "ok");
});

t.test(
  "an SDC is cut off: I/O waits, through the death of its engine too, and goes on; with a limit it fails",
  { skip, timeout: 90_000 },
  async (t) => {
    const sim = await startSim(t, { config: CONFIG });
    t.teardown(() => sim.cli("fault", "reset"));
    const [cut, free] = [
      await mountVolume(sim, "cut", { size: "64MB" }),
      await mountVolume(sim, "free", { size: "64MB" }),
    ];
    const waiting = fio(cut, 3);
    await waitFor(() => fs.existsSync(path.join(cut, "fio")), { what: "the load to begin" });
    await cli(sim, "fault", "add", "sdc-disconnect", "cut", "--name", "cable");
    await fio(free, 1).ended;
    t.match(await status(sim), {
      health: "degraded",
      pools: [{ health: "ok" }],
      alerts: [{ type: "SDC_DISCONNECTED" }],
      reasons: [/volume cut: its SDC reaches no SDS, so its I\/O waits: `rexray-sim fault rm cable`/],
    });
    // What does not need the SDC goes on.
    await cli(sim, "sds", "stop", "sds-1");
    await waitFor(async () => (await status(sim)).pools[0]?.health === "ok", { what: "new copies", deadline: 30_000 });
    const engine = async () => (await status(sim)).volumes.find(({ name }) => name === "cut")?.enginePid ?? 0;
    const before = await engine();
    killHard(before);
    await waitFor(async () => (await engine()) !== before, { what: "another engine" });
    await sim.restart("SIGKILL");
    t.notOk(waiting.over(), "it waits still");
    await cli(sim, "fault", "reset");
    t.match(await waiting.ended, /err= 0/, "and has noticed nothing");
    t.equal(
      (await status(sim)).alerts.some(({ type }) => type === "SDC_DISCONNECTED"),
      false,
    );
    t.match(await cli(sim, "events"), /SDC_DISCONNECTED WARNING no SDS is within reach of volume cut: I\/O waits/);

    await cli(sim, "fault", "add", "sdc-disconnect", os.hostname(), "limit=1");
    const began = Date.now();
    const read = () => running("dd", [`if=${path.join(cut, "fio")}`, "iflag=direct", "of=/dev/null", "bs=1M"]).ended;
    await t.rejects(read(), /Input\/output error/);
    t.ok(Date.now() - began >= 1000, `an error after ${Date.now() - began} ms`);
    await cli(sim, "fault", "reset");
    await read();
  },
);

t.test("a node is stopped by a fault, until that is taken away", { skip, timeout: 90_000 }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  await cli(sim, "sds", "stop", "sds-4");
  const refused = await sim.cli("fault", "add", "sds-stop", "sds-4");
  t.match(refused.stderr, /cannot be on "sds-4"; it can be on sds-1, sds-2, sds-3/, "it would not know what to undo");
  await cli(sim, "fault", "add", "sds-stop", "sds-2", "--name", "cut");
  t.equal(await stateOf(sim, "sds-2"), "stopped");
  t.match((await sim.cli("sds", "start", "sds-2")).stderr, /fault cut keeps it stopped; `rexray-sim fault rm cut`/);
  await sim.restart("SIGKILL");
  t.equal(await stateOf(sim, "sds-2"), "stopped");
  await cli(sim, "fault", "reset");
  t.equal(await stateOf(sim, "sds-2"), "up");
  t.equal(await stateOf(sim, "sds-4"), "stopped", "what was ordered stays");
});

t.test("a fault that makes no sense is refused, with what would", { skip }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  const REFUSED = [
    [["slow", "sds-9"], /cannot be on "sds-9"; it can be on sds-1, sds-1\/dev-1/],
    [["mdm-down", "sds-1"], /it can be on mdm-1/],
    [["sds-stop", "sds-1", "--probability", "0.5"], /there or not: it takes no probability/],
    [["slow", "sds-1", "ms=fast"], /ms "fast" is not how much longer/],
    [["slow", "sds-1", "colour=red"], /has no attribute "colour"; it has ms/],
    [["slow", "sds-1", "ms"], /write KEY=VALUE/],
    [["slow", "sds-1", "--probability", "2"], /not above 0 and at most 1/],
    [["slow", "sds-1", "--name", "a b"], /no name for a fault/],
  ] as const;
  for (const [args, words] of REFUSED) t.match(await sim.cli("fault", "add", ...args), { code: 1, stderr: words });
  t.match(await sim.cli("fault", "add", "gremlin", "sds-1"), { code: 2, stderr: /choices are agent-lost, .*bit-flip/ });
  t.match(await sim.cli("fault", "rm", "none"), { code: 1, stderr: /no fault is called "none"/ });
  t.match(await cli(sim, "fault", "ls"), /no faults/, "nothing half done");
});
