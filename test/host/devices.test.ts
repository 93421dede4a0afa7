import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import t, { type Test } from "tap";
import {
  makeDirectory,
  makeFileSystem,
  mountFileSystem,
  probe,
  setMode,
  unmountFileSystem,
} from "../../src/host/filesystem.ts";
import { mountFuseFile, unmountFuseFile } from "../../src/host/fuse.ts";
import { attachLoop, detachLoop, deviceNumber, isBusy, loopOf } from "../../src/host/loop.ts";
import { mountsOf } from "../../src/host/mountinfo.ts";
import { removeLeaks } from "../helpers/leaks.ts";
import { requiresFuse, requiresTools } from "../helpers/requires.ts";
import { output } from "../helpers/run.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait.ts";

const skip = requiresFuse() || requiresTools("mkfs.ext4", "mkfs.xfs");
const GIB = 1024 ** 3;

/** A directory in which the test may leave anything. */
function place(t: Test): string {
  const dir = tempDir("devices");
  t.teardown(() => {
    removeLeaks({ dir });
    fs.rmSync(dir, { recursive: true, force: true });
  });
  return dir;
}

function image(dir: string, bytes: number, name = "image"): string {
  const file = path.join(dir, name);
  fs.writeFileSync(file, "");
  fs.truncateSync(file, bytes);
  return file;
}

t.test("loop devices", { skip }, async (t) => {
  const file = image(place(t), GIB);
  t.equal(loopOf(file), undefined);
  const device = await attachLoop(file);
  t.match(device, /^\/dev\/loop\d+$/);
  t.equal(loopOf(file), device);
  t.equal(fs.readFileSync(`/sys/block/${path.basename(device)}/loop/dio`, "utf8").trim(), "1", "direct I/O");
  t.match(await deviceNumber(device), /^7:\d+$/);
  fs.rmSync(file);
  t.equal(loopOf(file), device, "also when the file has been deleted");
  await detachLoop(device);
  await waitFor(async () => loopOf(file) === undefined, { what: "the device to go" });
  await t.rejects(attachLoop(file), { code: "host_failed", message: "No such file" });
});

t.test("many loop devices at once", { skip }, async (t) => {
  const dir = place(t);
  const files = Array.from({ length: 12 }, (_, index) => image(dir, GIB, `image${index}`));
  const devices = await Promise.all(files.map(attachLoop));
  t.equal(new Set(devices).size, files.length);
  for (const [index, file] of files.entries()) t.equal(loopOf(file), devices[index]);
  await Promise.all(devices.map(detachLoop));
});

t.test("what is on a device", { skip }, async (t) => {
  const dir = place(t);
  const empty = image(dir, GIB);
  t.equal((await probe(empty)).type, "empty");
  const at = async (position: number, bytes: string) => {
    const file = image(dir, GIB, "with-magic");
    const fd = fs.openSync(file, "r+");
    fs.writeSync(fd, Buffer.from(bytes, "latin1"), 0, bytes.length, position);
    fs.closeSync(fd);
    return (await probe(file)).type;
  };
  t.equal(await at(0, "XFSB"), "xfs");
  t.equal(await at(0x438, "\x53\xef"), "ext4");
  t.equal(await at(0x10040, "_BHRfS_M"), "btrfs");
  t.equal(await at(0, "XFS"), "unknown");
  t.equal(await at(128 * 1024 - 1, "x"), "unknown");
  t.equal((await probe(image(dir, 512, "short"))).type, "empty");
  await t.rejects(probe(path.join(dir, "none")), { code: "host_failed" });
});

for (const type of ["ext4", "xfs"] as const) {
  t.test(`${type}: made thin, mounted, busy, unmounted`, { skip }, async (t) => {
    const dir = place(t);
    const file = image(dir, 16 * GIB);
    const device = await attachLoop(file);
    await makeFileSystem(device, type);
    t.match(await probe(device), { type, bytes: fs.statSync(file).size });
    t.ok(fs.statSync(file).blocks * 512 < 80 * 1024 ** 2, "little space is taken");
    t.notOk(await isBusy(device));

    const directory = path.join(dir, "a/b");
    await makeDirectory(directory, 0o700);
    await mountFileSystem(device, directory, type);
    t.ok(await isBusy(device));
    const data = path.join(directory, "data");
    await makeDirectory(data, 0o751);
    t.equal(fs.statSync(data).mode & 0o7777, 0o751);
    await makeDirectory(data, 0o700);
    t.equal(fs.statSync(data).mode & 0o7777, 0o751, "an existing one is left as it is");
    await setMode(data, 0o1777);
    t.equal(fs.statSync(data).mode & 0o7777, 0o1777);

    const inside = spawn("sleep", ["1000"], { cwd: data, stdio: "ignore" });
    const ended = new Promise((resolve) => inside.once("exit", resolve));
    t.teardown(() => inside.kill("SIGKILL"));
    await new Promise((resolve) => inside.once("spawn", resolve));
    await t.rejects(unmountFileSystem(directory, { lazy: false }), { code: "in_use", message: "fuser" });
    await unmountFileSystem(directory, { lazy: true });
    t.same(
      mountsOf(({ mountpoint }) => mountpoint === directory),
      [],
    );
    t.ok(await isBusy(device), "its user still has it");
    inside.kill("SIGKILL");
    await ended;
    await waitFor(async () => !(await isBusy(device)), { what: "the file system to be released" });
    await t.rejects(unmountFileSystem(directory, { lazy: false }), { code: "host_failed", message: "not mounted" });

    // A copy of a file system has its UUID, and both may have to be mounted.
    const copy = path.join(dir, "copy");
    await output("cp", ["--sparse=always", file, copy]);
    const second = await attachLoop(copy);
    const other = path.join(dir, "other");
    await makeDirectory(other, 0o700);
    await mountFileSystem(device, directory, type);
    await mountFileSystem(second, other, type);
    for (const mounted of [other, directory]) await unmountFileSystem(mounted, { lazy: false });
    for (const loop of [device, second]) await detachLoop(loop);
  });
}

t.test("a FUSE file", { skip }, async (t) => {
  const dir = place(t);
  const file = path.join(dir, "volume");
  fs.writeFileSync(file, "");
  const fd = await mountFuseFile(file, "rexray-sim:test");
  const mine = () => mountsOf(({ mountpoint }) => mountpoint === file);
  t.match(await mine(), [{ source: "rexray-sim:test", fsType: "fuse" }]);
  const request = Buffer.alloc(8192);
  t.ok(fs.readSync(fd, request) >= 40, "the kernel introduces itself on the descriptor");
  t.equal(request.readUInt32LE(4), 26, "with INIT");
  fs.closeSync(fd);
  await unmountFuseFile(file, { lazy: true });
  t.same(await mine(), []);
  await t.rejects(mountFuseFile(path.join(dir, "none"), "x"), { code: "host_failed", message: "mount" });
});
