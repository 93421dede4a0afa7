import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import fc from "fast-check";
import t from "tap";
import { Mdm } from "../../../src/scaleio/mdm/mdm.ts";
import type { Change, VolumeRecord } from "../../../src/scaleio/model.ts";
import { tempDir } from "../../helpers/temp-dir.ts";
import { randomOf } from "../sdc/simulation/random.ts";

const SYSTEM = "0123456789abcdef";
const created: Change = {
  type: "system-created",
  systemId: SYSTEM,
  lastId: 1,
  pool: { id: "p", name: "pool1", protectionDomain: "pd1", sparePercent: 10, mapVersion: 1, deviceIds: [], groups: [] },
  sds: [],
};

const volume = (number: number): VolumeRecord => ({
  id: SYSTEM.slice(0, 8) + number.toString(16).padStart(8, "0"),
  name: `v${number}`,
  poolId: "p",
  sizeBytes: 1024 ** 3,
  createdAt: "2026-01-01T00:00:00Z",
  fsType: "ext4",
  iops: 0,
  firstGroup: 0,
  mappedTo: null,
});
const create = (number: number): Change => ({ type: "volume-created", volume: volume(number) });

/** Three members in directories of their own. */
class World {
  readonly dir = tempDir("mdm");
  readonly members = ["1", "2", "3"].map((name) => path.join(this.dir, name));
  readonly said: string[] = [];

  constructor(t: { teardown(task: () => void): unknown }) {
    t.teardown(() => fs.rmSync(this.dir, { recursive: true, force: true }));
  }

  open = () => Mdm.open(this.members, { log: (message) => this.said.push(message) });
  file = (member: number, name: string) => path.join(this.members[member - 1] as string, name);

  async founded(volumes: number): Promise<Mdm> {
    const mdm = await this.open();
    await mdm.commit(created);
    for (let i = 1; i <= volumes; i++) await mdm.commit(create(i));
    return mdm;
  }
}

const names = (mdm: Mdm) => [...mdm.state.volumes.values()].map(({ name }) => name);
const states = (mdm: Mdm) => mdm.members().map(({ state }) => state);

t.test("changes are there after a start, and are on every member", async (t) => {
  const world = new World(t);
  const mdm = await world.founded(3);
  await mdm.commit({ type: "volume-mapped", id: volume(2).id, to: "host" });
  await mdm.commit({ type: "volume-removed", id: volume(1).id });
  await mdm.close();
  const again = await world.open();
  t.same(names(again), ["v2", "v3"]);
  t.equal(again.state.volumes.get(volume(2).id)?.mappedTo, "host");
  t.equal(again.state.lastId, 3, "numbers are not used again");
  t.same(states(again), ["normal", "normal", "normal"]);
  await again.close();
});

t.test("any one member may be lost, corrupted, or lag, and is mended", async (t) => {
  const damages: Record<string, (world: World, member: number) => void> = {
    lost: (world, member) => fs.rmSync(world.members[member - 1] as string, { recursive: true }),
    corrupted: (world, member) => {
      const log = fs.readFileSync(world.file(member, "log"));
      log[20] = (log[20] as number) ^ 0xff;
      fs.writeFileSync(world.file(member, "log"), log);
    },
    lagging: (world, member) => {
      const lines = fs.readFileSync(world.file(member, "log"), "utf8").split("\n");
      fs.writeFileSync(world.file(member, "log"), `${lines.slice(0, 2).join("\n")}\n`);
    },
  };
  for (const [what, damage] of Object.entries(damages)) {
    for (const member of [1, 2, 3]) {
      const world = new World(t);
      await (await world.founded(4)).close();
      damage(world, member);
      const mdm = await world.open();
      t.same(names(mdm), ["v1", "v2", "v3", "v4"], `member ${member} ${what}`);
      t.same(states(mdm), ["normal", "normal", "normal"]);
      await mdm.commit(create(5));
      await mdm.close();
      // The mended one, together with any other, is enough.
      fs.rmSync(world.members[member % 3] as string, { recursive: true });
      const again = await world.open();
      t.same(names(again), ["v1", "v2", "v3", "v4", "v5"]);
      await again.close();
    }
  }
});

t.test("with two members gone the state can be read, and changes are refused with the reason", async (t) => {
  const world = new World(t);
  await (await world.founded(2)).close();
  for (const member of [1, 3]) fs.rmSync(world.members[member - 1] as string, { recursive: true });
  const mdm = await world.open();
  t.same(names(mdm), ["v1", "v2"]);
  await t.rejects(mdm.commit(create(3)), { code: "no_quorum", message: /member 1.*lost/ });
  t.same(names(mdm), ["v1", "v2"]);
  await mdm.close();
});

