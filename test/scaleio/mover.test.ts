import fs from "node:fs";
import t, { type Test } from "tap";
import { type Condition, GOOD } from "../../src/scaleio/condition.ts";
import { Conditions } from "../../src/scaleio/conditions.ts";
import { apply, emptyTables } from "../../src/scaleio/mdm/apply.ts";
import type { Change, Group, Sds, VolumeRecord } from "../../src/scaleio/model.ts";
import { Mover, type MoverOptions } from "../../src/scaleio/mover.ts";
import { createRecords, recordDir } from "../../src/scaleio/sdc/books.ts";
import { nodeFiles } from "../../src/scaleio/sdc/files.ts";
import { flatGroups, Layout } from "../../src/scaleio/sdc/layout.ts";
import { Ledger } from "../../src/scaleio/sdc/ledger.ts";
import type { EngineStatus } from "../../src/scaleio/sdc/session.ts";
import { tempDir } from "../helpers/temp-dir.ts";

const MIB = 1024 * 1024;
const MAP = 7;

/** A group of which the first copy is to leave its device: there are three, the first one is to be given up, it is gone. */
const ON_THREE: Group = [0, 1, 2, 0];
const RETIRED: Group = [0, 1, 2, 1];
const FREED: Group = [-1, 1, 2, 0];

/** States of a chunk: all three copies are good; the new one is stale; the retired one has been given up. */
const [KEPT, NEW_STALE, GIVEN_UP] = [0, 4, 1];

/** The layers, each with one chunk in each of two groups; the engine of `busy` runs, and reads `frozen` beneath it. */
const LAYERS = { busy: "busy", shelf: "shelf", frozen: "layer-frozen" } as const;
type LayerId = keyof typeof LAYERS;
const IDS = ["busy", "shelf", "frozen"] as const;
const UNATTACHED = ["shelf", "frozen"] as const;

class World {
  readonly stateDir = tempDir("mover");
  readonly known = new Conditions();
  /** What the running engine says; undefined: nothing. */
  engine: Partial<EngineStatus> | undefined = { mapVersion: MAP, garbage: 0 };
  /** Units that wait to be looked after, those that were to be, and devices on which nothing lies. */
  readonly queued = new Set<string>();
  readonly looked: string[] = [];
  readonly emptied: string[] = [];
  /** Versions of the map that engines were told of. */
  readonly told: number[] = [];
  /** While the ledgers are asked. */
  meanwhile: () => void = () => undefined;
  readonly #tables = emptyTables();
  readonly #mover: Mover;

