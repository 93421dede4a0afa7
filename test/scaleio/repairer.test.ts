import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import t, { type Test } from "tap";
import type { SystemState, VolumeRecord } from "../../src/scaleio/model.ts";
import type { ThrottlePolicy } from "../../src/scaleio/pool/throttle.ts";
import { RepairTurns } from "../../src/scaleio/repair-turns.ts";
import { Repairer, type RepairerOptions } from "../../src/scaleio/repairer.ts";
import { createRecords } from "../../src/scaleio/sdc/books.ts";
import { Layout } from "../../src/scaleio/sdc/layout.ts";
import { type EngineStatus, sessionFiles } from "../../src/scaleio/sdc/session.ts";
import { volumeFile } from "../../src/scaleio/sds/volume-files.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait.ts";

// The policies of spec/scaleio.md 1.7, with engines that only count.
const MIB = 1024 * 1024;
const policy = (name: ThrottlePolicy["policy"], concurrentIos = 1): ThrottlePolicy => ({
  policy: name,
  concurrentIos,
  bandwidthKbps: 1024 ** 2,
  appIopsThreshold: 10,
  appBandwidthKbpsThreshold: 1024,
  quietPeriodMs: 1000,
});

/** Volumes with all their copies on two of three devices; the map wants a third copy of each chunk. */
class World {
  readonly stateDir = tempDir("repairer");
  readonly volumes = new Map<string, VolumeRecord>();
  /** What engines were told: chunks at a time. */
  readonly steps: { readonly id: string; readonly chunks: number }[] = [];
  /** Layers that were opened to be repaired. */
  readonly opened: string[] = [];
  /** Those of them whose retired copies could be given up. */
  readonly givenUp: string[] = [];
  /** Stale copies left, by volume. */
  readonly left = new Map<string, number>();
  /** How many chunks of a volume have one good copy; they come first. */
  readonly degraded = new Map<string, number>();
  /** Volumes with nothing that an engine can make good. */
  readonly stuck = new Set<string>();
  /** The layers that engines write to, where they are not those of their volumes' names. */
  readonly layers = new Map<string, string>();
  requests = 0;
  /** Copies that applications are still to make stale, as many as were made good at a time. */
  spoilt = 0;
  /** Engines say what they have made good; those of a former version do not. */
  engines: "new" | "old" = "new";
  /** The map that engines go by. */
  mapVersion = 1;
  readonly turns = new RepairTurns();
  /** Engines at work, and the most at a time. */
  working = 0;
  most = 0;
  state: SystemState;
  readonly attached: readonly string[];
  #repairer: Repairer | undefined;

  constructor(t: Test, attached: readonly string[], others: readonly string[]) {
    t.teardown(async () => {
      await this.#repairer?.stop();
      fs.rmSync(this.stateDir, { recursive: true });
    });
    this.attached = attached;
    for (const id of [...attached, ...others]) {
      const volume = { id, name: id, sizeBytes: 1000 * MIB, firstGroup: 0, mappedTo: null } as unknown as VolumeRecord;
      this.volumes.set(id, volume);
      this.left.set(id, 1000);
      const layout = new Layout(volume, [0, 1, -1, 0]);
      createRecords(this.stateDir, { id, layout, mapVersion: 1, hasFile: () => true });
    }
    const deviceIds = ["d0", "d1", "d2"];
    this.state = {
      pool: { mapVersion: 1, deviceIds, groups: [[0, 1, 2, 0]] },
      sds: [],
      volumes: this.volumes,
    } as unknown as SystemState;
  }

  /** The devices are up and have all files, but for those of these volumes on the second one. */
  haveFiles({ without }: { readonly without: readonly string[] }): void {
    const devices = this.state.pool.deviceIds.map((id) => ({ id, path: path.join(this.stateDir, id), state: "up" }));
    for (const { id: device, ...place } of devices) {
      for (const id of this.volumes.keys()) {
        const file = volumeFile(place, id);
        fs.mkdirSync(path.dirname(file), { recursive: true });
        if (device !== "d1" || !without.includes(id)) fs.writeFileSync(file, "");
      }
    }
    const sds = devices.map((device) => ({ name: device.id, state: "up", devices: [device] }));
    this.state = { ...this.state, sds } as unknown as SystemState;
  }

