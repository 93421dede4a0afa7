import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import t, { type Test } from "tap";
import { AdminClient } from "../../../src/admin/client.ts";
import { call } from "../../helpers/plugin-client.ts";
import { requiresFuse, requiresRoot } from "../../helpers/requires.ts";
import { output } from "../../helpers/run.ts";
import { type Sim, startSim } from "../../helpers/sim.ts";
import { tempDir } from "../../helpers/temp-dir.ts";
import { waitFor } from "../../helpers/wait.ts";
import { CONFIG, dropCaches, fio, killHard, mountAgain, mountVolume, random, type Status, seed } from "./load.ts";

t.comment(`KILL_SEED=${seed}`);
const skip = requiresRoot() || requiresFuse();

const unmount = (sim: Sim, name: string) => call(sim.socket, "Unmount", { Name: name, ID: "test" });
const remove = (sim: Sim, name: string) => call(sim.socket, "Remove", { Name: name });
const read = (directory: string, name: string) => fs.readFileSync(path.join(directory, name), "utf8");

function write(directory: string, name: string, text: string): void {
  const fd = fs.openSync(path.join(directory, name), "w");
  fs.writeSync(fd, text);
  fs.fsyncSync(fd);
  fs.closeSync(fd);
}

async function cli(t: Test, sim: Sim, ...args: string[]): Promise<void> {
  const { code, stderr } = await sim.cli(...args);
  t.equal(code, 0, `rexray-sim ${args.join(" ")}: ${stderr}`);
}

/** An environment in which, before each mount of a device, it is put on record whether ext4's journal has to be replayed. */
function recordingMounts(t: Test) {
  const dir = tempDir("mounts");
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
  const [tool, record] = [path.join(dir, "mount"), path.join(dir, "record")];
  const look = `dumpe2fs -h "$word" 2>/dev/null | grep -q needs_recovery && echo dirty || echo clean`;
  const each = `for word; do case "$word" in /dev/loop*) (${look}) >>${record};; esac; done`;
  fs.writeFileSync(tool, `#!/bin/sh\nPATH=\${PATH#*:}\n${each}\nexec mount "$@"\n`, { mode: 0o755 });
  const states = () => fs.readFileSync(record, "utf8").trim().split("\n");
  return { env: { PATH: `${dir}:${process.env["PATH"]}` }, states };
}

/** Files of volumes on all nodes. */
const filesLeft = (sim: Sim) =>
  fs
    .readdirSync(path.join(sim.stateDir, "sds"), { recursive: true, encoding: "utf8" })
    .filter((f) => f.endsWith(".vol"));

t.test(
  "snapshots of a volume in use: independent, nestable, removed in any order",
  { skip, timeout: 120_000 },
  async (t) => {
    const sim = await startSim(t, { config: CONFIG });
    const base = await mountVolume(sim, "base", { size: "128MB" });
    write(base, "file", "first");
    const load = fio(base, 8);
    await cli(t, sim, "snapshot", "create", "base=one");
    write(base, "file", "second");
    await cli(t, sim, "snapshot", "create", "base=two");
    write(base, "file", "third");
    const one = await mountAgain(sim, "one", "test");
    t.equal(read(one, "file"), "first");
    write(one, "file", "first, changed");
    await cli(t, sim, "snapshot", "create", "one=one-of-one");
    write(one, "file", "first, changed again");
    t.match(await load.ended, /err= 0/, "the load went on and found all it had written");
    const twoOf = await sim.json<{ name: string; snapshotOf: string }[]>("snapshot", "ls");
    t.strictSame(twoOf.map(({ name, snapshotOf }) => `${name} of ${snapshotOf}`).sort(), [
      "one of base",
      "one-of-one of one",
      "two of base",
    ]);
    t.match((await sim.cli("snapshot", "create", "base=one")).stderr, /one exists already/);

    await sim.restart("SIGKILL");
    dropCaches();
    t.equal(read(base, "file"), "third");
    t.equal(read(one, "file"), "first, changed again");
    await unmount(sim, "base");
    await remove(sim, "base");
    const [two, nested] = [await mountAgain(sim, "two", "test"), await mountAgain(sim, "one-of-one", "test")];
    t.equal(read(two, "file"), "second");
    t.equal(read(nested, "file"), "first, changed");
    await output("sync", []);
    for (const name of ["two", "one-of-one", "one"]) {
      const { device } = (await sim.json<Status>("status")).volumes.find((v) => v.name === name) as { device: string };
      await unmount(sim, name);
      t.ok(device);
    }
    await remove(sim, "one");
    t.equal(
      read(await mountAgain(sim, "one-of-one", "test"), "file"),
      "first, changed",
      "what it shared is still there",
    );
    await unmount(sim, "one-of-one");
    await remove(sim, "one-of-one");
    // The last one takes over what it needs of the layers it shared, and these go.
    await waitFor(() => filesLeft(sim).length <= 4, { what: "the shared layers to go", deadline: 30_000 });
    t.equal(read(await mountAgain(sim, "two", "test"), "file"), "second");
    await unmount(sim, "two");
    await remove(sim, "two");
    t.strictSame(filesLeft(sim), [], "all space is given back");
  },
);

