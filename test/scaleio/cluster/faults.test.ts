import fs from "node:fs";
import { open } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t, { type Test } from "tap";
import type { CapacityStates } from "../../../src/scaleio/model.ts";
import { call } from "../../helpers/plugin-client.ts";
import { requiresFuse, requiresRoot } from "../../helpers/requires.ts";
import { output } from "../../helpers/run.ts";
import { type Sim, startSim } from "../../helpers/sim.ts";
import { waitFor } from "../../helpers/wait.ts";
import {
  CONFIG,
  dropCaches,
  fio,
  killHard,
  type Layout,
  mountAgain,
  mountVolume,
  running,
  type Status,
} from "./load.ts";

import { Versions } from "./versions.ts";

const MIB = 1024 * 1024;
const skip = requiresRoot() || requiresFuse();

type Pool = CapacityStates & { health: string; capacityBytes: number; rebuildBytes: number };

/** The states of the pool's capacity, which add up. */
async function capacity(t: Test, sim: Sim): Promise<CapacityStates> {
  const pool = (await status(sim)).pools[0] as Pool;
  const { inUseBytes, spareBytes, unusedBytes, unreachableUnusedBytes, degradedFailedBytes, failedBytes } = pool;
  const all = inUseBytes + spareBytes + unusedBytes + unreachableUnusedBytes + degradedFailedBytes + failedBytes;
  // A copy takes a share of what its device holds, in whole bytes or not.
  t.ok(Math.abs(all - pool.capacityBytes) < 1000, `${all} of ${pool.capacityBytes}`);
  return pool;
}

const status = (sim: Sim) => sim.json<Status & { pools: Pool[]; alerts: { type: string; text: string }[] }>("status");
const stateOf = async (sim: Sim, name: string) => (await status(sim)).sds.find((sds) => sds.name === name)?.state;

/** Fails where the command does. */
async function cli(sim: Sim, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await sim.cli(...args);
  if (code !== 0) throw new Error(`rexray-sim ${args.join(" ")}: ${stderr}`);
  return stdout.trim();
}

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

t.test(
  "a silent node is found out though nobody asks it for anything, waited for, and back by itself",
  { skip, timeout: 120_000 },
  async (t) => {
    const sim = await startSim(t, { config: `${CONFIG}  rebuildGracePeriod: 3s\n` });
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
    t.match((await status(sim)).reasons.join("\n"), /sds-2 is decoupled, silent since \d\d:\d\d:\d\d: ENOENT/);
    t.match((await heard("MDM_DATA_DEGRADED")).text, /pool1 degraded: sds-2 silent since/);
    const waited = Date.parse((await heard("REBUILD_STARTED")).at) - Date.parse(since);
    t.ok(waited >= 3000, `a rebuild after ${waited} ms`);
    await heard("REBUILD_FINISHED");
    fs.renameSync(`${device}.gone`, device);
    await goes("up");
    await heard("SDS_RECONNECTED");
    t.match((await told("SDS_DECOUPLED"))?.text, /SDS: sds-2 decoupled: ENOENT/);
    await waitFor(async () => (await status(sim)).health === "ok", { what: "two good copies", deadline: 30_000 });
  },
);

