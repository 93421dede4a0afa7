import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { type FileSystems, kernelFileSystems } from "../../src/volumes/file-systems.ts";
import { requiresFuse, requiresTools } from "../helpers/requires.ts";
import { UNUSED, World, withFaults } from "./world.ts";

const skip = requiresFuse() || requiresTools("mkfs.ext4");
const kernel = kernelFileSystems;

/** Steps of a mount, in their order. */
const STEPS = ["probe", "make", "makeDirectory", "mount"] as const;

/** Runs `before` when the service gets to the step. */
function at(step: (typeof STEPS)[number], before: () => Promise<void> | void): FileSystems {
  const real = kernel[step] as (...args: unknown[]) => Promise<unknown>;
  return withFaults({
    [step]: async (...args: unknown[]) => {
      await before();
      return real(...args);
    },
  });
}

const gate = () => {
  let open = () => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
};

t.test("42 a mount that fails leaves nothing, and the next one works", { skip }, async (t) => {
  const broken = () => Promise.reject(new Error("broken"));
  for (const step of STEPS) {
    await t.test(`at ${step}`, async (t) => {
      const world = new World(t);
      await world.open().create("v", {});
      const volumes = world.open({ fileSystems: at(step, broken) });
      await t.rejects(volumes.mount("v", "A"), { message: "broken" });
      const { uses, ...traces } = (await world.traces("v")) as typeof UNUSED;
      t.same(traces, { mounted: false, device: undefined, attachedTo: null });
      t.same(uses ?? {}, {}, "no use is counted");
      t.equal(await volumes.path("v"), "");
      await world.open().mount("v", "B");
      t.same(world.uses("v"), { B: 1 });
    });
  }

  await t.test("at the root directory", async (t) => {
    const world = new World(t);
    await t.rejects(world.open({ fileSystems: withFaults({ makeDirectory: broken }) }).mount("v", "A"), {
      message: "broken",
    });
    t.equal(await world.mounted("v"), false);
    t.same(world.driver.list(), []);
  });

  await t.test("at writing down the use", async (t) => {
    const world = new World(t);
    await world.open().create("v", {});
    const attachments = path.dirname(world.record("v"));
    const blocked = world.open({
      fileSystems: at("mount", () => {
        fs.rmSync(attachments, { recursive: true });
        fs.writeFileSync(attachments, "");
      }),
    });
    await t.rejects(blocked.mount("v", "A"));
    t.equal(await world.mounted("v"), false);
    t.equal(await world.device("v"), undefined);
  });

  await t.test("at the backend: another host has it", async (t) => {
    const world = new World(t);
    const volumes = world.open();
    await volumes.create("v", {});
    world.driver.give(world.driver.find("v")?.id as string, "elsewhere");
    await t.rejects(volumes.mount("v", "A"), { code: "in_use", message: "is on host elsewhere" });
    t.same(await world.traces("v"), { ...UNUSED, attachedTo: "elsewhere" });
  });
});

t.test("mount.retryCount: a mount that fails is tried again", { skip }, async (t) => {
  const world = new World(t);
  let left = 2;
  const fileSystems = at("mount", () => {
    if (left-- > 0) throw new Error("not yet");
  });
  await t.rejects(world.open({ fileSystems, config: { retryCount: 1 } }).mount("v", "A"), { message: "not yet" });
  left = 2;
  await world.open({ fileSystems, config: { retryCount: 2 } }).mount("v", "A");
  t.same(world.uses("v"), { A: 1 });
});

t.test("the caller goes away", { skip }, async (t) => {
  await t.test("before it is the mount's turn", async (t) => {
    const world = new World(t);
    const volumes = world.open();
    await t.rejects(volumes.mount("v", "A", AbortSignal.abort()), { code: "cancelled" });
    t.same(world.driver.list(), []);
  });

  for (const step of STEPS) {
    await t.test(`at ${step}`, async (t) => {
      const world = new World(t);
      await world.open().create("v", {});
      const caller = new AbortController();
      const volumes = world.open({ fileSystems: at(step, () => caller.abort()) });
      await t.rejects(volumes.mount("v", "A", caller.signal), { code: "cancelled" });
      t.equal(await world.mounted("v"), false);
      t.equal(await world.device("v"), undefined);
      t.same(world.uses("v") ?? {}, {});
      await world.open().mount("v", "B");
      t.same(world.uses("v"), { B: 1 });
    });
  }

  await t.test("when all is done but the answer; the other user keeps the volume", async (t) => {
    const world = new World(t);
    const volumes = world.open();
    await volumes.mount("v", "A");
    const caller = new AbortController();
    const mounting = volumes.mount("v", "B", caller.signal);
    setImmediate(() => caller.abort());
    await t.rejects(mounting, { code: "cancelled" });
    t.same(world.uses("v"), { A: 1 });
    t.ok(await world.mounted("v"));
  });

  await t.test("while it waits for another try", async (t) => {
    const world = new World(t);
    const caller = new AbortController();
    const fileSystems = at("mount", () => Promise.reject(new Error("broken")));
    const volumes = world.open({
      fileSystems,
      config: { retryCount: 1, retryWaitMs: 3_600_000 },
      log: () => setImmediate(() => caller.abort()),
    });
    await t.rejects(volumes.mount("v", "A", caller.signal), { code: "cancelled" });
    t.same(world.driver.list(), []);
  });
});

t.test("two Mounts of one volume at the same instant: one attach, one mkfs", { skip }, async (t) => {
  const world = new World(t);
  let formats = 0;
  const volumes = world.open({ fileSystems: at("make", () => void formats++) });
  const ids = ["A", "B", "C", "D"];
  await Promise.all(ids.map((id) => volumes.mount("v", id)));
  t.equal(formats, 1);
  t.equal(world.driver.attachments, 1);
  t.same(world.uses("v"), { A: 1, B: 1, C: 1, D: 1 });
  await Promise.all(ids.map((id) => volumes.unmount("v", id)));
  t.same(await world.traces("v"), UNUSED);
});

t.test("many volumes at once", { skip }, async (t) => {
  const world = new World(t);
  const volumes = world.open();
  const names = Array.from({ length: 8 }, (_, index) => `v${index}`);
  await Promise.all(names.map((name) => volumes.mount(name, name)));
  for (const name of names) fs.writeFileSync(path.join(world.data(name), "f"), name);
  const later = world.open();
  await later.reconcile();
  for (const name of names) t.equal(fs.readFileSync(path.join(await later.path(name), "f"), "utf8"), name);
  await Promise.all(names.map((name) => later.unmount(name, name)));
  for (const name of names) t.same(await world.traces(name), UNUSED);
});

t.test("a slow volume: others go on, and questions are answered at once", { skip }, async (t) => {
  const world = new World(t);
  const arrived = gate();
  const finish = gate();
  let first = true;
  const volumes = world.open({
    fileSystems: at("mount", async () => {
      if (!first) return;
      first = false;
      arrived.open();
      await finish.opened;
    }),
  });
  const slow = volumes.mount("slow", "A");
  await arrived.opened;
  await volumes.mount("quick", "A");
  t.equal((await volumes.get("slow")).mountpoint, "");
  t.equal(await volumes.path("slow"), "");
  t.equal((await volumes.list()).length, 2);
  let unmounted = false;
  const after = volumes.unmount("slow", "A").then(() => (unmounted = true));
  await volumes.unmount("quick", "A");
  t.notOk(unmounted, "the same volume's next call waits");
  finish.open();
  t.equal(await slow, world.data("slow"));
  await after;
  t.same(await world.traces("slow"), UNUSED);
});