t.test(
  "31 snapshots of a volume, the most there can be: all read right, and give all space back in any order",
  { skip, timeout: 180_000 },
  async (t) => {
    const sim = await startSim(t, { config: CONFIG });
    const client = new AdminClient(sim.runDir);
    const base = await mountVolume(sim, "v0", { size: "64MB" });
    for (let number = 1; number <= 31; number++) {
      write(base, "number", String(number));
      write(base, `file-${number}`, String(number).repeat(5000));
      await client.snapshot([{ volume: "v0", name: `v${number}` }]);
    }
    write(base, "number", "base");
    t.match((await sim.cli("snapshot", "create", "v0=more")).stderr, /are 32 volumes, and 32 is the limit/);
    dropCaches();
    // The newest shows through all the layers that there are.
    const checkAll = (directory: string, number: number) => {
      for (let n = 1; n <= number; n++)
        if (read(directory, `file-${n}`) !== String(n).repeat(5000)) t.fail(`file-${n} of v${number}`);
      t.notOk(fs.existsSync(path.join(directory, `file-${number + 1}`)), `v${number} has nothing that came later`);
    };
    checkAll(base, 31);
    t.equal(read(base, "number"), "base");
    await unmount(sim, "v0");
    const left = Array.from({ length: 32 }, (_, number) => number);
    const check = async (number: number) => {
      const directory = await mountAgain(sim, `v${number}`, "test");
      t.equal(read(directory, "number"), number === 0 ? "base" : String(number));
      checkAll(directory, number || 31);
      await unmount(sim, `v${number}`);
    };
    await check(31);
    while (left.length > 0) {
      const [number] = left.splice(Math.floor(random() * left.length), 1) as [number];
      await remove(sim, `v${number}`);
      if (left.length > 0 && left.length % 8 === 0) await check(left[Math.floor(random() * left.length)] as number);
    }
    await waitFor(() => filesLeft(sim).length === 0, { what: "all space to be given back", deadline: 30_000 });
  },
);

