import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { attachLoop, detachLoop } from "../../src/host/loop.ts";
import { kernelFileSystems } from "../../src/volumes/file-systems.ts";
import { requiresFuse, requiresTools } from "../helpers/requires.ts";
import { MIB, tool, UNUSED, World, withFaults } from "./world.ts";

const skip = requiresFuse() || requiresTools("mkfs.ext4", "mkfs.xfs");

t.test("create, mount, write, unmount, mount again, remove", { skip }, async (t) => {
  const world = new World(t);
  const volumes = world.open();
  await volumes.create("pg", { SIZE: "64M" });
  t.equal((await volumes.get("pg")).mountpoint, "");
  t.equal(await volumes.path("pg"), "");

  const mountpoint = await volumes.mount("pg", "A");
  t.equal(mountpoint, world.data("pg"));
  t.same(fs.readdirSync(mountpoint), [], "no lost+found");
  t.equal(fs.statSync(mountpoint).mode & 0o7777, 0o700);
  t.equal(await volumes.path("pg"), mountpoint);
  t.equal((await volumes.get("pg")).mountpoint, mountpoint);
  fs.writeFileSync(path.join(mountpoint, "f"), "hi");

  await volumes.unmount("pg", "A");
  t.same(await world.traces("pg"), UNUSED);
  t.notOk(fs.existsSync(path.dirname(mountpoint)), "the mount point's directory is gone");
  t.equal(await volumes.path("pg"), "");

  await volumes.mount("pg", "B");
  t.equal(fs.readFileSync(path.join(mountpoint, "f"), "utf8"), "hi");
  await volumes.unmount("pg", "B");
  await volumes.remove("pg");
  t.same(await volumes.list(), []);
  await volumes.remove("pg");
});

t.test("what Status shows", { skip }, async (t) => {
  const volumes = new World(t).open();
  await volumes.create("b", { size: "2", iops: "100" });
  await volumes.create("a", { size: "65M" });
  t.same(
    (await volumes.list()).map(({ name }) => name),
    ["a", "b"],
    "by name",
  );
  const { status, sizeBytes, createdAt } = await volumes.get("b");
  t.equal(sizeBytes, 2048 * MIB);
  t.equal(new Date(createdAt).toISOString(), createdAt);
  t.strictSame(status, {
    availabilityZone: "domain",
    fields: { health: "ok", fsType: "ext4", attachedTo: "" },
    iops: 100,
    name: "b",
    server: "loop",
    service: "loop",
    size: 2,
    type: "pool",
  });
  t.equal((await volumes.get("a")).status["size"], 1, "a whole number");
  await t.rejects(volumes.get("none"), { code: "not_found", message: "resource not found" });
});

t.test("create again leaves the volume as it is", { skip }, async (t) => {
  const world = new World(t);
  const volumes = world.open();
  await volumes.create("v", { size: "64M" });
  fs.writeFileSync(path.join(await volumes.mount("v", ""), "f"), "kept");
  await volumes.create("v", { size: "1" });
  t.equal((await volumes.get("v")).sizeBytes, 64 * MIB);
  t.equal(fs.readFileSync(path.join(world.data("v"), "f"), "utf8"), "kept");
});

t.test("bad names and options leave nothing", { skip }, async (t) => {
  const world = new World(t);
  const volumes = world.open();
  for (const name of ["", "../x", "a/b", "A B", "a\n", "x".repeat(300), "\0"]) {
    await t.rejects(
      volumes.create(name, {}),
      { code: "invalid_argument" },
      `create ${JSON.stringify(name).slice(0, 20)}`,
    );
    await t.rejects(volumes.mount(name, "A"), { code: "invalid_argument" });
    await t.rejects(volumes.remove(name), { code: "invalid_argument" });
    await volumes.unmount(name, "A");
  }
  for (const size of ["abc", "0", "-1", "1.5"]) {
    await t.rejects(volumes.create("v", { size }), { code: "invalid_argument" }, `size ${size}`);
  }
  t.same(world.driver.list(), []);
});

t.test("create.disable and remove.disable: success, and nothing happens", { skip }, async (t) => {
  const world = new World(t);
  await world.open({ config: { createDisable: true } }).create("v", { size: "nonsense" });
  t.same(world.driver.list(), []);
  await world.open().create("v", {});
  await world.open({ config: { removeDisable: true } }).remove("v");
  t.ok(world.driver.find("v"));
});

t.test("implicit creation", { skip }, async (t) => {
  const world = new World(t);
  await t.rejects(world.open({ config: { createImplicit: false } }).mount("v", "A"), { code: "not_found" });
  const broken = withFaults({ mount: () => Promise.reject(new Error("no")) });
  await t.rejects(world.open({ fileSystems: broken }).mount("v", "A"), { message: "no" });
  t.same(world.driver.list(), [], "created for a mount that failed: removed again");
  await world.open().mount("v", "A");
  t.equal(world.driver.find("v")?.sizeBytes, 64 * MIB);
});