  /** A volume's layer is frozen, and it writes to one above, of which all copies are good. */
  freeze(id: string): void {
    const layout = new Layout({ sizeBytes: 1000 * MIB, firstGroup: 0 }, [0, 1, -1, 0]);
    createRecords(this.stateDir, { id: "above", layout, mapVersion: 1, hasFile: () => true, inherited: 1000 });
    const lower = [{ id, sizeBytes: 1000 * MIB }];
    this.volumes.set(id, { ...(this.volumes.get(id) as VolumeRecord), layerId: "above", lower });
    this.left.set(id, 0).set(`layer-${id}`, 1000);
  }

  start(t: Test, rebuild: ThrottlePolicy, rebalance: ThrottlePolicy = rebuild): Repairer {
    const world = this;
    const nothing = async () => undefined;
    const sdc: RepairerOptions["sdc"] = {
      known: () => [...world.attached],
      status: (id) => world.#status(id),
      device: async (id) => (world.attached.includes(id) ? "/dev/loop" : undefined),
      work: (id, chunks) => world.#work(id, chunks),
      async repair(session, signal, task) {
        world.opened.push(`${session.volumeId} by map ${session.mapVersion}`);
        if (session.giveUp) world.givenUp.push(session.volumeId);
        await task({
          status: world.#status(session.volumeId),
          work: async (chunks) => {
            signal.throwIfAborted();
            return world.#work(session.volumeId, chunks);
          },
          scan: async () => world.#status(session.volumeId),
        });
        return world.#status(session.volumeId);
      },
      traffic: () => ({ requests: world.requests, bytes: 4096 * world.requests }),
    };
    const mdm = {
      get state() {
        return world.state;
      },
      repair: nothing,
    };
    this.#repairer = new Repairer({
      stateDir: this.stateDir,
      sdc,
      mdm,
      turns: this.turns,
      faults: { on: () => [], faults: [] },
      policies: { rebuild, rebalance },
      deviceFailed: nothing,
      badBlocks: nothing,
      absorbed: nothing,
      move: async () => false,
      log: (message) => t.fail(message),
    });
    this.#repairer.start();
    return this.#repairer;
  }

  #status(id: string, worked?: number): EngineStatus {
    const staleCopies = this.left.get(id) ?? 0;
    const none = { unsyncedChunks: 0, garbage: 0, absorbing: 0, absorbed: [], badBlocks: [], failedDevices: [] };
    return {
      ...none,
      worked,
      staleCopies,
      degradedChunks: this.degraded.get(id) ?? 0,
      fixedBlocks: 0,
      mapVersion: this.mapVersion,
      layerId: this.layers.get(id) ?? id,
    } as unknown as EngineStatus;
  }

  async #work(id: string, chunks: number): Promise<EngineStatus> {
    this.steps.push({ id, chunks });
    this.most = Math.max(this.most, ++this.working);
    await pause(20);
    this.working--;
    const left = this.left.get(id) ?? 0;
    const worked = this.stuck.has(id) ? 0 : Math.min(left, chunks);
    this.degraded.set(id, Math.max(0, (this.degraded.get(id) ?? 0) - worked));
    // What applications write meanwhile makes others stale.
    this.left.set(id, left - worked + Math.min(worked, this.spoilt));
    this.spoilt -= Math.min(worked, this.spoilt);
    return this.#status(id, this.engines === "new" ? worked : undefined);
  }
}

t.test("a repair goes on when applications make as many copies stale as it makes good", async (t) => {
  const world = new World(t, ["busy"], []);
  world.spoilt = 160;
  world.start(t, policy("limitNumOfConcurrentIos"));
  await waitFor(() => world.left.get("busy") === 0, { what: "all copies to be good" });
});

t.test("so does that of an engine which a former version has left", async (t) => {
  const world = new World(t, ["busy"], ["shelf"]);
  world.engines = "old";
  world.start(t, policy("limitNumOfConcurrentIos"));
  await waitFor(() => world.left.get("busy") === 0 && world.left.get("shelf") === 0, { what: "all copies to be good" });
});

