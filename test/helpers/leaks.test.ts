import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import t, { type Test } from "tap";
import { baseline, findLeaks, removeLeaks } from "./leaks.ts";
import { requiresFuse } from "./requires.ts";
import { output } from "./run.ts";
import { tempDir } from "./temp-dir.ts";
import { waitFor } from "./wait.ts";

const dirOf = (t: Test): string => {
  const dir = tempDir("leaks");
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
};

t.test("a process is known by its command line and by its environment", async (t) => {
  const dir = dirOf(t);
  const mark = `LEAK_TEST=${path.basename(dir)}`;
  fs.writeFileSync(`${dir}/log`, "");
  const named = spawn("tail", ["-f", `${dir}/log`], { stdio: "ignore" });
  const marked = spawn("sleep", ["1000"], { stdio: "ignore", env: { ...process.env, LEAK_TEST: path.basename(dir) } });
  const found = () => findLeaks({ dir, mark }).map((leak) => Number.parseInt(leak.what, 10));
  await waitFor(() => found().length === 2, { what: "both to be found" });
  t.same(new Set(found()), new Set([named.pid, marked.pid]));
  removeLeaks({ dir, mark });
  t.same(findLeaks({ dir, mark }), []);
});

t.test("mounts and loop devices are found by their paths and removed", { skip: requiresFuse() }, async (t) => {
  const dir = dirOf(t);
  const before = baseline();
  fs.writeFileSync(`${dir}/image`, Buffer.alloc(1 << 20));
  fs.writeFileSync(`${dir}/a b`, "");
  await output("mount", ["--bind", `${dir}/image`, `${dir}/a b`]);
  await output("losetup", ["--find", `${dir}/a b`]);
  t.match(findLeaks({ dir }), [{ kind: "mount", what: /a b/ }, { kind: "loop device" }]);
  await output("umount", ["--lazy", `${dir}/a b`]);
  t.match(findLeaks({ dir, before }), [{ kind: "loop device" }], "also when the mount has been torn from under it");
  removeLeaks({ dir, before });
  t.same(findLeaks({ dir, before }), []);
});

t.test("a directory that is not ours is refused", async (t) => {
  for (const dir of ["", "/", "/tmp", "tmp/x", "//", "/tmp/"])
    t.throws(() => findLeaks({ dir }), /not a directory of our own/);
});
