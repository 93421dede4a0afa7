import fs from "node:fs";
import path from "node:path";
import t, { type Test } from "tap";
import type { CapacityStates } from "../../../src/scaleio/model.ts";
import { call } from "../../helpers/plugin-client.ts";
import { requiresFuse, requiresRoot } from "../../helpers/requires.ts";
import { output } from "../../helpers/run.ts";
import { type Sim, startSim } from "../../helpers/sim.ts";
import { waitFor } from "../../helpers/wait.ts";
import { CONFIG, cli, dropCaches, type Layout, mountAgain, mountVolume, stateOf, status } from "./load.ts";
import { Versions } from "./versions.ts";

const MIB = 1024 * 1024;
const skip = requiresRoot() || requiresFuse();

/** The states of the pool's capacity, which add up. */
async function capacity(t: Test, sim: Sim): Promise<CapacityStates> {
  const { pools } = await sim.json<{ pools: [CapacityStates & { capacityBytes: number }] }>("status");
  const [pool] = pools;
  const { inUseBytes, spareBytes, unusedBytes, unreachableUnusedBytes, degradedFailedBytes, failedBytes } = pool;
  const all = inUseBytes + spareBytes + unusedBytes + unreachableUnusedBytes + degradedFailedBytes + failedBytes;
  // A copy takes a share of what its device holds, in whole bytes or not.
  t.ok(Math.abs(all - pool.capacityBytes) < 1000, `${all} of ${pool.capacityBytes}`);
  return pool;
}

/** Whose files lie on the devices, and of which volumes there are records. */
function idsBelow(stateDir: string): string[] {
  const files = ["sds", "sdc"].flatMap((dir) =>
    fs.readdirSync(path.join(stateDir, dir), { recursive: true, encoding: "utf8" }),
  );
  return [...new Set(files.flatMap((file) => file.match(/[0-9a-f]{16}/g) ?? []))];
}

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
    const alert = report.alerts.find(({ type }) => type === "STORAGE_POOL_HAS_FAILED_CAPACITY");
    t.match(alert?.text, /^pool1 failed: \d+ MB have no good copy within reach$/);
    const told = /MDM_DATA_FAILED CRITICAL .*Some data is unavailable\. pool1 failed: .* have no good copy/;
    await waitFor(async () => told.test(await cli(sim, "events")), { what: "the event" });
    await t.test("no volume is made that could not be kept twice, nor half of one", async (t) => {
      const { id } = await sim.json<Layout>("volume", "inspect", "v");
      await t.rejects(
        call(sim.socket, "Create", { Name: "new", Opts: { size: "64MB" } }),
        /volume new: fewer than three fault units of pool pool1 are up, .* start the SDSs that are down/,
      );
      t.strictSame(idsBelow(sim.stateDir), [id], "no file of it is left");
      t.strictSame(
        (await sim.json<{ name: string }[]>("volume", "ls")).map(({ name }) => name),
        ["v"],
      );
    });
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

/** Chunks of a volume's device that cannot be read. */
async function unreadable(device: string, chunks: number): Promise<number[]> {
  const bad: number[] = [];
  // The file system's journal stays in memory, whatever is dropped.
  for (let chunk = 0; chunk < chunks; chunk++) {
    const dd = [`if=${device}`, "of=/dev/null", "bs=1M", "count=1", `skip=${chunk}`, "iflag=direct"];
    await output("dd", dd).catch(() => bad.push(chunk));
  }
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
        // Also when something fails: the process would never end.
        t.teardown(() => load.stop());
        await load.start();
        await cli(sim, "sds", "stop", "sds-1");
        const toRebuild = async () => (await status(sim)).pools[0]?.rebuildBytes ?? 0;
        const all = await waitFor(toRebuild, { what: "a rebuild" });
        await waitFor(async () => (await toRebuild()) < all, { what: "some copies", deadline: 30_000 });
        await waitFor(async () => /\nwork +rebuild: .* to do, \d+ (s|min|h) left\n/.test(await cli(sim, "status")), {
          what: "the time left to be told",
        });
        await cli(sim, ...gone);
        t.ok((await toRebuild()) > 0, "in the middle of it");
        await waitFor(async () => (await stateOf(sim, "sds-2")) !== "up", { what: "it to be noticed" });
        // A sync that fails costs more copies: what is looked at must not change meanwhile.
        await load.stop();
        dropCaches();
        const reached = (node: string | undefined) =>
          node !== undefined && node !== "sds-1" && (gone[0] === "fault" || node !== "sds-2");
        const lostNow = async () => {
          const { id, device, chunks } = await sim.json<Layout>("volume", "inspect", "v", "--chunks");
          const lost = chunks.filter(({ primary, secondary, third, stale }) =>
            [primary, secondary, third].every((node) => !reached(node) || stale.includes(node as string)),
          );
          const engine = JSON.parse(fs.readFileSync(path.join(sim.runDir, "sdc", id, "status.json"), "utf8"));
          const { unsyncedChunks } = engine as { unsyncedChunks: number };
          return { device, lost: lost.map(({ chunk }) => chunk), all: chunks.length, unsyncedChunks };
        };
        const { device, lost, all: chunks } = await lostNow();
        const found = await unreadable(device, chunks);
        // A sync that fails meanwhile (the file system has its journal) costs more of them.
        const { lost: after, unsyncedChunks } = await lostNow();
        // What has to be compared with a copy that is away is refused, too.
        const others = found.filter((chunk) => !after.includes(chunk));
        t.ok(others.length <= unsyncedChunks, `${others} of ${unsyncedChunks}: only what has no good copy left`);
        if (gone[0] === "sds") t.strictSame(others, []);
        t.strictSame(
          lost.filter((chunk) => !found.includes(chunk)),
          [],
          "and all of that",
        );
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
