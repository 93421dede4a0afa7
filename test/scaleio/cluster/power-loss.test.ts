import fs from "node:fs";
import path from "node:path";
import t, { type Test } from "tap";
import { loops } from "../../../src/host/loop.ts";
import { requiresFuse, requiresRoot, requiresTools } from "../../helpers/requires.ts";
import { output } from "../../helpers/run.ts";
import { Shell } from "../../helpers/shell.ts";
import { type Sim, startSim } from "../../helpers/sim.ts";
import { tempDir } from "../../helpers/temp-dir.ts";
import { waitFor } from "../../helpers/wait.ts";
import { type Layout, mountVolume, random, seed } from "./load.ts";
import { serverTool, startPostgres } from "./postgres.ts";
import { PowerLoss, type State } from "./power-loss.ts";

t.comment(`KILL_SEED=${seed}`);
const skip = requiresRoot() || requiresFuse() || requiresTools("e2fsck", "xfs_repair");
/** How many files are made, ten at least: every state of that record is looked at. */
const FILES = Number(process.env["POWER_LOSS_FILES"] ?? 12);
/** How long PostgreSQL is recorded, and how many states of that are looked at, as each takes a server's start. `Infinity`: all. */
const SECONDS = Number(process.env["KILL_SECONDS"] ?? 3);
const MOST_STATES = Number(process.env["POWER_LOSS_STATES"] ?? 50);

/** How many files or transactions there are between two looks for blocks to discard. */
const TRIM_EVERY = 10;
/** The granularity is small, and the server's user gets to its data. */
const CONFIG = "simulator:\n  granularity: 64MB\nlinux:\n  volume:\n    fileMode: '0711'\n";

/** How a file system is checked that is not mounted, and what a volume for it needs. */
/**
 * `pieceBytes`: what a disk has to write as a whole or not at all. XFS takes a block of metadata for whole whose first sector has the
 * newest number of the log, and does not replay its log over it: it relies on disks that write 4 KiB in one piece, as they do.
 */
const FILE_SYSTEMS = {
  ext4: { check: "e2fsck -f -n", pieceBytes: 512, options: { size: "64MB" } },
  xfs: { check: "xfs_repair -n -f", pieceBytes: 4096, options: { size: "320MB", fsType: "xfs" } },
} as const;

/** A file that was made, and removed maybe. Numbers are lengths of the record. */
interface Made {
  readonly name: string;
  readonly text: string;
  /** When it was acknowledged. */
  readonly at: number;
  removal?: { readonly begun: number; readonly acknowledged: number };
}

/** An instance that records, and a mounted volume: its directory, its record, and the record's length as it grows. */
async function recorded(sim: Sim, records: string, name: string, options: Record<string, string>) {
  const directory = await mountVolume(sim, name, options);
  const { id, sizeBytes } = await sim.json<Layout>("volume", "inspect", name);
  const record = path.join(records, `${id}.record`);
  const length = () => fs.statSync(record).size;
  return { directory, sizeBytes, record, length, begin: length() };
}

function recordsOf(t: Test): string {
  const records = tempDir("records");
  t.teardown(() => fs.rmSync(records, { recursive: true, force: true }));
  return records;
}

/** States spread over all that there are, each by chance out of its part. */
function spread(states: readonly State[], most: number): readonly State[] {
  if (states.length <= most) return states;
  const part = states.length / most;
  return Array.from({ length: most }, (_, i) => states[Math.floor((i + random()) * part)] as State);
}

/**
 * Makes the states that a power loss could leave, mounts each, which replays its journal, and looks at it; unmounts and checks it.
 * @param look gets the directory of the data as the shell has it, and answers what is wrong
 */
async function everyState(
  t: Test,
  volume: { record: string; sizeBytes: number; begin: number },
  { type, most = Number.POSITIVE_INFINITY }: { type: keyof typeof FILE_SYSTEMS; most?: number },
  look: (directory: string, state: State, shell: Shell) => string[] | Promise<string[]>,
) {
  const shell = new Shell(t);
  const place = tempDir("states");
  t.teardown(() => fs.rmSync(place, { recursive: true }));
  const [images, directory] = [path.join(place, "images"), path.join(place, "mnt")];
  // In memory, where a sync costs nothing. Beside what is mounted and not above it: each would keep the other for ever.
  await shell.output(`mkdir ${images} ${directory} && mount -t tmpfs -o mode=755 images ${images}`);
  const losses = new PowerLoss(volume, shell, images, { pieceBytes: FILE_SYSTEMS[type].pieceBytes, random });
  t.teardown(() => losses.close());
  const all = losses.states(volume.begin);
  const states = spread(all, most);
  const cut = states.length < all.length ? `${states.length} of them are looked at` : "all of them are looked at";
  t.comment(`${losses.prefixes(volume.begin)} prefixes, ${all.length} states: ${cut}`);
  t.ok(losses.discards(volume.begin) > 0, `${losses.discards(volume.begin)} discards`);
  for (const state of states) {
    const image = await losses.image(state);
    const mounted = await shell.run(`mount -o loop ${image} ${directory}`);
    if (mounted.code !== 0) t.fail(`${state.what}: mounts`, { said: mounted.said });
    else {
      const wrong = await look(`${directory}/data`, state, shell);
      const checked = await shell.run(`umount ${directory} && ${FILE_SYSTEMS[type].check} ${image} && rm ${image}`);
      if (checked.code !== 0) wrong.push(checked.said);
      t.strictSame(wrong, [], `${state.what}: it is sound and has what it must`);
    }
  }
  await waitFor(() => !loops().some(({ file }) => file.startsWith(`${images}/`)), { what: "the devices to be let go" });
}

