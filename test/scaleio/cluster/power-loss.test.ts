import fs from "node:fs";
import path from "node:path";
import t, { type Test } from "tap";
import { loopOf } from "../../../src/host/loop.ts";
import { requiresFuse, requiresRoot, requiresTools } from "../../helpers/requires.ts";
import { output, run } from "../../helpers/run.ts";
import { type Sim, startSim } from "../../helpers/sim.ts";
import { tempDir } from "../../helpers/temp-dir.ts";
import { waitFor } from "../../helpers/wait.ts";
import { type Layout, mountVolume, random, seed } from "./load.ts";
import { startPostgres } from "./postgres.ts";
import { PowerLoss } from "./power-loss.ts";

t.comment(`KILL_SEED=${seed}`);
const skip = requiresRoot() || requiresFuse();
const SECONDS = Number(process.env["KILL_SECONDS"] ?? 3);
/** States to look at: CI has no time for all of a long record. */
const MOST_STATES = Number(process.env["POWER_LOSS_STATES"] ?? 60);

/** How many files or transactions there are between two looks for blocks to discard. */
const TRIM_EVERY = 10;

/** Something that was acknowledged when the record was so long. */
interface Acknowledged {
  readonly at: number;
  readonly what: string;
}

const lengthOf = (file: string) => fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;

/** An instance that records, a mounted volume, and where its record is. */
async function recording(t: Test, config: string, options: Record<string, string>) {
  const records = tempDir("records");
  t.teardown(() => fs.rmSync(records, { recursive: true, force: true }));
  const sim = await startSim(t, { config, env: { REXRAY_SIM_RECORD: records } });
  const directory = await mountVolume(sim, "v", options);
  const { id, sizeBytes } = await sim.json<Layout>("volume", "inspect", "v");
  return { sim, records, directory, sizeBytes, record: path.join(records, `${id}.record`) };
}

/** Mounts an image, which replays its journal; runs the task; unmounts and checks it. */
async function inspected(
  t: Test,
  records: string,
  image: string,
  what: string,
  task: (directory: string) => Promise<void>,
) {
  const directory = path.join(records, "mnt");
  fs.mkdirSync(directory, { recursive: true, mode: 0o755 });
  const device = (await output("losetup", ["--find", "--show", image])).trim();
  try {
    const mounted = await run("mount", [device, directory]);
    t.equal(mounted.code, 0, `${what}: mounts ${mounted.stderr}`);
    if (mounted.code !== 0) return;
    try {
      await task(directory);
    } finally {
      await output("umount", [directory]);
    }
    const check = await run("e2fsck", ["-f", "-n", device]);
    t.equal(check.code, 0, `${what}: the file system is sound ${check.code === 0 ? "" : check.stdout}`);
  } finally {
    await output("losetup", ["--detach", device]);
    await waitFor(() => loopOf(image) === undefined, { what: "the device to be let go" });
    fs.rmSync(image);
  }
}

/** Flushes to lose power after, spread over the record and in order. */
function chosen(flushes: readonly number[], most: number): number[] {
  const step = Math.max(1, flushes.length / most);
  const spread = Array.from({ length: Math.min(most, flushes.length) }, (_, i) => flushes[Math.floor(i * step)]);
  return spread.filter((flush) => flush !== undefined);
}

