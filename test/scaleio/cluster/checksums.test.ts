import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { call } from "../../helpers/plugin-client.ts";
import { requiresFuse, requiresRoot } from "../../helpers/requires.ts";
import { type Sim, startSim } from "../../helpers/sim.ts";
import { waitFor } from "../../helpers/wait.ts";
import { CONFIG, dropCaches, fio, type Layout, mountAgain, mountVolume, type Status } from "./load.ts";

const skip = requiresRoot() || requiresFuse();
const CHECKED = `${CONFIG}  checksum: true\n  scannerBandwidth: 0\n`;
const TEXT = Buffer.from("all that was written is here. ".repeat(100_000));

function write(directory: string): string {
  const file = path.join(directory, "text");
  const fd = fs.openSync(file, "w");
  fs.writeSync(fd, TEXT);
  fs.fsyncSync(fd);
  fs.closeSync(fd);
  return file;
}

/** Changes a byte of 4 KiB blocks that a node has of the text, at most so many; answers how many. `first`: those read from it. */
function rot(layout: Layout, node: string, most = 20, { first = false } = {}): number {
  const { file } = layout.devices.find(({ sds }) => sds === node) as { file: string };
  const content = fs.readFileSync(file);
  const fd = fs.openSync(file, "r+");
  let rotten = 0;
  for (let at = 0; at < content.length && rotten < most; at += 4096) {
    if (first && layout.chunks[Math.floor(at / layout.chunkBytes)]?.primary !== node) continue;
    if (!content.subarray(at, at + 4096).includes("all that was written is here")) continue;
    fs.writeSync(fd, "!", at + 1000);
    rotten++;
  }
  fs.fsyncSync(fd);
  fs.closeSync(fd);
  return rotten;
}

const events = async (sim: Sim) => (await sim.cli("events")).stdout;

t.test("what is rotten in both copies is an error, never wrong bytes", { skip, timeout: 90_000 }, async (t) => {
  const sim = await startSim(t, { config: CHECKED });
  const file = write(await mountVolume(sim, "v", { size: "64MB" }));
  await call(sim.socket, "Unmount", { Name: "v", ID: "test" });
  const layout = await sim.json<Layout>("volume", "inspect", "v");
  const nodes = layout.devices.filter((device) => rot(layout, device.sds, 100_000) > 0).map(({ sds }) => sds);
  t.ok(nodes.length > 1, "the text is on several nodes");
  await mountAgain(sim, "v", "test").catch(() => undefined);
  dropCaches();
  t.throws(() => fs.readFileSync(file), { code: "EIO" }, "not the wrong bytes");
});

t.test("one rotten copy: reads are right, the copy is put right", { skip, timeout: 90_000 }, async (t) => {
  const sim = await startSim(t, { config: CHECKED });
  const file = write(await mountVolume(sim, "v", { size: "64MB" }));
  await call(sim.socket, "Unmount", { Name: "v", ID: "test" });
  const layout = await sim.json<Layout>("volume", "inspect", "v", "--chunks");
  const node = layout.devices.find(({ sds }) => rot(layout, sds, 20, { first: true }) > 0)?.sds;
  t.ok(node !== undefined, `some blocks that are read from ${node} are rotten`);
  await mountAgain(sim, "v", "test");
  t.ok(fs.readFileSync(file).equals(TEXT), "what is read is right");
  await waitFor(
    async () =>
      new RegExp(`FIXED_READ_ERROR WARNING volume v: ${node}/dev-1 gave \\d+ bad blocks; \\d+ were put right`).test(
        await events(sim),
      ),
    {
      what: "the event",
      deadline: 10_000,
    },
  );
  t.match(await sim.cli("volume", "scan", "v"), { code: 0, stderr: /64 chunks looked at/ });
  t.match(await sim.cli("volume", "scan", "v"), { code: 0, stderr: /nothing found/ });
  t.equal((await sim.json<Status>("status")).health, "ok");

  await call(sim.socket, "Unmount", { Name: "v", ID: "test" });
  t.ok(rot(layout, node as string) > 0);
  t.match(await sim.cli("volume", "scan", "v"), { code: 0, stderr: /blocks put right/ }, "out of use as well");
  t.match(await sim.cli("volume", "scan", "v"), { code: 0, stderr: /nothing found/ });
});