t.test("a change that only one member got does not come back over newer ones", async (t) => {
  const world = new World(t);
  await (await world.founded(1)).close();
  // Member 1 goes away with a change of its own that nobody was told of.
  const other = await world.open();
  await other.commit(create(66));
  await other.close();
  for (const member of [2, 3]) fs.writeFileSync(world.file(member, "log"), "");
  fs.renameSync(world.members[0] as string, `${world.members[0]}.away`);
  const mdm = await world.open();
  await mdm.commit(create(2));
  await mdm.close();
  fs.rmSync(world.members[0] as string, { recursive: true });
  fs.renameSync(`${world.members[0]}.away`, world.members[0] as string);
  const again = await world.open();
  t.same(names(again), ["v1", "v2"]);
  await again.close();
});

t.test("a torn end of the log, at any byte, loses only what was not acknowledged", async (t) => {
  const world = new World(t);
  const mdm = await world.founded(1);
  const before = fs.statSync(world.file(1, "log")).size;
  await mdm.commit(create(2));
  await mdm.close();
  const whole = fs.readFileSync(world.file(1, "log"));
  for (let size = before; size < whole.length; size += 7) {
    for (const member of [1, 2, 3]) fs.writeFileSync(world.file(member, "log"), whole.subarray(0, size));
    const torn = await world.open();
    t.same(names(torn), ["v1"]);
    await torn.commit(create(3));
    await torn.close();
    const again = await world.open();
    t.same(names(again), ["v1", "v3"]);
    await again.commit({ type: "volume-removed", id: volume(3).id });
    await again.close();
    for (const member of [1, 2, 3]) fs.rmSync(world.file(member, "snapshot.json"));
  }
});

t.test("a newer format is refused and left as it is; when none can be understood the error says so", async (t) => {
  const world = new World(t);
  await (await world.founded(1)).close();
  const snapshot = world.file(2, "snapshot.json");
  const newer = fs.readFileSync(snapshot, "utf8").replace('"format":1', '"format":2');
  fs.writeFileSync(snapshot, newer);
  await t.rejects(world.open(), { code: "state_newer", message: /2\/snapshot\.json has format 2/ });
  t.equal(fs.readFileSync(snapshot, "utf8"), newer);
  for (const member of [1, 2, 3]) fs.writeFileSync(world.file(member, "snapshot.json"), "{");
  await t.rejects(world.open(), { code: "state_corrupt", message: /restore/ });
});

t.test("changes that are made at once are all acknowledged, each once, and share their writes", async (t) => {
  const world = new World(t);
  const mdm = await world.founded(0);
  const began = performance.now();
  await Promise.all(Array.from({ length: 500 }, (_, i) => mdm.commit(create(i + 1))));
  t.comment(`500 changes in ${Math.round(performance.now() - began)} ms`);
  t.equal(mdm.state.volumes.size, 500);
  // A second wave from within the first one's answers must not be forgotten.
  await Promise.all([1, 2, 3].map((i) => mdm.commit(create(500 + i)).then(() => mdm.commit(create(600 + i)))));
  await mdm.close();
  const again = await world.open();
  t.equal(again.state.volumes.size, 506);
  await again.close();
});

t.test("the log is folded into a snapshot and stays short", async (t) => {
  const world = new World(t);
  const mdm = await world.founded(0);
  for (let i = 0; i < 2500; i++) await mdm.commit({ type: "volume-mapped", id: "none", to: String(i) });
  await mdm.close();
  t.ok(fs.readFileSync(world.file(1, "log"), "utf8").split("\n").length < 1100);
});