t.test("layers that are not attached are repaired at the pace of the policy too", async (t) => {
  const told = async (rebalance: ThrottlePolicy, busy: boolean, chunks: number) => {
    const world = new World(t, [], ["shelf"]);
    const applications = setInterval(() => (world.requests += busy ? 50 : 0), 10);
    world.start(t, policy("unlimited"), rebalance);
    await waitFor(() => world.steps.some((step) => step.chunks === chunks), { what: `steps of ${chunks} chunks` });
    clearInterval(applications);
    return world.steps.map((step) => step.chunks);
  };
  t.strictSame([...new Set(await told(policy("unlimited"), true, 64))], [64]);
  t.strictSame([...new Set(await told(policy("limitNumOfConcurrentIos"), true, 16))], [16]);
  t.strictSame([...new Set(await told(policy("favorAppIos"), false, 16))], [16]);
  t.equal((await told(policy("favorAppIos"), true, 2)).at(-1), 2, "gently, as soon as applications are seen at work");
});

t.test("N engines copy at a time, attached or not: so no device has more than N copies to do", async (t) => {
  const volumes = ["a", "b", "c", "d"];
  const mostOf = async (limit: ThrottlePolicy) => {
    const world = new World(t, volumes, ["shelf"]);
    world.start(t, limit);
    const all = [...volumes, "shelf"];
    await waitFor(() => all.every((id) => world.steps.filter((step) => step.id === id).length > 2), {
      what: "several steps of each",
    });
    return world.most;
  };
  t.equal(await mostOf(policy("limitNumOfConcurrentIos", 1)), 1);
  t.equal(await mostOf(policy("limitNumOfConcurrentIos", 3)), 3);
  t.equal(await mostOf(policy("favorAppIos", 2)), 2);
  t.equal(await mostOf(policy("unlimited", 1)), 5);
});

t.test("volumes whose copies are only moved give way to one with single copies, attached or not", async (t) => {
  const world = new World(t, ["moving", "hurt"], ["shelf"]);
  world.degraded.set("hurt", 640);
  world.start(t, policy("unlimited"));
  await waitFor(() => [...world.left.values()].every((left) => left === 0), { what: "all copies to be good" });
  const steps = world.steps.map(({ id }) => id);
  t.strictSame(steps.slice(0, 10), Array(10).fill("hurt"));
  // What is left of it has two good copies, so it has no precedence any more.
  t.ok(steps.indexOf("moving") < steps.lastIndexOf("hurt"));
});

t.test("so do layers that are not attached, whichever was to be looked at first", async (t) => {
  const world = new World(t, ["moving"], ["shelf", "other", "hurt"]);
  world.haveFiles({ without: ["hurt"] });
  world.left.set("hurt", 640);
  world.degraded.set("hurt", 640);
  world.start(t, policy("unlimited"));
  await waitFor(() => [...world.left.values()].every((left) => left === 0), { what: "all copies to be good" });
  t.strictSame(
    world.opened.map((opened) => opened.split(" ")[0]),
    ["hurt", "shelf", "other"],
  );
  const steps = world.steps.map(({ id }) => id);
  const after = steps.slice(steps.indexOf("hurt") + 1, steps.lastIndexOf("hurt"));
  t.ok(after.filter((id) => id === "moving").length <= 1, "when a first step has worked");
});

t.test("single copies that do not get better hold nobody up", async (t) => {
  const world = new World(t, ["moving", "waiting"], ["shelf", "hopeless"]);
  world.haveFiles({ without: ["hopeless"] });
  for (const id of ["waiting", "hopeless"]) {
    world.degraded.set(id, 1);
    world.stuck.add(id);
  }
  // What is waited for changes all the time, as applications go on.
  const applications = setInterval(() => world.left.set("waiting", (world.left.get("waiting") as number) + 1), 50);
  t.teardown(() => clearInterval(applications));
  world.start(t, policy("unlimited"));
  await waitFor(() => world.left.get("moving") === 0 && world.left.get("shelf") === 0, { what: "the others" });
  t.ok(world.steps.some(({ id }) => id === "waiting"));
  t.ok(world.opened.includes("hopeless by map 1"));
});

