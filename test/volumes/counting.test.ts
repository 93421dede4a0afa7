import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { requiresFuse, requiresTools } from "../helpers/requires.ts";
import { waitFor } from "../helpers/wait.ts";
import { holdNamespace, UNUSED, World, withFaults } from "./world.ts";

// docker-volume-plugin.md 8 and 9, row by row. A container is a mount namespace that has the volume.
const skip = requiresFuse() || requiresTools("mkfs.ext4", "unshare");
const unused = { what: "the volume to be taken down", deadline: 15_000 };

t.test("two containers: unmounted when both have stopped", { skip }, async (t) => {
  const world = new World(t);
  const volumes = world.open();
  t.equal(await volumes.mount("v", "A"), await volumes.mount("v", "B"));
  t.equal(world.driver.attachments, 1);
  t.same(world.uses("v"), { A: 1, B: 1 });
  await volumes.unmount("v", "A");
  t.ok(await world.mounted("v"));
  await volumes.unmount("v", "B");
  t.same(await world.traces("v"), UNUSED);
});

t.test("docker cp beside a running container: the same id again", { skip }, async (t) => {
  const world = new World(t);
  const volumes = world.open();
  await volumes.mount("v", "A");
  const container = await holdNamespace(t, world.dir);
  await volumes.mount("v", "A");
  t.same(world.uses("v"), { A: 2 });
  await volumes.unmount("v", "A");
  t.ok(await world.mounted("v"));
  await container.end();
  await volumes.unmount("v", "A");
  t.same(await world.traces("v"), UNUSED);
});

t.test(
  "40 an Unmount was lost (or the engine killed), the container starts again with its old id",
  { skip },
  async (t) => {
    const world = new World(t);
    const volumes = world.open();
    await volumes.mount("v", "A");
    const container = await holdNamespace(t, world.dir);
    await container.end();
    await volumes.mount("v", "A");
    t.same(world.uses("v"), { A: 1 });
    await volumes.unmount("v", "A");
    t.same(await world.traces("v"), UNUSED);
  },
);

t.test("where namespaces cannot be seen, the same id counts again", { skip }, async (t) => {
  const world = new World(t);
  const volumes = world.open({ fileSystems: withFaults({ holders: async () => undefined }) });
  await volumes.mount("v", "A");
  await volumes.mount("v", "A");
  t.same(world.uses("v"), { A: 2 });
});

t.test("callers without an id are counted one by one", { skip }, async (t) => {
  const world = new World(t);
  const volumes = world.open();
  await volumes.mount("v", "");
  await volumes.mount("v", "");
  await volumes.unmount("v", "");
  t.same(world.uses("v"), { "": 1 });
  t.ok(await world.mounted("v"));
  await volumes.unmount("v", "");
  t.same(await world.traces("v"), UNUSED);
});

t.test("surplus Unmounts, unknown ids and unknown volumes succeed and change nothing", { skip }, async (t) => {
  const world = new World(t);
  const volumes = world.open();
  await volumes.mount("v", "A");
  await volumes.unmount("v", "B");
  await volumes.unmount("v", "");
  t.same(world.uses("v"), { A: 1 });
  await volumes.unmount("v", "A");
  await volumes.unmount("v", "A");
  await volumes.unmount("none", "A");
  t.same(await world.traces("v"), UNUSED);
});

t.test("ids that are names of object members", { skip }, async (t) => {
  const world = new World(t);
  const ids = ["__proto__", "constructor", "toString"];
  const volumes = world.open();
  for (const id of ids) await volumes.mount("v", id);
  const later = world.open();
  await later.reconcile();
  for (const id of ids) {
    t.ok(await world.mounted("v"));
    await later.unmount("v", id);
  }
  t.same(await world.traces("v"), UNUSED);
});

t.test("unmount.ignoreusedcount: every Unmount is real", { skip }, async (t) => {
  const world = new World(t);
  const volumes = world.open({ config: { ignoreUsedCount: true } });
  await volumes.mount("v", "A");
  await volumes.mount("v", "B");
  await volumes.unmount("v", "C");
  t.same(await world.traces("v"), UNUSED);
});