t.test(
  "two nodes gone at once: errors where both copies were, and nothing lost when one is back",
  { skip, timeout: 90_000 },
  async (t) => {
    const sim = await startSim(t, { config: `${CONFIG}  rebuildGracePeriod: 5s\n` });
    const directory = await mountVolume(sim, "v", { size: "64MB" });
    const text = Buffer.alloc(24_000_000, "what was acknowledged ");
    const fd = fs.openSync(path.join(directory, "file"), "w");
    fs.writeSync(fd, text);
    fs.fsyncSync(fd);
    fs.closeSync(fd);
    await call(sim.socket, "Unmount", { Name: "v", ID: "test" });
    // Both before the first is waited for no longer, so that no new copies are made.
    await cli(sim, "sds", "stop", "sds-1");
    const one = await capacity(t, sim);
    await cli(sim, "sds", "stop", "sds-2");
    const both = await capacity(t, sim);
    // Half of what there is has a copy on one node of four, a sixth has both on two of them.
    const near = (bytes: number, copies: number, what: string) =>
      t.ok(Math.abs(bytes / (copies * text.length) - 1) < 0.3, `${what}: ${bytes}`);
    near(one.protectedBytes, 1, "protected, with one node away");
    near(one.degradedHealthyBytes, 1 / 2, "degraded-healthy");
    t.match(one, { degradedFailedBytes: one.degradedHealthyBytes, semiProtectedBytes: 0, failedBytes: 0 });
    t.ok(both.unreachableUnusedBytes > 1.9 * one.unreachableUnusedBytes && one.unreachableUnusedBytes > 0);
    near(both.protectedBytes, 1 / 3, "protected, with two away");
    near(both.degradedHealthyBytes, 2 / 3, "degraded-healthy");
    near(both.failedBytes, 1 / 3, "failed");
    const report = await status(sim);
    t.match(report, { health: "failed", volumes: [{ health: "failed" }] });
    t.match(report.reasons.join("\n"), /no good copy within reach; reading them fails until their SDS is back/);
    await cli(sim, "sds", "start", "sds-1");
    await waitFor(async () => (await status(sim)).pools[0]?.health === "ok", {
      what: "two good copies",
      deadline: 60_000,
    });
    const after = await capacity(t, sim);
    t.match(after, { protectedBytes: after.inUseBytes, degradedFailedBytes: 0, failedBytes: 0 });
    t.ok(after.unreachableUnusedBytes > 0, "sds-2 is away still");
    const again = await mountAgain(sim, "v", "test");
    dropCaches();
    t.ok(fs.readFileSync(path.join(again, "file")).equals(text));
  },
);

/** Chunks of a volume's device that cannot be read. Without read-ahead: that makes one folio of two chunks, which fails as one. */
async function unreadable(device: string, chunks: number): Promise<number[]> {
  await output("blockdev", ["--setra", "0", device]);
  const bad: number[] = [];
  const handle = await open(device, "r");
  for (let chunk = 0; chunk < chunks; chunk++)
    await handle.read(Buffer.alloc(MIB), 0, MIB, chunk * MIB).catch(() => bad.push(chunk));
  await handle.close();
  return bad;
}

const SECONDS_GONE = [
  ["its node stops", ["sds", "stop", "sds-2"], ["sds", "start", "sds-2"]],
  ["it cannot sync what it was given", ["fault", "add", "io-error", "sds-2", "on=sync"], ["fault", "reset"]],
] as const;

