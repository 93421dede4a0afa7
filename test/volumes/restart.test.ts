import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { requiresFuse, requiresTools } from "../helpers/requires.ts";
import { waitFor } from "../helpers/wait.ts";
import { holdNamespace, tool, UNUSED, World } from "./world.ts";

const skip = requiresFuse() || requiresTools("mkfs.ext4", "unshare");

/** The machine's restart: no mount, no device, all files as they were. */
async function reboot(world: World, name: string): Promise<void> {
  await tool("umount", path.join(world.mountPath, name));
  await world.driver.detach(world.driver.find(name)?.id as string);
}

t.test("the daemon was killed: uses, paths and mounts are as they were", { skip }, async (t) => {
  const world = new World(t);
  const first = world.open();
  await first.mount("v", "A");
  await first.mount("v", "B");
  const later = world.open();
  await later.reconcile();
  t.equal(await later.path("v"), world.data("v"));
  t.equal((await later.get("v")).mountpoint, world.data("v"));
  t.equal(world.driver.attachments, 1);
  await later.unmount("v", "A");
  t.same(world.uses("v"), { B: 1 });
  await later.unmount("v", "B");
  t.same(await world.traces("v"), UNUSED);
});

t.test("it works without reconciling, too", { skip }, async (t) => {
  const world = new World(t);
  await world.open().mount("v", "A");
  const later = world.open();
  t.equal(await later.mount("v", "B"), world.data("v"));
  t.same(world.uses("v"), { A: 1, B: 1 });
});

t.test("53 the machine was restarted", { skip }, async (t) => {
  const world = new World(t);
  fs.writeFileSync(path.join(await world.open().mount("v", "A"), "f"), "hi");
  await reboot(world, "v");
  await t.test("reconciled at start", async (t) => {
    const volumes = world.open();
    await volumes.reconcile();
    t.same(await world.traces("v"), UNUSED);
    await volumes.mount("v", "A");
    t.same(world.uses("v"), { A: 1 });
  });
  await reboot(world, "v");
  await t.test("and mounted first", async (t) => {
    await world.open().mount("v", "B");
    t.same(world.uses("v"), { B: 1 }, "uses of a device that is no more do not count");
    t.equal(fs.readFileSync(path.join(world.data("v"), "f"), "utf8"), "hi");
  });
});

t.test("killed between mounting and answering: nobody was told, so it is taken down", { skip }, async (t) => {
  const world = new World(t);
  await world.open().mount("v", "A");
  const record = JSON.parse(fs.readFileSync(world.record("v"), "utf8")) as object;
  for (const left of [{ ...record, uses: [] }, undefined]) {
    if (left === undefined) fs.rmSync(world.record("v"));
    else fs.writeFileSync(world.record("v"), JSON.stringify(left));
    await world.open().reconcile();
    t.same(await world.traces("v"), UNUSED);
    await world.open().mount("v", "A");
  }
});

t.test("our mount was taken away, a container still has its own: mounted again, uses kept", { skip }, async (t) => {
  const world = new World(t);
  await world.open().mount("v", "A");
  const container = await holdNamespace(t, world.dir);
  await tool("umount", path.join(world.mountPath, "v"));
  const volumes = world.open();
  await volumes.reconcile();
  t.ok(await world.mounted("v"));
  t.same(world.uses("v"), { A: 1 });
  await tool("umount", path.join(world.mountPath, "v"));
  await volumes.mount("v", "B");
  t.same(world.uses("v"), { A: 1, B: 1 }, "also by the next mount");
  t.equal(world.driver.attachments, 1, "never a second device");
  await container.end();
  await volumes.unmount("v", "A");
  await volumes.unmount("v", "B");
  t.same(await world.traces("v"), UNUSED);
});

t.test("what served the volume died: its mounts are cleared away, it is attached anew", { skip }, async (t) => {
  const world = new World(t);
  const volumes = world.open();
  fs.writeFileSync(path.join(await volumes.mount("v", "A"), "f"), "hi");
  world.driver.die(world.driver.find("v")?.id as string);
  await volumes.mount("v", "B");
  t.equal(world.driver.attachments, 2);
  t.same(world.uses("v"), { B: 1 });
  t.equal((await tool("findmnt", "-n", path.join(world.mountPath, "v"))).trim().split("\n").length, 1, "one mount");
  t.equal(fs.readFileSync(path.join(world.data("v"), "f"), "utf8"), "hi");

  world.driver.die(world.driver.find("v")?.id as string);
  await world.open().reconcile();
  t.same(await world.traces("v"), UNUSED);
});