t.test("the last Unmount while a foreign namespace has the volume", { skip }, async (t) => {
  const world = new World(t);
  const volumes = world.open();
  await volumes.mount("v", "A");
  fs.writeFileSync(path.join(world.data("v"), "f"), "hi");
  const device = await world.device("v");
  const container = await holdNamespace(t, world.dir);
  await volumes.unmount("v", "A");
  t.ok(await world.mounted("v"), "mounted again at the same place");
  t.equal(await world.device("v"), device, "and not detached");
  t.match(world.logged.join(), `sleep (process ${container.pid})`);
  await t.rejects(volumes.remove("v"), { code: "in_use", message: `sleep (process ${container.pid})` });
  t.ok(await world.mounted("v"));

  await volumes.mount("v", "B");
  t.equal(world.driver.attachments, 1, "no second device");
  t.equal(fs.readFileSync(path.join(world.data("v"), "f"), "utf8"), "hi");
  await volumes.unmount("v", "B");
  await container.end();
  await waitFor(async () => !(await world.mounted("v")) && world.uses("v") === undefined, unused);
  t.same(await world.traces("v"), UNUSED, "taken down when the holder has gone");
});

t.test("the last Unmount while a process of this namespace works inside", { skip }, async (t) => {
  const world = new World(t);
  const volumes = world.open();
  const inside = spawn("sleep", ["1000"], { cwd: await volumes.mount("v", "A"), stdio: "ignore" });
  t.teardown(() => inside.kill("SIGKILL"));
  await new Promise((resolve) => inside.once("spawn", resolve));
  await volumes.unmount("v", "A");
  t.same(world.uses("v"), {});
  t.ok(await world.mounted("v"));
  inside.kill("SIGKILL");
  await waitFor(async () => !(await world.mounted("v")) && world.uses("v") === undefined, unused);
  t.same(await world.traces("v"), UNUSED);
});

t.test("Remove", { skip }, async (t) => {
  await t.test("of a volume in use is refused", async (t) => {
    const world = new World(t);
    const volumes = world.open();
    for (const id of ["A", ""]) {
      const file = path.join(await volumes.mount("v", id), "f");
      fs.writeFileSync(file, "hi");
      await t.rejects(volumes.remove("v"), { code: "in_use", message: /in use at .*: unmount it first/ });
      t.equal(fs.readFileSync(file, "utf8"), "hi");
      await volumes.unmount("v", id);
    }
    await volumes.remove("v");
    t.same(world.driver.list(), []);
  });

  await t.test("after a lost Unmount: the container is gone, its id is still counted", async (t) => {
    const world = new World(t);
    const volumes = world.open();
    await volumes.mount("v", "A");
    world.clock += 200_000;
    await volumes.remove("v");
    t.same(world.driver.list(), []);
    t.notOk(fs.existsSync(world.record("v")));
  });

  await t.test("after the engine was killed and its container removed", async (t) => {
    const world = new World(t);
    const volumes = world.open();
    await volumes.mount("v", "A");
    world.clock += 1;
    volumes.engineRestarted();
    await volumes.remove("v");
    t.same(world.driver.list(), []);
  });

  await t.test("never while a caller without an id has it", async (t) => {
    const world = new World(t);
    const volumes = world.open();
    await volumes.mount("v", "");
    world.clock += 200_000;
    volumes.engineRestarted();
    await t.rejects(volumes.remove("v"), { code: "in_use" });
    t.same(world.uses("v"), { "": 1 });
  });

  await t.test("after the daemon's restart while a container has it is refused", async (t) => {
    const world = new World(t);
    await world.open().mount("v", "A");
    const container = await holdNamespace(t, world.dir);
    const volumes = world.open();
    await volumes.reconcile();
    await t.rejects(volumes.remove("v"), { code: "in_use", message: `sleep (process ${container.pid})` });
    t.same(world.uses("v"), { A: 1 }, "its use is still known");
    t.ok(await world.mounted("v"));
    await container.end();
  });
});

t.test("the engine has restarted", { skip }, async (t) => {
  const world = new World(t);
  const volumes = world.open();
  await volumes.mount("stale", "A");
  await volumes.mount("agents", "");
  await volumes.mount("stale2", "B");
  world.clock += 200_000;
  await volumes.mount("new", "C");
  world.clock += 1;
  volumes.engineRestarted();
  const kept = async () => (await volumes.list()).filter(({ mountpoint }) => mountpoint !== "").map(({ name }) => name);
  await waitFor(async () => (await kept()).length <= 2, unused);
  t.same(await kept(), ["agents", "new"], "callers without id, and who has just been given a volume, keep theirs");
  t.same(await world.traces("stale"), UNUSED);

  const container = await holdNamespace(t, world.dir);
  world.clock += 200_000;
  volumes.engineRestarted();
  await volumes.mount("other", "D");
  t.same(world.uses("new"), { C: 1 });
  await container.end();
  await waitFor(async () => !(await world.mounted("new")), unused);
  t.ok(await world.mounted("other"), "given after the engine's restart");
});