t.test("a repair is broken off for who wants the volume, and when the map changes", async (t) => {
  const world = new World(t, [], ["shelf", "other"]);
  const { turns } = world;
  world.start(t, policy("limitNumOfConcurrentIos"));
  await waitFor(() => world.steps.length > 0, { what: "the first step" });
  const { id } = world.steps[0] as { id: string };
  const other = id === "shelf" ? "other" : "shelf";
  await turns.without(id, async () => {
    t.notOk(turns.isRepaired(id));
    const before = world.steps.filter((step) => step.id === id).length;
    await waitFor(() => turns.isRepaired(other), { what: "the other one's turn" });
    t.equal(world.steps.filter((step) => step.id === id).length, before);
  });
  world.state = { ...world.state, pool: { ...world.state.pool, mapVersion: 2 } };
  await waitFor(() => world.opened.includes(`${other} by map 2`), { what: "a repair by the new map" });
  t.ok((world.left.get(other) ?? 0) > 0, "in the middle of it");
});

t.test("a layer that was frozen is nobody else's before its engine has left it", async (t) => {
  const world = new World(t, ["busy"], ["shelf"]);
  world.freeze("busy");
  const repairer = world.start(t, policy("unlimited"));
  const isOpened = () => world.opened.includes("layer-busy by map 1");
  await waitFor(() => world.left.get("shelf") === 0 && !repairer.busy, { what: "all others to be looked after" });
  t.notOk(isOpened(), "the engine has not been told yet");
  world.layers.set("busy", "above");
  repairer.look("layer-busy");
  await waitFor(isOpened, { what: "its turn" });
});

t.test(
  "a frozen layer's retired copies are not given up before the engine that reads it has heard of the map",
  async (t) => {
    const world = new World(t, ["busy"], []);
    world.freeze("busy");
    world.layers.set("busy", "above");
    world.state = { ...world.state, pool: { ...world.state.pool, mapVersion: 2 } };
    const repairer = world.start(t, policy("unlimited"));
    await waitFor(() => world.opened.includes("layer-busy by map 2"), { what: "its turn" });
    t.strictSame(world.givenUp, []);
    world.mapVersion = 2;
    repairer.look("layer-busy");
    await waitFor(() => world.givenUp.includes("layer-busy"), { what: "its next turn" });
  },
);

t.test("what somebody has had since is not known to be sound", async (t) => {
  const world = new World(t, [], ["shelf"]);
  world.state = { ...world.state, pool: { ...world.state.pool, groups: [[0, 1, -1, 0]] } };
  const repairer = world.start(t, policy("unlimited"));
  await waitFor(() => repairer.known.soundBy("shelf") === 1, { what: "a look at it" });
  await world.turns.without("shelf", async () => t.equal(repairer.known.soundBy("shelf"), 0));
  t.equal(repairer.known.soundBy("shelf"), 0);
  repairer.look("shelf");
  await waitFor(() => repairer.known.soundBy("shelf") === 1, { what: "another look at it" });
});

t.test("an engine for layers that are not attached opens none for a daemon that is dead", async (t) => {
  const dir = tempDir("orphan");
  t.teardown(() => fs.rmSync(dir, { recursive: true }));
  const files = sessionFiles(dir);
  fs.writeFileSync(files.session, "{}");
  const engine = path.resolve(import.meta.dirname, "../../src/bin/sdc-engine.ts");
  const tell = async (by: number) => {
    const child = spawn(process.execPath, ["--import=tsx", engine, "--repair"], { stdio: ["pipe", "pipe", "ignore"] });
    child.stdin.end(`${JSON.stringify({ open: dir, by })}\n`);
    await once(child, "exit");
    return fs.existsSync(files.failure);
  };
  t.notOk(await tell(process.pid + 1));
  t.ok(await tell(process.pid), "and looks at it for one that lives");
});
