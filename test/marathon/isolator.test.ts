import fs from "node:fs";
import path from "node:path";
import t, { type Test } from "tap";
import { Isolator } from "../../src/mesos/agent/isolator.ts";
import { forgetContainer, limitContainer } from "../../src/mesos/host/cgroups.ts";
import type { MesosVolume } from "../../src/mesos/task.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait.ts";

// The docker/volume isolator by the numbers of spec/dvdcli.md 8, over a dvdcli that writes down how it is called. (31, 35, 36, 38,
// 41 and 42 are in dvdcli.test.ts, faults.test.ts and dvdcli-call.test.ts with the real one; 47 is in docker.test.ts. There is no
// flag for 45, and there are no nested containers, 46.)

/** What a call does; it is held until it is let go. */
type Behaviour = (call: string) => Promise<string>;

function fixture(t: Test, behaviour: Behaviour = async (call) => `/mnt/${call.split(" ")[2]}`) {
  const dir = tempDir("isolator");
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
  const [checkpoints, sandbox] = [path.join(dir, "checkpoints"), path.join(dir, "sandbox")];
  fs.mkdirSync(sandbox);
  const [calls, said]: [string[], string[]] = [[], []];
  const call = (words: string): Promise<string> => {
    calls.push(words);
    return behaviour(words);
  };
  const dvdcli = {
    mount: (driver: string, name: string, options: Readonly<Record<string, string>>) =>
      call(`mount ${driver} ${name}${Object.entries(options).map(([key, value]) => ` ${key}=${value}`)}`),
    unmount: async (driver: string, name: string) => void (await call(`unmount ${driver} ${name}`)),
  };
  return {
    dir,
    sandbox,
    checkpoints,
    calls,
    said,
    isolator: () => new Isolator(dvdcli, checkpoints, (message) => said.push(message)),
    checkpoint: (id: string) => path.join(checkpoints, id, "volumes"),
    write: (id: string, text: string | undefined) => {
      fs.mkdirSync(path.join(checkpoints, id), { recursive: true });
      if (text !== undefined) fs.writeFileSync(path.join(checkpoints, id, "volumes"), text);
    },
  };
}

const volume = (
  name: string,
  { driver = "d", containerPath = name, mode = "RW" as const, options = {} }: Partial<Volume> = {},
): MesosVolume => ({ containerPath, mode, source: { driver, name, options } });
interface Volume {
  driver: string;
  containerPath: string;
  mode: "RW" | "RO";
  options: Readonly<Record<string, string>>;
}

t.test("28 two volumes: a mount each, options where they belong, an unmount each", async (t) => {
  const { isolator, calls, sandbox, dir, checkpoint } = fixture(t);
  const one = isolator();
  const volumes = [
    volume("foo1", { containerPath: "tmp/foo1", options: { iops: "150" } }),
    volume("foo2", { containerPath: dir }),
  ];
  t.same(await one.prepare("c", volumes, sandbox), [
    { source: "/mnt/foo1", target: path.join(sandbox, "tmp/foo1"), readOnly: false },
    { source: "/mnt/foo2", target: dir, readOnly: false },
  ]);
  t.same(calls, ["mount d foo1 iops=150", "mount d foo2"]);
  t.equal(
    fs.readFileSync(checkpoint("c"), "utf8"),
    '{"volumes":[{"driver":"d","name":"foo1"},{"driver":"d","name":"foo2"}]}',
  );
  await one.cleanup("c");
  t.same(calls.slice(2).toSorted(), ["unmount d foo1", "unmount d foo2"]);
  t.notOk(fs.existsSync(path.dirname(checkpoint("c"))));
});

t.test("29 one volume twice in a container: refused, dvdcli is not called, nothing is on disk", async (t) => {
  const { isolator, calls, sandbox, checkpoint } = fixture(t);
  const twice = [volume("foo"), volume("foo", { containerPath: "other", options: { a: "b" } })];
  await t.rejects(isolator().prepare("c", twice, sandbox), {
    message: "Found duplicate docker volume with driver 'd' and name 'foo'",
  });
  t.same(calls, []);
  t.notOk(fs.existsSync(checkpoint("c")));
});