t.test("what served the volume died while a container has it: refused until that ends", { skip }, async (t) => {
  const world = new World(t);
  const volumes = world.open();
  await volumes.mount("v", "A");
  const container = await holdNamespace(t, world.dir);
  world.driver.die(world.driver.find("v")?.id as string);
  await t.rejects(volumes.mount("v", "B"), { code: "in_use", message: "still held" });
  await container.end();
  await volumes.mount("v", "B");
  t.same(world.uses("v"), { B: 1 });
});

t.test("a record that cannot be understood stops its own volume only", { skip }, async (t) => {
  const contents = {
    empty: "",
    torn: '{"format": 1, "uses": [',
    "of another kind": "[]",
    "with a negative count":
      '{"format":1,"volumeId":"v1","device":"","uses":[{"id":"A","count":-1}],"formatting":false}',
  };
  for (const [what, content] of Object.entries(contents)) {
    await t.test(what, async (t) => {
      const world = new World(t);
      const first = world.open();
      await first.mount("v", "A");
      await first.mount("other", "A");
      fs.writeFileSync(world.record("v"), content);
      const volumes = world.open();
      await volumes.reconcile();
      const refused = { code: "state_corrupt", message: `${world.record("v")} cannot be understood: stop` };
      await t.rejects(volumes.mount("v", "B"), refused);
      await t.rejects(volumes.unmount("v", "A"), refused);
      await t.rejects(volumes.remove("v"), refused);
      t.ok(await world.mounted("v"), "untouched");
      t.equal((await volumes.get("v")).name, "v", "it is still known");
      t.equal((await volumes.list()).length, 2);
      await volumes.unmount("other", "A");
      t.same(await world.traces("other"), UNUSED);
      fs.rmSync(world.record("v"));
      await volumes.mount("v", "B");
      t.same(world.uses("v"), { B: 1 }, "the remedy works");
    });
  }
});

t.test("a record of a newer version", { skip }, async (t) => {
  const world = new World(t);
  await world.open().mount("v", "A");
  fs.writeFileSync(world.record("v"), '{"format": 2, "more": true}');
  const volumes = world.open();
  await t.rejects(volumes.mount("v", "B"), { code: "state_newer", message: "use the newer rexray-sim" });
  t.equal(fs.readFileSync(world.record("v"), "utf8"), '{"format": 2, "more": true}', "left as it is");
});

t.test("a volume that the backend no longer has", { skip }, async (t) => {
  const world = new World(t);
  await world.open().mount("v", "A");
  await reboot(world, "v");
  await world.driver.remove(world.driver.find("v")?.id as string);
  const volumes = world.open();
  await volumes.reconcile();
  t.notOk(fs.existsSync(world.record("v")));
  await volumes.unmount("v", "A");
});

t.test("shutdown", { skip }, async (t) => {
  await t.test("takes down what nobody holds, counted or not", async (t) => {
    const world = new World(t);
    const volumes = world.open();
    await volumes.mount("a", "A");
    await volumes.mount("b", "");
    await volumes.create("c", {});
    t.same(await volumes.shutdown({ force: false }), []);
    for (const name of ["a", "b", "c"]) t.same(await world.traces(name), UNUSED);
  });

  await t.test("leaves what a container holds, and says so; forced, it goes with the container", async (t) => {
    const world = new World(t);
    const volumes = world.open();
    await volumes.mount("held", "A");
    const container = await holdNamespace(t, world.dir);
    await volumes.mount("free", "A");
    const heldBy = [`sleep (process ${container.pid})`];
    t.same(await volumes.shutdown({ force: false }), [{ name: "held", heldBy }]);
    t.same(await world.traces("free"), UNUSED);
    t.ok(await world.mounted("held"));
    t.same(world.uses("held"), { A: 1 }, "for the next daemon");

    t.same(await volumes.shutdown({ force: true }), [{ name: "held", heldBy }]);
    t.notOk(await world.mounted("held"));
    await container.end();
    await waitFor(async () => (await world.device("held")) === undefined, { what: "the device to go" });
    t.same(await volumes.shutdown({ force: true }), []);
    t.same(await world.traces("held"), UNUSED);
  });

  await t.test("one that cannot be taken down does not keep the others", async (t) => {
    const world = new World(t);
    const volumes = world.open();
    await volumes.mount("bad", "A");
    await volumes.mount("good", "A");
    const id = world.driver.find("bad")?.id;
    const { detach } = world.driver;
    world.driver.detach = async (other) => {
      if (other === id) throw new Error("the backend is silent");
      return detach.call(world.driver, other);
    };
    t.same(await volumes.shutdown({ force: false }), [{ name: "bad", heldBy: ["the backend is silent"] }]);
    t.same(await world.traces("good"), UNUSED);
  });
});
