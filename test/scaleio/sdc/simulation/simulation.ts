import { Refused } from "./disk.ts";
import { finish } from "./ending.ts";
import { breakRecords, changeMembers, losePower, mendRecords, rot } from "./harm.ts";
import { discard, flush, read, write, writeThrough } from "./requests.ts";
import { changeDevice, changeDevices, moveCopies, repairFrozen, restNode, showOldMap, work } from "./upkeep.ts";
import { detach, grow, overwrite, remove, snapshot } from "./volumes.ts";
import { type Mounted, World } from "./world.ts";

/** A kill comes after up to so many file operations: between two of a single write, or deep in a rebuild. */
const MOST_OPERATIONS = 4096;

interface Step {
  readonly name: string;
  /** How often, beside the others. */
  readonly share: number;
  /** What only the daemon can do waits until there is one that may act, and is refused without a quorum. */
  readonly by: "engine" | "daemon";
  readonly run: (world: World, volume: Mounted) => void | Promise<void>;
}

const STEPS: readonly Step[] = [
  { name: "rest a node", share: 1, by: "daemon", run: restNode },
  { name: "write", share: 37, by: "engine", run: write },
  { name: "write with FUA", share: 2, by: "engine", run: writeThrough },
  { name: "read", share: 26, by: "engine", run: read },
  { name: "flush", share: 8, by: "engine", run: flush },
  { name: "discard", share: 5, by: "engine", run: discard },
  { name: "work", share: 5, by: "engine", run: work },
  { name: "repair a frozen layer", share: 1, by: "daemon", run: repairFrozen },
  { name: "move copies", share: 4, by: "daemon", run: moveCopies },
  { name: "change a device", share: 4, by: "daemon", run: changeDevice },
  { name: "change devices", share: 1, by: "daemon", run: changeDevices },
  { name: "snapshot", share: 2, by: "daemon", run: snapshot },
  { name: "grow", share: 1, by: "daemon", run: grow },
  { name: "remove", share: 1, by: "daemon", run: remove },
  { name: "overwrite", share: 0.5, by: "daemon", run: overwrite },
  { name: "detach", share: 1, by: "daemon", run: detach },
  { name: "rot", share: 1, by: "daemon", run: rot },
  { name: "break records", share: 1, by: "engine", run: breakRecords },
  { name: "change the MDM's members", share: 6, by: "engine", run: changeMembers },
  { name: "show an old map", share: 0.5, by: "engine", run: showOldMap },
  { name: "lose power", share: 1, by: "engine", run: losePower },
];

/**
 * One seeded life of a pool, a volume and its snapshots against the model: reads, writes, flushes and discards; devices that go
 * down, rest, fail and come back, two at a time as well; devices that are added and emptied, copies that move; volumes that grow, are
 * snapshot, overwritten, detached and removed; rot; kills between any two file operations; power losses; daemons that die
 * before everybody is told of a change, or in the middle of making it; MDM members that are lost, damaged, ill, behind and back
 * again. What must hold is looked at after every step (invariants.ts).
 * Throws at the first thing that the model forbids. A step's choices depend on the seed and its number alone, so that
 * steps can be left out.
 */
export class Simulation {
  readonly #world: World;

  /** `trace` is told of every step. */
  constructor(
    readonly seed: number,
    trace: (line: string) => void = () => undefined,
  ) {
    this.#world = new World(seed, trace);
  }

  /** Lives through these steps, and looks at everything in the end. */
  async run(steps: Iterable<number>): Promise<void> {
    const world = this.#world;
    await world.found();
    for (const step of steps) {
      world.begin(step);
      if (world.random() < 0.08) world.disk.killAfter = Math.floor(MOST_OPERATIONS ** world.random());
      try {
        await this.#step();
      } catch (error) {
        if (!world.disk.dead && !(error instanceof Refused)) throw error;
        world.trace(world.disk.dead ? "  killed" : "  refused");
      }
      world.disk.killAfter = undefined;
      if (world.disk.dead) {
        if (world.random() < 0.4) await losePower(world);
        else world.die();
      }
      world.invariants.check(world.standings.all());
      world.checkReported();
      world.mdm.check();
    }
    await finish(world);
  }

  async #step(): Promise<void> {
    const world = this.#world;
    const step = this.#thrown();
    if (step.by === "daemon") {
      if (!(await world.mdm.attend())) {
        world.trace(`  no daemon may ${step.name}`);
        return;
      }
      await mendRecords(world);
      world.catchUp();
    }
    // What was about to be removed is mounted again by a daemon only.
    const mounted = world.volumes.filter(({ store }) => store !== undefined);
    if (mounted.length === 0) return;
    const volume = world.pick(mounted);
    world.trace(`  ${step.name}, volume ${volume.record.id}`);
    await step.run(world, volume);
  }

  /** One of the steps, by their shares. */
  #thrown(): Step {
    let dice = this.#world.random() * STEPS.reduce((sum, { share }) => sum + share, 0);
    for (const step of STEPS) {
      dice -= step.share;
      if (dice < 0) return step;
    }
    return STEPS[0] as Step;
  }
}
