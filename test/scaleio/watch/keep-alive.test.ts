import t from "tap";
import { type Change, KeepAlive } from "../../../src/scaleio/keep-alive.ts";
import type { Sds, ServiceState, SystemState } from "../../../src/scaleio/model.ts";

/** Nodes of one device each, of which some do not answer. */
class World {
  sds: Sds[];
  readonly silent = new Set<string>();
  readonly asked: string[] = [];
  readonly said: string[] = [];
  readonly keepAlive: KeepAlive;

  constructor(nodes: number) {
    this.sds = Array.from({ length: nodes }, (_, index) => this.#node(`sds-${index}`, "up", "up"));
    this.keepAlive = new KeepAlive({
      state: () => ({ sds: this.sds }) as unknown as SystemState,
      probe: ({ name }) => {
        this.asked.push(name);
        if (this.silent.has(name)) throw new Error("no way");
      },
      changed: async (changes) => void this.said.push(...changes.map(words)),
    });
  }

  async ticks(count: number): Promise<void> {
    for (let tick = 0; tick < count; tick++) {
      this.keepAlive.tick();
      await Promise.resolve();
      await Promise.resolve();
    }
  }

  become(index: number, node: ServiceState, device: ServiceState): void {
    this.sds = this.sds.with(index, this.#node(`sds-${index}`, node, device));
  }

  #node(name: string, state: ServiceState, device: ServiceState): Sds {
    return {
      id: name,
      name,
      state,
      faultSet: name,
      devices: [{ id: name, name: "d", path: "", capacityBytes: 1, state: device, reason: "" }],
    };
  }
}

const words = ({ sds, silence }: Change) => `${sds.name} ${silence || "answers"}`;

t.test("silent for 20 ticks is gone, answering for 20 ticks is back", async (t) => {
  const world = new World(1);
  await world.ticks(10);
  t.equal(world.asked.length, 2, "a device is asked every fifth tick");
  world.silent.add("sds-0");
  await world.ticks(19);
  t.strictSame(world.said, []);
  await world.ticks(1);
  t.strictSame(world.said, ["sds-0 no way"]);
  await world.ticks(5);
  t.equal(world.said.length, 2, "and said again, until it is on record");
  world.become(0, "up", "decoupled");
  await world.ticks(50);
  t.equal(world.said.length, 2);
  world.silent.clear();
  await world.ticks(10);
  world.silent.add("sds-0");
  await world.ticks(5);
  world.silent.clear();
  await world.ticks(19);
  t.equal(world.said.length, 2, "one answer that is missing, and it is counted anew");
  await world.ticks(1);
  t.equal(world.said.at(-1), "sds-0 answers");
});

t.test("who is down by order or has failed is not asked, and begins anew afterwards", async (t) => {
  const world = new World(2);
  world.silent.add("sds-0").add("sds-1");
  await world.ticks(15);
  world.become(0, "stopped", "up");
  world.become(1, "up", "failed");
  const { length } = world.asked;
  await world.ticks(30);
  t.equal(world.asked.length, length);
  t.strictSame(world.said, []);
  world.become(0, "up", "up");
  await world.ticks(10);
  t.strictSame(world.said, [], "what it missed before does not count");
});

t.test("of 1,024 nodes a fifth is asked in each tick", async (t) => {
  const world = new World(1024);
  await world.ticks(1);
  t.ok(world.asked.length <= 205);
  await world.ticks(4);
  t.equal(new Set(world.asked).size, 1024);
});
