import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import fc from "fast-check";
import t from "tap";
import { Mdm } from "../../../src/scaleio/mdm/mdm.ts";
import { tempDir } from "../../helpers/temp-dir.ts";
import { create, founded, volume } from "./simulation.ts";

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
    await mdm.commit(founded);
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
  for (const member of [2, 3]) {
    const log = fs.readFileSync(world.file(member, "log"), "utf8");
    fs.writeFileSync(world.file(member, "log"), log.slice(0, log.lastIndexOf("\n", log.length - 2) + 1));
  }
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
  const newer = fs.readFileSync(snapshot, "utf8").replace('"format":2', '"format":3');
  fs.writeFileSync(snapshot, newer);
  await t.rejects(world.open(), { code: "state_newer", message: /2\/snapshot\.json has format 3/ });
  t.equal(fs.readFileSync(snapshot, "utf8"), newer);
  for (const member of [1, 2, 3]) fs.writeFileSync(world.file(member, "snapshot.json"), "{");
  await t.rejects(world.open(), { code: "state_corrupt", message: /restore/ });
});

t.test("what the first versions wrote is read", async (t) => {
  const world = new World(t);
  await (await world.founded(2)).close();
  for (const member of [1, 2, 3]) {
    const snapshot = JSON.parse(fs.readFileSync(world.file(member, "snapshot.json"), "utf8")) as { tables: string };
    const sha256 = createHash("sha256").update(snapshot.tables).digest("hex");
    fs.writeFileSync(world.file(member, "snapshot.json"), JSON.stringify({ ...snapshot, format: 1, sha256 }));
  }
  const mdm = await world.open();
  t.same(names(mdm), ["v1", "v2"]);
  t.same(states(mdm), ["normal", "normal", "normal"]);
  t.match(fs.readFileSync(world.file(1, "snapshot.json"), "utf8"), '"format":2');
  await mdm.close();
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