t.test("a device that lies is taken out", { skip, timeout: 90_000 }, async (t) => {
  const sim = await startSim(t, { config: CHECKED });
  const directory = await mountVolume(sim, "v", { size: "64MB" });
  await sim.cli("fault", "add", "bit-flip", "sds-3", "--probability", "0.3");
  await sim.cli("fault", "add", "lost-write", "sds-3", "--probability", "0.3");
  const load = fio(directory, 12);
  await waitFor(async () => (await sim.json<Status>("status")).sds.some(({ state }) => state === "failed"), {
    what: "the lying device to be taken out",
    deadline: 30_000,
  });
  t.match(
    (await sim.json<Status>("status")).reasons.join("\n"),
    /sds-3\/dev-1 failed: cannot believe .*blocks had other content/,
  );
  t.match(await load.ended, /err= 0/, "the application has read nothing wrong");
  await sim.cli("fault", "reset");
  t.notOk(
    (await sim.json<Status>("status")).sds.some(({ state }) => state === "failed"),
    "it lied because it had to",
  );
});

t.test(
  "lies are counted over volumes, scans and daemons; a person ends the distrust",
  { skip, timeout: 90_000 },
  async (t) => {
    const sim = await startSim(t, { config: CHECKED });
    for (const name of ["v", "w"]) {
      write(await mountVolume(sim, name, { size: "64MB" }));
      await call(sim.socket, "Unmount", { Name: name, ID: "test" });
    }
    const stateOf = async () => (await sim.json<Status>("status")).sds.find(({ name }) => name === "sds-1")?.state;
    const lie = async (name: string) => {
      t.equal(rot(await sim.json<Layout>("volume", "inspect", name), "sds-1", 60), 60);
      t.match(await sim.cli("volume", "scan", name), { code: 0, stderr: /60 blocks put right/ });
    };
    await lie("v");
    t.equal(await stateOf(), "up");
    const told = async () =>
      (await sim.json<{ alerts: { type: string; text: string }[] }>("status")).alerts.find(
        ({ type }) => type === "FIXED_READ_ERROR_COUNT_ABOVE_THRESHOLD",
      )?.text;
    t.match(await told(), /^60 blocks of sds-1 had other content than was written/);
    await sim.cli("fault", "add", "bit-flip", "sds-1");
    await sim.cli("fault", "reset");
    t.equal(await told(), undefined, "whose lies they were cannot be told");
    await lie("v");
    await sim.restart("SIGKILL");
    await lie("w");
    t.match(
      (await sim.json<Status>("status")).reasons.join(),
      /sds-1\/dev-1 failed: cannot believe it: 120 of its blocks/,
    );
    await sim.restart();
    t.equal(await stateOf(), "failed", "it is not believed for the sake of a restart");
    t.match(await sim.cli("device", "clear", "sds-1", "dev-9"), { code: 1, stderr: /no device "dev-9"; it has dev-1/ });
    t.match(await sim.cli("device", "clear", "sds-1", "dev-1"), { code: 0, stderr: /believed again/ });
    t.equal(await stateOf(), "up");
    t.equal(await told(), undefined);
    const book = JSON.parse(fs.readFileSync(path.join(sim.stateDir, "bad-blocks.json"), "utf8")) as { devices: object };
    t.same(book.devices, {}, "it is counted from nothing");
  },
);