t.test("30 one name of two drivers: two volumes", async (t) => {
  const { isolator, calls, sandbox } = fixture(t);
  await isolator().prepare("c", [volume("foo"), volume("foo", { driver: "e", containerPath: "other" })], sandbox);
  t.same(calls, ["mount d foo", "mount e foo"]);
});

t.test("32 an agent comes back to a task that runs: no mount, one unmount when it ends", async (t) => {
  const { isolator, calls, sandbox } = fixture(t);
  await isolator().prepare("c", [volume("foo")], sandbox);
  const next = isolator();
  next.recover(new Set(["c"]));
  t.same(calls, ["mount d foo"]);
  await next.cleanup("c");
  t.same(calls, ["mount d foo", "unmount d foo"]);
});

for (const [what, text] of [
  ["an empty", ""],
  ["no", undefined],
] as const)
  t.test(`33 ${what} checkpoint: the agent comes back, nothing of it is unmounted`, async (t) => {
    const { isolator, calls, said, write } = fixture(t);
    write("c", text);
    const one = isolator();
    one.recover(new Set(["c"]));
    await one.cleanup("c");
    t.same(calls, []);
    t.match(said, [/container c has an empty checkpoint/]);
  });

t.test("33 garbage in a checkpoint, or a volume twice: the agent does not come back", async (t) => {
  const { isolator, write, calls } = fixture(t);
  write("c", "{garbage");
  t.throws(() => isolator().recover(new Set()), { message: /^JSON parse failed: \S+\/c\/volumes: / });
  for (const text of ["null", "[]x", '{"volumes":{}}', '{"volumes":[null]}', '{"volumes":[{"driver":"d"}]}', '"x"']) {
    write("c", text);
    const message = text === "[]x" ? /^JSON parse failed: / : /^Protobuf parse failed: \S+\/c\/volumes: /;
    t.throws(() => isolator().recover(new Set()), { message }, text);
  }
  write("c", '{"volumes":[{"driver":"d","name":"foo"},{"driver":"d","name":"foo"}]}');
  t.throws(() => isolator().recover(new Set()), { message: /^duplicate volume in \S+\/c\/volumes/ });
  t.same(calls, []);
});

t.test("34 a container that nobody knows: unmounted at the start, forgotten if that works", async (t) => {
  const works = fixture(t);
  works.write("c", '{"volumes":[{"driver":"d","name":"a\\/b"}]}');
  works.isolator().recover(new Set());
  await waitFor(() => !fs.existsSync(works.checkpoint("c")), { what: "it to be forgotten" });
  t.same(works.calls, ["unmount d a/b"]);
  const fails = fixture(t, async () => {
    throw new Error("busy");
  });
  fails.write("c", '{"volumes":[{"driver":"d","name":"foo"}]}');
  fails.isolator().recover(new Set());
  await waitFor(() => fails.said.length > 0, { what: "the failure" });
  t.match(fails.said, [/orphan c: .*Failed to clean up an isolator when destroying container: busy/]);
  t.ok(fs.existsSync(fails.checkpoint("c")), "kept");
});

t.test("37 a read-only volume is asked for as any other, and bound read-only", async (t) => {
  const { isolator, calls, sandbox } = fixture(t);
  const one = isolator();
  t.match(await one.prepare("c", [volume("foo", { mode: "RO" })], sandbox), [{ readOnly: true }]);
  await one.cleanup("c");
  t.same(calls, ["mount d foo", "unmount d foo"]);
});

t.test(
  "39 one of two mounts fails: the other is waited for, its text is the failure, both are unmounted",
  async (t) => {
    let letGo: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (letGo = resolve));
    let done = false;
    const { isolator, calls, sandbox } = fixture(t, async (call) => {
      if (call === "mount d bad") throw new Error("Unexpected termination of the subprocess: no luck");
      if (call === "mount d good") await held;
      done ||= call === "mount d good";
      return "/mnt/x";
    });
    const one = isolator();
    const mount = one
      .prepare("c", [volume("bad"), volume("good")], sandbox)
      .catch((error: Error) => [error.message, done]);
    await waitFor(() => calls.length === 2, { what: "both to begin" });
    letGo();
    t.same(await mount, ["Unexpected termination of the subprocess: no luck", true]);
    await one.cleanup("c");
    t.same(calls.slice(2).toSorted(), ["unmount d bad", "unmount d good"]);
  },
);

