import t from "tap";
import { BlockStore } from "../../../src/scaleio/sdc/block-store.ts";
import { Intent } from "../../../src/scaleio/sdc/intent.ts";
import { INHERITED } from "../../../src/scaleio/sdc/layout.ts";
import { createLedger, Ledger } from "../../../src/scaleio/sdc/ledger.ts";
import type { LowerLayer, Session } from "../../../src/scaleio/sdc/session.ts";
import { randomOf } from "../../helpers/random.ts";
import { SimulatedDisk } from "./simulation/disk.ts";

// What the simulator found once, as short stories: a copy is good and its checksums are not, or the other way round.
const MIB = 1024 * 1024;
const QUIET = 60_000;
type State = Session["devices"][number]["state"];

/** A volume of one chunk on three devices, the copies on the first two. */
class World {
  readonly disk = new SimulatedDisk(randomOf(1));
  readonly content = Buffer.alloc(MIB, "what was written");
  now = 1_000_000;

  constructor(
    layers: readonly string[] = ["own"],
    readonly chunks = 1,
  ) {
    for (let device = 0; device < 3; device++) this.disk.labels.add(`/sds/${device}/device.json`);
    for (const id of layers) {
      createLedger(this.disk, `/rec/${id}`, id, chunks, 1);
      Intent.create(this.disk, `/rec/${id}`);
      for (let device = 0; device < 3; device++)
        for (const suffix of ["", ".sum"])
          this.disk.close(this.disk.open(`/sds/${device}/${id}.vol${suffix}`, { create: true }));
      for (const directory of [`/rec/${id}`, "/sds/0", "/sds/1", "/sds/2"]) this.disk.syncDirectory(directory);
    }
  }

  session(
    states: readonly State[] = ["up", "up", "up"],
    group = [0, 1, -1, 0],
    id = "own",
    lower: readonly LowerLayer[] = [],
  ) {
    const devices = states.map((state, device) => ({ name: `${device}`, file: `/sds/${device}/${id}.vol`, state }));
    const rest = { mapVersion: 1, firstGroup: 0, lower, absorb: 0, checksum: true, giveUp: true } as const;
    const recordDir = `/rec/${id}`;
    const limits = { iops: 0, bytesPerSecond: 0 };
    return {
      format: 1,
      volumeId: id,
      layerId: id,
      sizeBytes: this.chunks * MIB,
      devices,
      groups: group,
      recordDir,
      limits,
      ...rest,
    } as Session;
  }

  open = (session: Session) => new BlockStore(this.disk, session, () => this.now);

  /** Everything that is written from here on has been quiet long enough to be off the record of intents. */
  settle(store: BlockStore): void {
    this.now += QUIET;
    store.flush();
  }

  reads(store: BlockStore, chunk = 0): boolean {
    const into = Buffer.alloc(MIB);
    store.read(into, 0, chunk * MIB, MIB);
    return into.equals(this.content) && store.status().badBlocks.length === 0;
  }
}

t.test("a node is stopped right after a write: its copies are good when it is back", async (t) => {
  const world = new World();
  const store = world.open(world.session());
  store.write(world.content, 0, 0, MIB);
  store.reload(world.session(["up", "stopped", "up"]));
  world.settle(store);
  store.reload(world.session());
  store.reload(world.session(["stopped", "up", "up"]));
  t.ok(world.reads(store));
});

t.test("a killed engine's checksums survive a power loss when the next one has settled them", async (t) => {
  const world = new World();
  const first = world.open(world.session());
  first.write(world.content, 0, 0, MIB);
  first.flush();
  world.disk.crash();
  const second = world.open(world.session());
  world.settle(second);
  t.ok(world.reads(second));
  world.settle(second);
  world.disk.powerLoss();
  t.ok(world.reads(world.open(world.session())));
});

t.test("a block that was put right stays so when the copy it came from is given up and power is lost", async (t) => {
  const world = new World();
  const store = world.open(world.session());
  store.write(world.content, 0, 0, MIB);
  world.settle(store);
  for (let at = 0; at < 5; at++) world.disk.rot("/sds/1/own.vol", at * 5000);
  store.scan(0, 1);
  t.equal(store.status().fixedBlocks, 5);
  store.reload(world.session(["up", "up", "up"], [0, 1, 2, 1]));
  world.disk.powerLoss();
  t.ok(world.reads(world.open(world.session(undefined, [-1, 1, 2, 0]))));
});

t.test("a copy of a lower layer that another process has made good is read, and its device not blamed", async (t) => {
  const world = new World(["own", "low"], 2);
  const ledger = new Ledger(world.disk, "/rec/own", "own", 2);
  ledger.states.fill(INHERITED);
  ledger.persist(0, 1);
  ledger.close();
  const writer = world.open(world.session(undefined, [0, 1, -1, 0], "low"));
  for (const chunk of [0, 1]) writer.write(world.content, 0, chunk * MIB, MIB);
  writer.close();
  const group = [0, 1, 2, 0];
  const files = [0, 1, 2].map((device) => `/sds/${device}/low.vol`);
  const lower = [{ id: "low", sizeBytes: 2 * MIB, files, recordDir: "/rec/low" }];
  const reader = world.open(world.session(undefined, group, "own", lower));
  const repair = world.open(world.session(undefined, group, "low"));
  repair.work(1);
  for (const device of [0, 1]) world.disk.brokenReads.add(`/sds/${device}/low.vol`);
  t.ok(world.reads(reader, 0), "the third copy of the first chunk, and with it checksums of the second one's");
  world.disk.brokenReads.clear();
  repair.work(1);
  repair.close();
  for (const device of [0, 1]) world.disk.brokenReads.add(`/sds/${device}/low.vol`);
  t.ok(world.reads(reader, 1));
});

t.test(
  "what has its other good copy on a device that is down counts as degraded: it is rebuilt, not only moved",
  async (t) => {
    const world = new World();
    const store = world.open(world.session());
    store.write(world.content, 0, 0, MIB);
    const [moved, rebuilt] = [["up", "up", "up"] as const, ["up", "stopped", "up"] as const];
    store.reload(world.session(moved, [0, 1, 2, 0]));
    t.match(store.status(), { staleCopies: 1, degradedChunks: 0 });
    store.reload(world.session(rebuilt, [0, 1, 2, 0]));
    t.match(store.status(), { staleCopies: 1, degradedChunks: 1 });
    store.work(1);
    t.match(store.status(), { staleCopies: 0, degradedChunks: 0 });
  },
);