t.test("a process killed while it commits: everything that it said is there", { timeout: 60_000 }, async (t) => {
  for (let round = 0; round < 5; round++) {
    const world = new World(t);
    await (await world.founded(0)).close();
    const script = `
      import { Mdm } from ${JSON.stringify(path.resolve("src/scaleio/mdm/mdm.ts"))};
      const run = async () => {
        const mdm = await Mdm.open(${JSON.stringify(world.members)}, { log: () => {} });
        for (let i = 1; ; i++) {
          await mdm.commit({ type: "volume-created", volume: { ...${JSON.stringify(volume(0))}, id: "01234567" + i.toString(16).padStart(8, "0"), name: "v" + i } });
          process.stdout.write(i + "\\n");
        }
      };
      void run();`;
    const child = spawn(process.execPath, ["--import=tsx", "--input-type=module", "--eval", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let said = "";
    const enough = 30 + Math.floor(Math.random() * 300);
    await new Promise<void>((resolve) => {
      child.stdout.setEncoding("utf8").on("data", (data: string) => {
        said += data;
        if (said.split("\n").length > enough) child.kill("SIGKILL");
      });
      child.once("close", () => resolve());
    });
    const last = Number(said.trim().split("\n").at(-1));
    const mdm = await world.open();
    t.ok(mdm.state.volumes.size >= last, `${last} acknowledged, ${mdm.state.volumes.size} there`);
    await mdm.close();
  }
});

t.test(
  "property: whatever members are lost between starts, one at a time, nothing acknowledged is missing",
  { timeout: 60_000 },
  async (t) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.tuple(
            fc.integer({ min: 0, max: 2 }),
            fc.constantFrom("lost", "empty", "garbage", "none"),
            fc.integer({ min: 1, max: 4 }),
          ),
          { maxLength: 6 },
        ),
        async (steps) => {
          const world = new World({ teardown: () => undefined });
          try {
            await (await world.founded(0)).close();
            let made = 0;
            for (const [member, damage, count] of steps) {
              const directory = world.members[member] as string;
              if (damage === "lost") fs.rmSync(directory, { recursive: true });
              else if (damage === "empty")
                for (const name of fs.readdirSync(directory)) fs.rmSync(path.join(directory, name));
              else if (damage === "garbage") fs.writeFileSync(path.join(directory, "log"), "garbage\nmore\nand more\n");
              const mdm = await world.open();
              if (mdm.state.volumes.size !== made) return false;
              for (let i = 0; i < count; i++) await mdm.commit(create(++made));
              await mdm.close();
            }
            return true;
          } finally {
            fs.rmSync(world.dir, { recursive: true, force: true });
          }
        },
      ),
      { numRuns: 25 },
    );
    t.pass("held");
  },
);

// One member at a time is ill; it is well again before another falls ill, as a majority asks for.
t.test("seeded lives of members that are lost, corrupted, old, or down: what was acknowledged is there", async (t) => {
  const seed = Number(process.env["MDM_SEED"] ?? Math.floor(Math.random() * 1e9));
  t.comment(`MDM_SEED=${seed}`);
  for (let life = 0; life < 20; life++) {
    const random = randomOf(seed + life);
    const world = new World(t);
    const acknowledged = new Set<string>();
    let number = 0;
    let mdm = await world.founded(0);
    const old = `${world.members[0]}.old`;
    const damages: readonly ((directory: string) => void)[] = [
      (directory) => fs.rmSync(directory, { recursive: true, force: true }),
      (directory) => {
        const file = path.join(directory, "log");
        const bytes = fs.readFileSync(file);
        const at = Math.floor(random() * Math.max(1, bytes.length));
        if (bytes.length > 0) bytes[at] = (bytes[at] as number) ^ (1 << Math.floor(random() * 8));
        fs.writeFileSync(file, bytes);
      },
      (directory) => fs.truncateSync(path.join(directory, "log"), Math.floor(random() * 50)),
      (directory) => {
        if (!fs.existsSync(old)) return;
        fs.rmSync(directory, { recursive: true, force: true });
        fs.cpSync(old, directory, { recursive: true });
      },
    ];
    for (let step = 0; step < 25; step++) {
      const dice = random();
      const member = Math.floor(random() * 3);
      if (dice < 0.6) {
        const name = `v${++number}`;
        await mdm.commit(create(number));
        acknowledged.add(name);
      } else if (dice < 0.7) {
        await mdm.takeDown([mdm.members()[member]?.name ?? ""]);
        for (let i = 0; i < 3; i++) {
          await mdm.commit(create(++number));
          acknowledged.add(`v${number}`);
        }
        await mdm.takeDown([]);
      } else if (dice < 0.75) {
        fs.rmSync(old, { recursive: true, force: true });
        fs.cpSync(world.members[0] as string, old, { recursive: true });
      } else {
        await mdm.close();
        damages[Math.floor(random() * damages.length)]?.(world.members[member] as string);
        mdm = await world.open();
      }
      const there = new Set(names(mdm));
      for (const name of acknowledged) if (!there.has(name)) t.fail(`life ${life}, step ${step}: ${name} is missing`);
      if (there.size !== acknowledged.size) t.fail(`life ${life}, step ${step}: more than was acknowledged`);
    }
    t.same(states(mdm), ["normal", "normal", "normal"]);
    await mdm.close();
  }
});