t.test("31 snapshots, each of the one before, read through to the top", { skip, timeout: 90_000 }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  const client = new AdminClient(sim.runDir);
  const writers = [0, 10, 20, 31];
  const inside = async (number: number, task: (directory: string) => void) => {
    task(await mountAgain(sim, `v${number}`, "test"));
    await unmount(sim, `v${number}`);
  };
  await call(sim.socket, "Create", { Name: "v0", Opts: { size: "64MB" } });
  for (let number = 0; number <= 31; number++) {
    if (number > 0) await client.snapshot([{ volume: `v${number - 1}`, name: `v${number}` }]);
    if (!writers.includes(number)) continue;
    await inside(number, (directory) => {
      write(directory, "last", String(number));
      write(directory, `file-${number}`, String(number).repeat(5000));
    });
  }
  t.match(
    (await sim.cli("snapshot", "create", "v31=more")).stderr,
    /v31 cannot .* are 32 volumes, and 32 is the limit/,
  );
  const made = await sim.json<{ name: string; snapshotOf: string }[]>("snapshot", "ls");
  t.equal(made.filter(({ name, snapshotOf }) => Number(name.slice(1)) === Number(snapshotOf.slice(1)) + 1).length, 31);
  const check = (number: number) =>
    inside(number, (directory) => {
      t.equal(read(directory, "last"), String(writers.filter((writer) => writer <= number).at(-1)));
      for (const writer of writers)
        if (writer > number) t.notOk(fs.existsSync(path.join(directory, `file-${writer}`)), `not of v${writer}`);
        else
          t.ok(read(directory, `file-${writer}`) === String(writer).repeat(5000), `v${number} has that of v${writer}`);
    });
  dropCaches();
  for (const number of [31, 20, 5]) await check(number);
  for (let number = 0; number < 31; number++) await client.removeVolume(`v${number}`);
  await waitFor(() => filesLeft(sim).length <= 4, { what: "the last to take over what it needs", deadline: 30_000 });
  await check(31);
});

t.test("snapshots of several volumes are of one instant, and clean", { skip, timeout: 60_000 }, async (t) => {
  const { env, states } = recordingMounts(t);
  const sim = await startSim(t, { config: CONFIG, env });
  const [a, b] = [await mountVolume(sim, "a", { size: "64MB" }), await mountVolume(sim, "b", { size: "64MB" })];
  let stop = false;
  const writer = (async () => {
    for (let n = 1; !stop; n++) {
      for (const directory of [a, b])
        await output("dd", [`of=${directory}/n`, "conv=notrunc,fsync", "status=none"], {
          input: String(n).padStart(8, "0"),
        });
    }
  })();
  await waitFor(() => fs.existsSync(path.join(b, "n")), { what: "the first numbers" });
  for (let round = 1; round <= 4; round++) {
    await pause(random() * 100);
    await cli(t, sim, "snapshot", "create", `a=a${round}`, `b=b${round}`);
  }
  stop = true;
  await writer;
  for (let round = 1; round <= 4; round++) {
    const [first, second] = [await mountAgain(sim, `a${round}`, "test"), await mountAgain(sim, `b${round}`, "test")];
    const [m, n] = [Number(read(first, "n")), Number(read(second, "n"))];
    t.ok(m - n === 0 || m - n === 1, `a is at ${m}, b at ${n}`);
    await unmount(sim, `a${round}`);
    await unmount(sim, `b${round}`);
  }
  // In the page cache only, if the file systems are not frozen.
  for (const directory of [a, b]) fs.writeFileSync(path.join(directory, "unsynced"), directory.repeat(5000));
  await cli(t, sim, "snapshot", "create", "a=a-last", "b=b-last", "a=a-again");
  for (const directory of [a, b]) fs.writeFileSync(path.join(directory, "unsynced"), "later");
  for (const [name, directory] of [
    ["a-last", a],
    ["b-last", b],
    ["a-again", a],
  ] as const)
    t.ok(read(await mountAgain(sim, name, "test"), "unsynced") === directory.repeat(5000), `${name} has all of it`);
  t.same(
    states(),
    Array.from({ length: 2 + 2 * 4 + 3 }, () => "clean"),
    "no journal had to be replayed",
  );
});