t.test("40 calls for one volume wait for each other, those for two do not", async (t) => {
  const running = new Map<string, number>();
  let [most, together] = [0, 0];
  const { isolator, calls, sandbox } = fixture(t, async (call) => {
    const name = call.split(" ")[2] as string;
    running.set(name, (running.get(name) ?? 0) + 1);
    most = Math.max(most, running.get(name) as number);
    together = Math.max(together, [...running.values()].filter((count) => count > 0).length);
    await new Promise((resolve) => setTimeout(resolve, 5));
    running.set(name, (running.get(name) as number) - 1);
    return "/mnt/x";
  });
  const one = isolator();
  await Promise.all(
    Array.from({ length: 6 }, async (_, i) => {
      await one.prepare(`c${i}`, [volume(i % 2 === 0 ? "foo" : "bar")], sandbox);
      await one.cleanup(`c${i}`);
    }),
  );
  t.equal(most, 1);
  t.equal(together, 2);
  t.equal(calls.filter((call) => call.startsWith("mount")).length, 6);
});

t.test("43 dvdcli says nothing: that is no mount point, and it is unmounted all the same", async (t) => {
  const { isolator, calls, sandbox } = fixture(t, async () => "");
  const one = isolator();
  await t.rejects(one.prepare("c", [volume("foo")], sandbox), {
    message: `Failed to mount volume 'foo': "" is no mount point`,
  });
  await one.cleanup("c");
  t.same(calls, ["mount d foo", "unmount d foo"]);
});

t.test("44 no driver is refused; volumes of the host are not the isolator's", async (t) => {
  const { isolator, calls, sandbox, checkpoint } = fixture(t);
  await t.rejects(isolator().prepare("c", [volume("foo", { driver: "" })], sandbox), {
    message: "The volume driver is not specified for volume 'foo' with container c",
  });
  const host = { containerPath: "x", mode: "RW", source: { hostPath: "/etc" } } as const;
  t.same(await isolator().prepare("c", [host], sandbox), []);
  t.same(calls, []);
  t.notOk(fs.existsSync(checkpoint("c")));
});

// This machine's cgroups are version 1 (containers.test.ts has its limits); of version 2 only the files can be looked at: that a
// kernel takes them is not tested.
t.test("cgroups version 2: one directory, a limit of memory and a weight", async (t) => {
  const root = tempDir("cgroup");
  t.teardown(() => fs.rmSync(root, { recursive: true, force: true }));
  fs.writeFileSync(path.join(root, "cgroup.controllers"), "cpu memory\n");
  const file = (...parts: string[]) => fs.readFileSync(path.join(root, ...parts), "utf8");
  t.same(limitContainer("c", { cpus: 0.5, mem: 64, disk: 0 }, root), [path.join(root, "rexray-sim/c/cgroup.procs")]);
  t.equal(file("rexray-sim/c/memory.max"), String(64 * 1024 ** 2));
  t.equal(file("rexray-sim/c/cpu.weight"), "50");
  for (const dir of [".", "rexray-sim"]) t.equal(file(dir, "cgroup.subtree_control"), "+memory +cpu");
  // A kernel's directory goes with its files.
  for (const name of ["memory.max", "cpu.weight"]) fs.rmSync(path.join(root, "rexray-sim/c", name));
  fs.rmSync(path.join(root, "rexray-sim/cgroup.subtree_control"));
  t.ok(forgetContainer("c", root));
  t.notOk(fs.existsSync(path.join(root, "rexray-sim")));
});

t.test("cgroups version 2 without the controllers: resources are counted only, nothing is left", async (t) => {
  const root = "/sys/fs/cgroup/unified";
  const controllers = path.join(root, "cgroup.controllers");
  const empty = fs.existsSync(controllers) && !/cpu|memory/.test(fs.readFileSync(controllers, "utf8"));
  if (!empty) return void t.comment("there is no empty tree of version 2 here");
  t.same(limitContainer("c", { cpus: 1, mem: 64, disk: 0 }, root), []);
  t.notOk(fs.existsSync(path.join(root, "rexray-sim")));
});
