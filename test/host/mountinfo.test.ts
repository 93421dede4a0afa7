import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import t, { type Test } from "tap";
import { foreignHolders, mountsOf, parseMountinfo } from "../../src/host/mountinfo.ts";
import { outsideOf } from "../../src/host/outside.ts";
import { removeLeaks } from "../helpers/leaks.ts";
import { requiresFuse } from "../helpers/requires.ts";
import { output } from "../helpers/run.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait.ts";

t.test("lines of mountinfo", async (t) => {
  const text = [
    "36 35 98:0 /mnt1 /mnt/with\\040space rw,noatime master:1 - ext3 /dev/ro\\134ot rw,errors=continue",
    "37 35 0:5 / /proc rw shared:7 propagate_from:2 - proc proc rw",
    "38 35 7:1 / /a-b ro - fuse - ro",
    "of another shape",
    "",
  ].join("\n");
  t.strictSame(parseMountinfo(text), [
    {
      device: "98:0",
      root: "/mnt1",
      mountpoint: "/mnt/with space",
      options: "rw,noatime",
      peerGroup: "1",
      fsType: "ext3",
      source: "/dev/ro\\ot",
    },
    { device: "0:5", root: "/", mountpoint: "/proc", options: "rw", peerGroup: "7", fsType: "proc", source: "proc" },
    { device: "7:1", root: "/", mountpoint: "/a-b", options: "ro", peerGroup: undefined, fsType: "fuse", source: "-" },
  ]);
});

t.test("what a container's mount is called outside", async (t) => {
  const mounts = (...lines: readonly string[]) =>
    parseMountinfo(lines.map((line) => `1 1 ${line} rw - ext4 /dev/x rw`).join("\n"));
  const own = mounts("8:1 /docker/rootfs /", "8:1 /srv/data /host", "8:2 / /disk", "8:3 / /gone");
  const machine = mounts("8:1 / /", "8:1 / /second", "8:2 / /mnt/a", "8:2 / /mnt/b", "8:9 / /mnt/a", "8:1 /srv /other");
  t.equal(outsideOf("/host", own, machine), "/srv/data");
  t.equal(outsideOf("/disk", own, machine), "/mnt/b", "/mnt/a shows something else by now");
  t.equal(outsideOf("/gone", own, machine), undefined);
  t.equal(outsideOf("/host/below", own, machine), undefined, "no mount point");
  t.equal(outsideOf("/host", own, mounts("8:7 / /", "8:1 /srv /other")), "/other/data");
  t.equal(outsideOf("/host", own, mounts("8:7 / /", "8:1 /srv/dat /other")), undefined);
});

/** A namespace made with that propagation, until `end`. */
async function namespace(t: Test, propagation: string): Promise<{ pid: number; end(): Promise<void> }> {
  const child = spawn("unshare", ["--mount", "--propagation", propagation, "sleep", "1000"], { stdio: "ignore" });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const end = async () => {
    child.kill("SIGKILL");
    await ended;
  };
  t.teardown(end);
  const pid = child.pid as number;
  const ready = () => fs.readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "sleep";
  await waitFor(ready, { what: "the namespace" });
  return { pid, end };
}

t.test("who else has a mount", { skip: requiresFuse() }, async (t) => {
  const dir = tempDir("mountinfo");
  const place = path.join(dir, "with space");
  t.teardown(() => {
    removeLeaks({ dir });
    fs.rmSync(dir, { recursive: true });
  });
  // As systemd makes the root of a machine.
  await output("mount", ["-t", "tmpfs", "parent", dir]);
  await output("mount", ["--make-shared", dir]);
  fs.mkdirSync(place);
  await output("mount", ["-t", "tmpfs", "it", place]);
  const [mount] = mountsOf(({ mountpoint }) => mountpoint === place);
  t.match(mount, { source: "it", fsType: "tmpfs", root: "/" });
  const device = mount?.device as string;
  t.same(await foreignHolders(device), []);

  const own = await namespace(t, "private");
  t.same(await foreignHolders(device), [{ pid: own.pid, command: "sleep" }]);
  await own.end();
  t.same(await foreignHolders(device), []);

  const service = await namespace(t, "slave");
  t.same(await foreignHolders(device), [], "a namespace that follows us is no holder");
  await output("umount", [place]);
  t.notMatch(fs.readFileSync(`/proc/${service.pid}/mountinfo`, "utf8"), "with\\040space", "because it has followed");
  await service.end();
});