t.test("back to a snapshot, and new volumes from one", { skip, timeout: 60_000 }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  const directory = await mountVolume(sim, "base", { size: "64MB", fstype: "ext4" });
  write(directory, "file", "good");
  await cli(t, sim, "snapshot", "create", "base=good");
  write(directory, "file", "spoilt");
  t.match((await sim.cli("snapshot", "restore", "base", "good")).stderr, /is mapped to .*; unmount it/);
  await unmount(sim, "base");
  await cli(t, sim, "snapshot", "restore", "base", "good");
  t.equal(read(await mountAgain(sim, "base", "test"), "file"), "good");

  const larger = await mountVolume(sim, "larger", { snapshotname: "good", size: "192MB" });
  t.equal(read(larger, "file"), "good");
  const { bsize, blocks } = fs.statfsSync(larger);
  t.ok(bsize * blocks > 150e6, "the file system fills the larger volume");
  const { Volume } = await call<{ Volume: { Status: { fields: Record<string, string> } } }>(sim.socket, "Get", {
    Name: "base",
  });
  const id = Volume.Status.fields["scaleioId"] as string;
  t.equal(read(await mountVolume(sim, "copy", { VolumeID: id }), "file"), "good");
  await t.rejects(call(sim.socket, "Create", { Name: "x", Opts: { volumename: "none" } }), /no volume or snapshot has/);
  await t.rejects(call(sim.socket, "Create", { Name: "x", Opts: { volumename: "good", size: "1MB" } }), /larger one/);
});

t.test("whoever dies while two snapshots are made, they are there or not", { skip, timeout: 120_000 }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  const client = new AdminClient(sim.runDir);
  const volumes = ["base", "other"];
  const directories = [];
  for (const name of volumes) directories.push(await mountVolume(sim, name, { size: "64MB" }));
  const load = fio(directories[0] as string, 12);
  const began = performance.now();
  await client.snapshot(volumes.map((volume) => ({ volume, name: `${volume}-0` })));
  const whole = performance.now() - began;
  const fates: string[] = [];
  for (let round = 1; round <= 6; round++) {
    for (const directory of directories) write(directory, "round", String(round));
    const wanted = volumes.map((volume) => ({ volume, name: `${volume}-${round}` }));
    const engines = (await sim.json<Status>("status")).volumes;
    const answer = client.snapshot(wanted).then(
      () => "made",
      (error: Error) => error.message,
    );
    // Once when the MDM has just heard of the first one.
    const heard = () => fs.readFileSync(path.join(sim.stateDir, "mdm/1/log"), "utf8").includes(`"base-${round}"`);
    if (round === 1) await waitFor(heard, { what: "the MDM to record the snapshots", every: 1 });
    else await pause(random() * whole);
    if (round % 2 === 1) await sim.restart("SIGKILL");
    else killHard(engines.find(({ name }) => name === volumes[round % 4 === 0 ? 0 : 1])?.enginePid ?? 0);
    const said = await answer;
    const all = (await sim.json<{ name: string }[]>("snapshot", "ls")).map(({ name }) => name);
    const there = wanted.filter(({ name }) => all.includes(name)).length;
    fates.push(`${there}: ${said}`);
    t.ok(there === 2 || (there === 0 && said !== "made"), `of two there are ${there} (${said})`);
    // What a dead engine had in flight has to be compared first; the names are free.
    const again = () =>
      client.snapshot(wanted).then(
        () => true,
        ({ message }: Error) => {
          t.match(message, /try again/);
          return false;
        },
      );
    if (there === 0) await waitFor(again, { what: "the same snapshots to be made", deadline: 20_000 });
    for (const directory of directories) write(directory, "round", "later");
    for (const { name } of wanted) {
      t.equal(read(await mountAgain(sim, name, "test"), "round"), String(round), name);
      await unmount(sim, name);
    }
  }
  t.comment(fates.join("; "));
  const tooMany = Array.from({ length: 31 }, (_, index) => ({ volume: "base", name: `more-${index}` }));
  await t.rejects(client.snapshot([{ volume: "other", name: "new" }, ...tooMany]), /32 is the limit/);
  await client.snapshot([
    { volume: "other", name: "new" },
    { volume: "base", name: "more-0" },
  ]);
  t.match(await load.ended, /err= 0/);
  for (const name of volumes) await unmount(sim, name);
  for (const { name } of (await sim.json<Status>("status")).volumes) await client.removeVolume(name);
  await waitFor(() => filesLeft(sim).length === 0, { what: "nothing to be left of any", deadline: 30_000 });
});