t.test(
  "power loss under a file-system workload: every state mounts, is sound, and has what was acknowledged",
  { skip, timeout: 240_000 + MOST_STATES * 1000 },
  async (t) => {
    const { sim, records, directory, sizeBytes, record } = await recording(t, "simulator:\n  granularity: 64MB\n", {
      size: "64MB",
    });
    const begin = lengthOf(record);
    const made: Acknowledged[] = [];
    const removed: Acknowledged[] = [];
    const end = Date.now() + SECONDS * 1000;
    const root = fs.openSync(directory, "r");
    for (let n = 0; Date.now() < end; n++) {
      const file = path.join(directory, `file-${n}`);
      const aside = path.join(directory, "aside");
      const fd = fs.openSync(aside, "w");
      fs.writeSync(fd, `${n} `.repeat(1 + Math.floor(random() * 20_000)));
      fs.fsyncSync(fd);
      fs.closeSync(fd);
      fs.renameSync(aside, file);
      fs.fsyncSync(root);
      made.push({ at: lengthOf(record), what: path.basename(file) });
      if (n % TRIM_EVERY === TRIM_EVERY - 1) await output("fstrim", [directory]);
      if (n % 3 !== 2) continue;
      fs.rmSync(path.join(directory, `file-${n - 2}`));
      fs.fsyncSync(root);
      removed.push({ at: lengthOf(record), what: `file-${n - 2}` });
    }
    fs.closeSync(root);
    await stop(sim);
    const losses = new PowerLoss(record, path.join(records, "image"), sizeBytes, random);
    t.teardown(() => losses.close());
    const all = losses.flushes(begin);
    const flushes = chosen(all, MOST_STATES);
    t.ok(flushes.length > 20, `${flushes.length} of ${all.length} flushes, ${made.length} files`);
    t.ok(losses.discards(begin) > 0, `${losses.discards(begin)} discards`);
    for (const flush of flushes) {
      const at = losses.endOf(flush);
      const image = await losses.imageAfter(flush);
      await inspected(t, records, image, `after flush ${flush}`, async (mnt) => {
        const data = path.join(mnt, "data");
        const gone = new Set(removed.map(({ what }) => what));
        const there = made.filter((file) => file.at <= at && !gone.has(file.what));
        const missing = there.filter(({ what }) => {
          const text = fs.existsSync(path.join(data, what)) ? fs.readFileSync(path.join(data, what), "utf8") : "";
          return !text.startsWith(`${what.slice(5)} `) || /[^\d ]/.test(text);
        });
        const back = removed.filter((file) => file.at <= at && fs.existsSync(path.join(data, file.what)));
        if (missing.length + back.length > 0) t.fail(`after flush ${flush}`, { missing, back });
      });
    }
  },
);

t.test(
  "power loss under PostgreSQL: every transaction that was acknowledged is there",
  { skip: skip || requiresTools("psql"), timeout: 280_000 + MOST_STATES * 1000 },
  async (t) => {
    const config = "simulator:\n  granularity: 512MB\nlinux:\n  volume:\n    fileMode: '0711'\n";
    const { sim, records, directory, sizeBytes, record } = await recording(t, config, { size: "512MB" });
    const server = await startPostgres(t, directory);
    await server.sql("create table done (n int primary key, filler text)");
    const begin = lengthOf(record);
    const committed: Acknowledged[] = [];
    const end = Date.now() + SECONDS * 1000;
    for (let n = 1; Date.now() < end; n++) {
      await server.sql(`insert into done values (${n}, repeat('x', ${Math.floor(random() * 5000)}))`);
      committed.push({ at: lengthOf(record), what: String(n) });
      if (n % TRIM_EVERY !== TRIM_EVERY - 1) continue;
      await server.sql("create table junk as select generate_series(1, 50000)");
      await server.sql("drop table junk");
      await server.sql("checkpoint");
      await output("fstrim", [directory]);
    }
    await server.stop();
    await stop(sim);
    const losses = new PowerLoss(record, path.join(records, "image"), sizeBytes, random);
    t.teardown(() => losses.close());
    t.ok(losses.discards(begin) > 0, `${losses.discards(begin)} discards, ${committed.length} transactions`);
    for (const flush of chosen(losses.flushes(begin), Math.ceil(MOST_STATES / 8))) {
      const at = losses.endOf(flush);
      const acknowledged = committed.filter((one) => one.at <= at).length;
      await inspected(t, records, await losses.imageAfter(flush), `after flush ${flush}`, async (mnt) => {
        const again = await startPostgres(t, path.join(mnt, "data"));
        const found = Number(await again.sql("select count(*) from done"));
        await again.stop();
        t.ok(found >= acknowledged, `after flush ${flush}: ${found} transactions, ${acknowledged} acknowledged`);
      });
    }
  },
);

/** The volume is unmounted; what that writes is part of the record. */
async function stop(sim: Sim): Promise<void> {
  await sim.stop();
}