t.test(
  "file systems: what is asked for is made, what is there is kept, what is unknown is not touched",
  { skip },
  async (t) => {
    const world = new World(t);
    const volumes = world.open();
    const prepare = async (name: string, work: (device: string) => Promise<unknown>) => {
      await volumes.create(name, { size: "320M" });
      const device = await attachLoop(world.driver.file(world.driver.find(name)?.id as string));
      await work(device);
      await detachLoop(device);
    };
    const typeOf = (name: string) => tool("findmnt", "-n", "-o", "FSTYPE", path.dirname(world.data(name)));

    await volumes.create("x", { size: "320M", newFsType: "xfs" });
    await volumes.mount("x", "A");
    t.equal((await typeOf("x")).trim(), "xfs");

    await prepare("kept", (device) => tool("mkfs.xfs", "-q", device));
    await volumes.mount("kept", "A");
    t.equal((await typeOf("kept")).trim(), "xfs", "ext4 was the default, but xfs was there");

    await prepare("odd", (device) =>
      tool("sh", "-c", `printf secret | dd of=${device} bs=1 seek=5000 conv=notrunc status=none`),
    );
    await t.rejects(volumes.mount("odd", "A"), { code: "host_failed", message: /odd holds data.*remove the volume/ });
    t.same(await world.traces("odd"), UNUSED);
    const file = fs.readFileSync(world.driver.file(world.driver.find("odd")?.id as string));
    t.equal(file.toString("latin1", 5000, 5006), "secret");
  },
);

t.test("a mkfs that did not end is done again", { skip }, async (t) => {
  const world = new World(t);
  const dying: typeof kernelFileSystems.make = async (device, ...rest) => {
    await kernelFileSystems.make(device, ...rest);
    // Looks like ext4 to a probe, and is none.
    await tool("dd", "if=/dev/urandom", `of=${device}`, "bs=1k", "count=1", "conv=notrunc", "status=none");
    throw new Error("killed");
  };
  const first = world.open({ fileSystems: withFaults({ make: dying }) });
  await first.create("v", {});
  await t.rejects(first.mount("v", "A"), { message: "killed" });
  t.match(JSON.parse(fs.readFileSync(world.record("v"), "utf8")), { formatting: true, uses: [] });
  const second = world.open();
  await second.reconcile();
  await second.mount("v", "A");
  t.match(JSON.parse(fs.readFileSync(world.record("v"), "utf8")), { formatting: false });
  fs.writeFileSync(path.join(world.data("v"), "f"), "hi");
  await second.unmount("v", "A");
  await second.mount("v", "A");
  t.equal(fs.readFileSync(path.join(world.data("v"), "f"), "utf8"), "hi", "once only");
  await second.unmount("v", "A");
});

t.test("a record of a former volume of the same name says nothing", { skip }, async (t) => {
  const world = new World(t);
  const volumes = world.open();
  await volumes.mount("v", "A");
  fs.writeFileSync(path.join(world.data("v"), "f"), "hi");
  await volumes.unmount("v", "A");
  const record = { format: 1, volumeId: "other", device: "", uses: [{ id: "B", count: 7 }], formatting: true };
  fs.writeFileSync(world.record("v"), JSON.stringify(record));
  const later = world.open();
  await later.mount("v", "A");
  t.equal(fs.readFileSync(path.join(world.data("v"), "f"), "utf8"), "hi");
  t.same(world.uses("v"), { A: 1 });
});

t.test(
  "the root directory's mode is set when it is made, in the strict profile at every mount",
  { skip },
  async (t) => {
    const world = new World(t);
    const config = { fileMode: 0o750 };
    for (const [profile, expected] of [
      ["safe", 0o1777],
      ["strict", 0o750],
    ] as const) {
      const volumes = world.open({ config, profile });
      const mountpoint = await volumes.mount(profile, "A");
      t.equal(fs.statSync(mountpoint).mode & 0o7777, 0o750);
      fs.chmodSync(mountpoint, 0o1777);
      await volumes.unmount(profile, "A");
      await volumes.mount(profile, "B");
      t.equal(fs.statSync(mountpoint).mode & 0o7777, expected, profile);
      await volumes.unmount(profile, "B");
    }
  },
);

t.test("without a root path the file system's own root is answered", { skip }, async (t) => {
  const world = new World(t);
  for (const rootPath of ["", "/"]) {
    const volumes = world.open({ config: { rootPath } });
    t.equal(await volumes.mount("v", "A"), path.join(world.mountPath, "v"));
    await volumes.unmount("v", "A");
  }
});

t.test("what somebody else has mounted at the volume's place stays", { skip }, async (t) => {
  const world = new World(t);
  const volumes = world.open();
  const place = path.join(world.mountPath, "v");
  fs.mkdirSync(place, { recursive: true });
  await tool("mount", "-t", "tmpfs", "mine", place);
  await volumes.create("v", {});
  await t.rejects(volumes.mount("v", "A"), { code: "host_failed", message: /something else \(mine\)/ });
  await volumes.reconcile();
  t.same(await world.traces("v"), { ...UNUSED, mounted: true });
});