/** Makes files one after the other and removes some; after each step everything is synced. */
async function makeFiles(directory: string, length: () => number): Promise<Made[]> {
  const made: Made[] = [];
  const root = fs.openSync(directory, "r");
  for (let n = 0; n < FILES; n++) {
    const name = `file-${n}`;
    const text = `${n} `.repeat(1 + Math.floor(random() * 20_000));
    const aside = path.join(directory, "aside");
    const fd = fs.openSync(aside, "w");
    fs.writeSync(fd, text);
    fs.fsyncSync(fd);
    fs.closeSync(fd);
    fs.renameSync(aside, path.join(directory, name));
    fs.fsyncSync(root);
    made.push({ name, text, at: length() });
    if (n % TRIM_EVERY === TRIM_EVERY - 1) await output("fstrim", [directory]);
    const old = made[n - 2];
    if (n % 3 !== 2 || old === undefined) continue;
    const begun = length();
    fs.rmSync(path.join(directory, old.name));
    fs.fsyncSync(root);
    old.removal = { begun, acknowledged: length() };
  }
  fs.closeSync(root);
  return made;
}

/** What is not as it must be in a state: files are there as a whole or not at all, and as was acknowledged. */
function wrongFiles(directory: string, made: readonly Made[], { sure, possible }: State): string[] {
  // The directory itself is synced with the first file.
  const found = new Set(fs.existsSync(directory) ? fs.readdirSync(directory) : []);
  return made.flatMap(({ name, text, at, removal }) => {
    if (found.has(name)) {
      if (removal !== undefined && removal.acknowledged < sure) return [`${name} is back`];
      return fs.readFileSync(path.join(directory, name), "utf8") === text ? [] : [`${name} has not what was written`];
    }
    return at < sure && (removal === undefined || removal.begun >= possible) ? [`${name} is missing`] : [];
  });
}

t.test(
  "power loss under a file-system workload: every state mounts, is sound, and has what was acknowledged",
  { skip, timeout: 240_000 + FILES * 10_000 },
  async (t) => {
    const records = recordsOf(t);
    const sim = await startSim(t, { config: CONFIG, env: { REXRAY_SIM_RECORD: records } });
    const work = async (type: keyof typeof FILE_SYSTEMS) => {
      const volume = await recorded(sim, records, type, FILE_SYSTEMS[type].options);
      return { type, volume, made: await makeFiles(volume.directory, volume.length) };
    };
    const works = [await work("ext4"), await work("xfs")];
    // The volumes are unmounted; what that writes is part of the records.
    await sim.stop();
    for (const { type, volume, made } of works)
      await t.test(type, (t) =>
        everyState(t, volume, { type }, (directory, state, shell) => wrongFiles(shell.path(directory), made, state)),
      );
  },
);

t.test(
  "power loss under PostgreSQL: every transaction that was acknowledged is there",
  { skip: skip || requiresTools("psql", "setpriv"), timeout: 280_000 + Math.min(MOST_STATES, 10_000) * 2000 },
  async (t) => {
    const records = recordsOf(t);
    const sim = await startSim(t, { config: CONFIG, env: { REXRAY_SIM_RECORD: records } });
    const volume = await recorded(sim, records, "ext4", { size: "512MB" });
    const server = await startPostgres(t, volume.directory);
    await server.sql("create table done (n int primary key, filler text)");
    const begin = volume.length();
    const committed: { readonly bytes: number; readonly at: number }[] = [];
    const end = Date.now() + SECONDS * 1000;
    for (let n = 1; Date.now() < end; n++) {
      const bytes = Math.floor(random() * 5000);
      await server.sql(`insert into done values (${n}, repeat('x', ${bytes}))`);
      committed.push({ bytes, at: volume.length() });
      if (n % TRIM_EVERY !== TRIM_EVERY - 1) continue;
      await server.sql("create table junk as select generate_series(1, 50000)");
      await server.sql("drop table junk");
      await server.sql("checkpoint");
      await output("fstrim", [volume.directory]);
    }
    await server.stop();
    await sim.stop();
    await everyState(
      t,
      { ...volume, begin },
      { type: "ext4", most: MOST_STATES },
      async (directory, { sure }, shell) => {
        const acknowledged = committed.filter(({ at }) => at < sure);
        const wanted = `${acknowledged.length}|${acknowledged.reduce((sum, { bytes }) => sum + bytes, 0)}`;
        const query = `select count(*), coalesce(sum(length(filler)), 0) from done where n <= ${acknowledged.length}`;
        const { said } = await shell.run(askPostgres(`${directory}/db`, query));
        return said.trim() === wanted ? [] : [`${said.trim()} instead of ${wanted}`];
      },
    );
  },
);

/** Commands that start a server on what a power loss left, ask it, and kill it. */
function askPostgres(data: string, query: string): string {
  const psql = `${serverTool("psql")} -h ${data} -U postgres -Atc`;
  return `cd /
    setpriv --reuid postgres --regid postgres --clear-groups ${serverTool("postgres")} -D ${data} -k ${data} -c listen_addresses= 2>${data}/log &
    until ${psql} "select" postgres >/dev/null 2>&1 || ! kill -0 $!; do sleep 0.02; done
    ${psql} "${query}" postgres || cat ${data}/log
    kill -QUIT $!
    wait $!`;
}