  /** All chunks are in this state; those without an engine were looked at by this map, and somebody has had them since. */
  constructor(t: Test, group: Group, state: number) {
    t.teardown(() => fs.rmSync(this.stateDir, { recursive: true }));
    const nodes = ["d0", "d1", "d2"].map((id) => ({
      ...{ name: id, faultSet: id, state: "up" },
      devices: [{ id, state: "up", capacityBytes: 1024 ** 4, leaving: id === "d0" }],
    }));
    const deviceIds = nodes.map(({ name }) => name);
    this.#tables.sds = nodes as unknown as Sds[];
    this.#tables.pool = { ...this.#tables.pool, mapVersion: MAP, deviceIds, groups: [group, group] };
    const volume = { sizeBytes: 2 * MIB, firstGroup: 0 };
    const lower = [{ id: "frozen", sizeBytes: 2 * MIB }];
    for (const record of [
      { ...volume, id: "busy", lower },
      { ...volume, id: "shelf" },
    ])
      this.#tables.volumes.set(record.id, record as unknown as VolumeRecord);
    for (const id of IDS) this.says(id, state, state);
    for (const id of UNATTACHED) {
      this.found(id, MAP);
      this.known.opened(LAYERS[id]);
    }
    const options = {
      stateDir: this.stateDir,
      mdm: { state: this.#tables, commit: async (change: Change) => this.change(change) },
      rebuildGraceMs: 0,
      sdc: { known: () => ["busy"], status: () => this.engine },
      repairer: {
        busy: false,
        known: this.known,
        isQueued: (unit: string) => this.queued.has(unit),
        look: (unit: string) => this.looked.push(unit),
      },
      hasRoom: async () => {
        this.meanwhile();
        return false;
      },
      changed: async () => void this.told.push(this.#tables.pool.mapVersion),
      emptied: async (devices: readonly string[]) => void this.emptied.push(...devices),
    };
    this.#mover = new Mover(options as unknown as MoverOptions);
  }

  /** What a layer's ledger has of its two chunks. */
  says(id: LayerId, ...states: [number, number]): void {
    const layout = new Layout({ sizeBytes: 2 * MIB, firstGroup: 0 }, flatGroups(this.#tables.pool.groups));
    createRecords(this.stateDir, { id, layout, mapVersion: MAP, hasFile: () => true });
    const ledger = new Ledger(nodeFiles, recordDir(this.stateDir, id), id, 2);
    ledger.states.set(states);
    ledger.persist(0, 1);
    ledger.close();
  }

  /** Its records are gone. */
  forgets(id: LayerId): void {
    fs.rmSync(recordDir(this.stateDir, id), { recursive: true });
  }

  /** What was known when a layer was looked at last, by this map: nobody has had it since. */
  found(id: LayerId, mapVersion: number, condition: Partial<Condition> = {}): void {
    this.known.note(LAYERS[id], mapVersion, { ...GOOD, ...condition });
  }

  change(change: Change): void {
    apply(this.#tables, change);
  }

  /** Whether something was changed, and the groups then. */
  async round(): Promise<[boolean, readonly Group[]]> {
    const moved = await this.#mover.round();
    return [moved, this.#tables.pool.groups];
  }
}

t.test(
  "a retired copy's place is free when every layer has given the copy up, and then its device is empty",
  async (t) => {
    const world = new World(t, RETIRED, GIVEN_UP);
    t.strictSame(await world.round(), [true, [FREED, FREED]]);
    t.strictSame(world.told, [MAP + 1], "engines hear of it");
    t.strictSame(world.emptied, []);
    t.strictSame(await world.round(), [true, [FREED, FREED]]);
    t.strictSame(world.emptied, ["d0"]);
    t.strictSame(world.looked, [], "nobody had to be asked");
  },
);

t.test("not while the ledger of any layer counts a copy there", async (t) => {
  for (const id of IDS) {
    const world = new World(t, RETIRED, GIVEN_UP);
    world.says(id, GIVEN_UP, KEPT);
    t.strictSame(await world.round(), [true, [FREED, RETIRED]], id);
  }
});

type Act = (world: World) => void;
const HELD: (readonly [what: string, spoil: Act, mend: Act])[] = [];
for (const id of IDS)
  HELD.push([
    `the ledger of ${id} cannot be read`,
    (world) => world.forgets(id),
    (world) => world.says(id, GIVEN_UP, GIVEN_UP),
  ]);
for (const id of UNATTACHED) {
  const found = (mapVersion: number, garbage: number) => (world: World) => {
    world.known.forget(LAYERS[id]);
    world.found(id, mapVersion, { garbage });
  };
  HELD.push([`${id} was looked at by an older map only`, found(MAP - 1, 0), found(MAP, 0)]);
  HELD.push([`${id} has not given up all of it`, found(MAP, 1), found(MAP, 0)]);
}
const WORDS = [
  ["goes by an older map", { mapVersion: MAP - 1, garbage: 0 }],
  ["has not given up all of it", { mapVersion: MAP, garbage: 1 }],
  ["has said nothing yet", undefined],
] as const;
for (const [what, words] of WORDS) {
  const says = (engine: World["engine"]) => (world: World) => {
    world.engine = engine;
    world.found("busy", MAP);
  };
  HELD.push([`the engine of busy ${what}`, says(words), says({ mapVersion: MAP, garbage: 0 })]);
}

t.test("nor while it is not known of all that they have, whatever their ledgers say", async (t) => {
  for (const [what, spoil, mend] of HELD) {
    const world = new World(t, RETIRED, GIVEN_UP);
    spoil(world);
    t.strictSame(await world.round(), [false, [RETIRED, RETIRED]], what);
    mend(world);
    t.strictSame(await world.round(), [true, [FREED, FREED]], `${what}: no more`);
  }
});

t.test("a layer without an engine that has not given up its copies is looked after, and soon not again", async (t) => {
  const world = new World(t, RETIRED, GIVEN_UP);
  for (const id of UNATTACHED) world.known.forget(LAYERS[id]);
  world.queued.add("shelf");
  await world.round();
  t.strictSame(world.looked, ["layer-frozen"], "the other one is waiting for that already");
  world.queued.clear();
  for (let i = 0; i < 2; i++) await world.round();
  t.strictSame(world.looked, ["layer-frozen", "shelf"]);
});

t.test("a copy is not retired while a ledger says that the one which is to replace it is stale", async (t) => {
  for (const id of IDS) {
    const world = new World(t, ON_THREE, KEPT);
    world.found("busy", MAP);
    world.says(id, NEW_STALE, KEPT);
    t.strictSame(await world.round(), [true, [ON_THREE, RETIRED]], `that of ${id}`);
    world.says(id, NEW_STALE, GIVEN_UP);
    t.strictSame(await world.round(), [false, [ON_THREE, RETIRED]], `that of ${id}, still`);
    world.says(id, KEPT, GIVEN_UP);
    t.strictSame(await world.round(), [true, [RETIRED, RETIRED]], `that of ${id}, no more`);
  }
});

t.test("nor while a ledger cannot be read", async (t) => {
  const world = new World(t, ON_THREE, KEPT);
  world.forgets("shelf");
  t.strictSame(await world.round(), [false, [ON_THREE, ON_THREE]]);
});

t.test("what ledgers said is worth nothing when the map has changed meanwhile", async (t) => {
  const world = new World(t, RETIRED, GIVEN_UP);
  world.meanwhile = () => world.change({ type: "device-state", id: "d2", state: "failed", reason: "EIO" });
  t.strictSame(await world.round(), [true, [RETIRED, RETIRED]]);
});