t.test(
  "a second node fails while the copies of the first are being made anew",
  { skip, timeout: 240_000 },
  async (t) => {
    const policy = "{policy: favorAppIos, bandwidthKbps: 256}";
    const sim = await startSim(t, { config: `${CONFIG}  rebuildPolicy: ${policy}\n` });
    await call(sim.socket, "Create", { Name: "v", Opts: { size: "64MB" } });
    const healthy = async () => (await status(sim)).pools[0]?.health === "ok";
    for (const [what, gone, back] of SECONDS_GONE) {
      await t.test(what, async (t) => {
        const load = new Versions(await mountAgain(sim, "v", "test"), 5000);
        await load.start();
        await cli(sim, "sds", "stop", "sds-1");
        const toRebuild = async () => (await status(sim)).pools[0]?.rebuildBytes ?? 0;
        const all = await waitFor(toRebuild, { what: "a rebuild" });
        await waitFor(async () => (await toRebuild()) < all, { what: "some copies", deadline: 30_000 });
        t.ok((await capacity(t, sim)).semiProtectedBytes > 0, "the second copies are being made");
        await waitFor(async () => /\nwork +rebuild: .* to do, \d+ (s|min|h) left\n/.test(await cli(sim, "status")), {
          what: "the time left to be told",
        });
        await cli(sim, ...gone);
        t.ok((await toRebuild()) > 0, "in the middle of it");
        await waitFor(async () => (await stateOf(sim, "sds-2")) !== "up", { what: "it to be noticed" });
        // A sync that fails costs more copies: what is looked at must not change meanwhile.
        await load.stop();
        dropCaches();
        const layout = await sim.json<Layout>("volume", "inspect", "v", "--chunks");
        const reached = (node: string | undefined) =>
          node !== undefined && node !== "sds-1" && (gone[0] === "fault" || node !== "sds-2");
        const lost = layout.chunks
          .filter(({ primary, secondary, third, stale }) =>
            [primary, secondary, third].every((node) => !reached(node) || stale.includes(node as string)),
          )
          .map(({ chunk }) => chunk);
        t.strictSame(await unreadable(layout.device, layout.chunks.length), lost, "exactly what has no good copy left");
        if (gone[0] === "sds") t.ok(lost.length > 0, `${lost.length} chunks are out of reach`);
        dropCaches();
        await load.check(path.dirname(load.file));
        t.strictSame(
          load.wrong,
          [],
          `${load.writes} writes acknowledged, ${load.errors} errors: nothing wrong was read`,
        );

        await cli(sim, ...back);
        await cli(sim, "sds", "start", "sds-1");
        await call(sim.socket, "Unmount", { Name: "v", ID: "test" });
        const again = await mountAgain(sim, "v", "test");
        await waitFor(healthy, { what: "two good copies", deadline: 60_000 });
        dropCaches();
        t.strictSame(await load.check(again), [], "all of it can be read");
        t.strictSame(load.wrong, [], "everything acknowledged is there");
        await call(sim.socket, "Unmount", { Name: "v", ID: "test" });
        t.match(await sim.cli("volume", "scan", "v"), { code: 0, stderr: /nothing found/ }, "in both copies");
      });
    }
    await t.test("and no faster than its policy says while an application is at work", async () => {
      const load = new Versions(await mountAgain(sim, "v", "test"), 5000);
      await load.start();
      await cli(sim, "sds", "stop", "sds-1");
      const toRebuild = async () => (await status(sim)).pools[0]?.rebuildBytes ?? 0;
      const all = await waitFor(toRebuild, { what: "a rebuild" });
      const began = performance.now();
      const copied = await waitFor(
        async () => {
          const bytes = all - (await toRebuild());
          return bytes >= 6 * MIB && bytes;
        },
        { what: "some copies", deadline: 60_000 },
      );
      const seconds = (performance.now() - began) / 1000;
      await load.stop();
      // On each of three devices; an engine's first step of two chunks is for nothing, and one may have been under way.
      t.ok(copied - 4 * MIB <= seconds * 3 * 256 * 1024, `${copied} bytes in ${seconds} s`);
      await cli(sim, "sds", "start", "sds-1");
    });
  },
);

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