t.test(
  "without checksums a scan makes copies that differ the same, by the first one, and an event says so",
  { skip, timeout: 60_000 },
  async (t) => {
    const sim = await startSim(t, { config: CONFIG });
    const file = write(await mountVolume(sim, "v", { size: "64MB" }));
    await call(sim.socket, "Unmount", { Name: "v", ID: "test" });
    const compared = async () =>
      (await events(sim)).split("\n").filter((line) => line.includes("SCANNER_COMPARE_ERROR"));
    const layout = await sim.json<Layout>("volume", "inspect", "v", "--chunks");
    const rotten = layout.devices.reduce((sum, { sds }) => sum + rot(layout, sds, 5, { first: true }), 0);
    t.ok(rotten > 0, `${rotten} blocks are rotten in the copies that reads go to`);
    t.strictSame(await compared(), []);
    const { fixed } = await sim.json<{ fixed: number }>("volume", "scan", "v");
    t.ok(fixed > 0, `${fixed} put right`);
    t.match(await sim.cli("volume", "scan", "v"), { code: 0, stderr: /nothing found/ });
    const told = await compared();
    t.equal(told.length, 1, "not of the scan that found nothing");
    t.match(told[0], `SCANNER_COMPARE_ERROR WARNING a scan of volume v put ${fixed} blocks right`);

    await mountAgain(sim, "v", "test");
    dropCaches();
    const content = fs.readFileSync(file);
    const wrong = content.filter((byte, at) => byte !== TEXT[at]).length;
    // One of them may lie behind the file's end.
    t.ok(wrong > 0 && wrong <= rotten, `${wrong} bytes are wrong for good: nobody knows which copy was right`);
  },
);

t.test("what is rotten is found by itself, in use or not", { skip, timeout: 90_000 }, async (t) => {
  const sim = await startSim(t, { config: `${CONFIG}  checksum: true\n  scannerBandwidth: 100MB\n` });
  const names = ["used", "idle", "frozen"];
  for (const name of names) {
    write(await mountVolume(sim, name, { size: "64MB" }));
    await call(sim.socket, "Unmount", { Name: name, ID: "test" });
  }
  const layouts = await Promise.all(names.map((name) => sim.json<Layout>("volume", "inspect", name)));
  // From now on its content lies in a layer that it shares with its snapshot.
  t.match(await sim.cli("snapshot", "create", "frozen=snapshot"), { code: 0 });
  for (const layout of layouts) {
    const node = layout.devices.map(({ sds }) => sds).find((sds) => rot(layout, sds) > 0);
    t.ok(node !== undefined, `${node} has rotten blocks`);
  }
  await mountAgain(sim, "used", "test");
  for (const name of names) {
    await waitFor(async () => new RegExp(`FIXED_READ_ERROR .*volume ${name}: .*put right`).test(await events(sim)), {
      what: `word of ${name}`,
      deadline: 30_000,
    });
  }
  await call(sim.socket, "Unmount", { Name: "used", ID: "test" });
  for (const name of names)
    t.match(await sim.cli("volume", "scan", name), { code: 0, stderr: /nothing found/ }, `${name} has been mended`);
});

t.test("a volume that is scanned can be mounted, and the scan goes on", { skip, timeout: 90_000 }, async (t) => {
  const sim = await startSim(t, { config: CHECKED });
  const file = write(await mountVolume(sim, "v", { size: "1GB" }));
  await call(sim.socket, "Unmount", { Name: "v", ID: "test" });
  const { id } = await sim.json<Layout>("volume", "inspect", "v");
  const scan = sim.cli("volume", "scan", "v");
  await waitFor(() => fs.existsSync(path.join(sim.runDir, "sdc", id)), { what: "the scan to begin" });
  for (let round = 0; round < 5; round++) {
    await mountAgain(sim, "v", "test");
    t.ok(fs.readFileSync(file).equals(TEXT), "the content is there");
    await call(sim.socket, "Unmount", { Name: "v", ID: "test" });
  }
  t.match(await scan, { code: 0, stderr: /1024 chunks looked at, nothing found/ });
  t.equal((await sim.json<Status>("status")).health, "ok");
});