t.test("MDM members down: one costs nothing, two stop changes, I/O goes on", { skip, timeout: 60_000 }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  const directory = await mountVolume(sim, "busy", { size: "64MB" });
  const load = fio(directory, 5);
  await cli(sim, "fault", "add", "mdm-down", "mdm-1");
  t.match((await status(sim)).reasons.join(), /MDM member 1 failed: it is down/);
  await call(sim.socket, "Create", { Name: "with-two", Opts: {} });
  await cli(sim, "fault", "add", "mdm-down", "mdm-3");
  await t.rejects(call(sim.socket, "Create", { Name: "with-one", Opts: {} }), /takes no changes/);
  await cli(sim, "fault", "reset");
  await call(sim.socket, "Create", { Name: "with-all", Opts: {} });
  t.equal((await status(sim)).health, "ok");
  t.match(await load.ended, /err= 0/);
  await sim.restart("SIGKILL");
  t.strictSame((await status(sim)).volumes.map(({ name }) => name).sort(), ["busy", "with-all", "with-two"]);
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

t.test(
  "two MDM members lost while nobody looked, and the third is old: nothing is done until a second one is back",
  { skip, timeout: 90_000 },
  async (t) => {
    const sim = await startSim(t, { config: CONFIG });
    const place = (member: number) => path.join(sim.stateDir, "mdm", String(member));
    const directory = await mountVolume(sim, "busy", { size: "64MB" });
    fs.writeFileSync(path.join(directory, "file"), "kept");
    fs.cpSync(place(3), `${place(3)}.old`, { recursive: true });
    // What the old member does not know: an empty volume, and newer maps.
    await call(sim.socket, "Create", { Name: "later", Opts: { size: "64MB" } });
    for (const order of ["stop", "start"]) await cli(sim, "sds", order, "sds-2");
    await waitFor(async () => (await status(sim)).health === "ok", { what: "the health to be ok", deadline: 30_000 });
    const { id } = (await status(sim)).volumes.find(({ name }) => name === "busy") as { id: string };
    const session = path.join(sim.runDir, "sdc", id, "session.json");
    const before = fs.readFileSync(session, "utf8");
    const files = () =>
      fs.readdirSync(sim.stateDir, { recursive: true, encoding: "utf8" }).filter((file) => /\.vol$|ledger/.test(file));
    const stored = files().sort();

    await sim.kill();
    for (const member of [1, 2]) fs.renameSync(place(member), `${place(member)}.away`);
    fs.renameSync(place(3), `${place(3)}.away`);
    fs.renameSync(`${place(3)}.old`, place(3));
    await sim.start();
    const report = await sim.json<Status & { isCurrent: boolean; mdm: { state: string }[] }>("status");
    t.match(report, { isCurrent: false, health: "degraded", volumes: [{ name: "busy" }] });
    t.match(report.reasons[0], /the MDM has no quorum: all that is shown may be old/);
    t.match(await sim.cli("volume", "ls"), { code: 0, stderr: /may be old/ });
    const { Volume } = await call<{ Volume: { Status: { fields: Record<string, string> } } }>(sim.socket, "Get", {
      Name: "busy",
    });
    t.match(Volume.Status.fields["mdm"], /may be old/);
    const words = /member 1: its files are lost.*bring a second one of .*mdm\/1.*copy its directory over/;
    for (const [path, body] of [
      ["Get", { Name: "later" }],
      ["Create", { Name: "new", Opts: {} }],
      ["Mount", { Name: "busy", ID: "other" }],
      ["Unmount", { Name: "busy", ID: "test" }],
      ["Remove", { Name: "busy" }],
    ] as const)
      await t.rejects(call(sim.socket, path, body), words, path);
    for (const args of ["sds stop sds-1", "sds start sds-1", "sds add sds-5", "volume resize busy 128MB"])
      t.match(await sim.cli(...args.split(" ")), { code: 1, stderr: words }, args);
    fs.writeFileSync(path.join(directory, "meanwhile"), "written");
    t.equal(fs.readFileSync(session, "utf8"), before, "the engine goes on by the map it had");
    t.same(files().sort(), stored, "nothing is removed, nor made");

    for (const member of [1, 2]) fs.renameSync(`${place(member)}.away`, place(member));
    await waitFor(async () => (await sim.json<{ isCurrent: boolean }>("status")).isCurrent, {
      what: "the quorum to be found",
    });
    await waitFor(async () => (await status(sim)).health === "ok", { what: "the health to be ok", deadline: 30_000 });
    await mountAgain(sim, "later", "test");
    await call(sim.socket, "Unmount", { Name: "busy", ID: "test" });
    const again = await mountAgain(sim, "busy", "test");
    t.equal(fs.readFileSync(path.join(again, "file"), "utf8"), "kept");
    t.equal(fs.readFileSync(path.join(again, "meanwhile"), "utf8"), "written");
  },
);

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
