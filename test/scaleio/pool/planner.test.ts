import fc from "fast-check";
import t, { type Test } from "tap";
import type { Group } from "../../../src/scaleio/model.ts";
import { groupCountFor, placeGroups, splitGroups } from "../../../src/scaleio/pool/placement.ts";
import { Plan, type PlannerDevice } from "../../../src/scaleio/pool/plan.ts";
import { planMoves } from "../../../src/scaleio/pool/planner.ts";
import { farthest, surplus } from "../../../src/scaleio/pool/rebalance.ts";

const SLOTS = [0, 1, 2] as const;
// CI has the same pools each time, as it has the same lives; scripts/long has others.
fc.configureGlobal({ seed: Number(process.env["LIFE_SEED"] ?? 1) });

const device = (unit: string, size = 100): PlannerDevice => ({
  capacityBytes: size,
  faultUnit: unit,
  standing: "home",
});
const nodes = (count: number) => Array.from({ length: count }, (_, i) => device(`sds-${i}`));
const place = (devices: readonly PlannerDevice[], groups = 256) => [...placeGroups(devices, groups)];
const standing = (devices: PlannerDevice[], index: number, to: PlannerDevice["standing"]) =>
  devices.map((one, i) => (i === index ? { ...one, standing: to } : one));
const active = (group: Group) => SLOTS.filter((slot) => group[slot] >= 0 && ((group[3] >> slot) & 1) === 0);
const copiesOn = (groups: readonly Group[], index: number) =>
  groups.reduce((sum, group) => sum + active(group).filter((slot) => group[slot] === index).length, 0);

/**
 * Carries the planner's decisions out until there are none: a new copy is good one or two rounds later, what was retired has
 * been given up. Checks at every step that no group loses its last good copy. Answers how many copies were made.
 */
function settle(t: Test, groups: Group[], devices: readonly PlannerDevice[], rounds = 10_000): number {
  const split = () => splitGroups(groups, devices.filter(isHome));
  for (let more = split(); more.length > 0; more = split()) for (const [number, group] of more) groups[number] = group;
  const stale = new Map<number, number>();
  let made = 0;
  for (let round = 0; round < rounds; round++) {
    const facts = { stale: new Uint32Array(groups.length * 3), held: new Uint8Array(groups.length) };
    for (const [at, left] of stale) {
      facts.stale[at] = left;
      if (left > 1) stale.set(at, left - 1);
      else stale.delete(at);
    }
    const moves = planMoves(groups, devices, facts);
    for (const [number, after] of moves) {
      const before = groups[number] as Group;
      for (const slot of SLOTS) {
        if (after[slot] < 0 || before[slot] === after[slot]) continue;
        made++;
        stale.set(number * 3 + slot, 1 + ((number + round) % 2));
      }
      const kept = active(after).filter((slot) => before[slot] === after[slot] && !stale.has(number * 3 + slot));
      if (!kept.some((slot) => devices[after[slot]]?.standing !== "lost") && active(before).length > 0)
        t.fail(`group ${number} keeps no copy: ${before} -> ${after}`);
      groups[number] = after;
    }
    if (moves.length === 0 && facts.stale.every((count) => count === 0)) return made;
  }
  t.fail("the plan has no end");
  return made;
}

const isHome = ({ standing }: PlannerDevice) => standing === "home";

function checkSound(t: Test, groups: readonly Group[], devices: readonly PlannerDevice[]): void {
  const wrong = groups.filter((group) => {
    const slots = active(group);
    const units = new Set(slots.map((slot) => devices[group[slot]]?.faultUnit));
    return slots.length !== 2 || units.size !== 2 || slots.some((slot) => devices[group[slot]]?.standing !== "home");
  });
  t.same(wrong, [], "two copies each, at home, in different fault units");
}

/** How many of all copies each device should hold; one that is larger than all others together finds no more partners than they are. */
function sharesIn(groups: readonly Group[], devices: readonly PlannerDevice[]): number[] {
  const sizes = devices.map((one) => (isHome(one) ? one.capacityBytes : 0));
  const all = sizes.reduce((sum, size) => sum + size, 0);
  const largest = Math.max(...sizes);
  const others = all - largest;
  const share = (size: number) => (size === largest ? groups.length : (groups.length * size) / others);
  return sizes.map((size) => (largest > others ? share(size) : (groups.length * 2 * size) / all));
}

function checkBalance(t: Test, groups: readonly Group[], devices: readonly PlannerDevice[]): void {
  for (const [index, share] of sharesIn(groups, devices).entries()) {
    if (share === 0) continue;
    const off = Math.abs(copiesOn(groups, index) - share) / share;
    if (off > 0.05) t.fail(`device ${index} holds ${copiesOn(groups, index)}, its share is ${share}`);
  }
}

/**
 * Checks that hardly more copies were made than had to be, as if any copy could go anywhere: what the devices have less than their
 * shares. To the copy, as shares are whole.
 *
 * @param before what the devices held, and of how many groups: these may have been split
 */
function checkMoves(
  t: Test,
  made: number,
  before: Held,
  groups: readonly Group[],
  devices: readonly PlannerDevice[],
): void {
  const least = sharesIn(groups, devices).reduce(
    (sum, share, index) => sum + Math.max(0, share - ((before.copies[index] ?? 0) * groups.length) / before.groups),
    0,
  );
  if (made > least * 1.05 + 1) t.fail(`${made} copies moved, ${least} are the least`);
}

interface Held {
  readonly copies: readonly number[];
  readonly groups: number;
}
const held = (groups: readonly Group[], devices: readonly PlannerDevice[]): Held => ({
  copies: devices.map((_, index) => copiesOn(groups, index)),
  groups: groups.length,
});

t.test("a sound and even pool is left alone", async (t) => {
  const devices = nodes(4);
  t.equal(settle(t, place(devices), devices), 0);
});

t.test("a node is lost: its copies are made anew on all others, evenly", async (t) => {
  const devices = standing(nodes(6), 2, "lost");
  const groups = place(nodes(6));
  const lost = copiesOn(groups, 2);
  t.equal(settle(t, groups, devices), lost, "no copy more than were lost");
  checkSound(t, groups, devices);
  checkBalance(t, groups, devices);
});

t.test("it comes back in the middle: what needs less work is kept", async (t) => {
  const groups = place(nodes(4));
  const lost = standing(nodes(4), 1, "lost");
  const none = { stale: new Uint32Array(groups.length * 3), held: new Uint8Array(groups.length) };
  for (const [number, after] of planMoves(groups, lost, none)) groups[number] = after;
  // The returned copies have missed one chunk, the new ones miss all twenty.
  const facts = { stale: new Uint32Array(groups.length * 3), held: new Uint8Array(groups.length) };
  const twice = groups.flatMap((group, number) => (active(group).length === 3 ? [number] : []));
  for (const number of twice) {
    const group = groups[number] as Group;
    for (const slot of SLOTS) {
      if (group[slot] === 1) facts.stale[number * 3 + slot] = 1;
      else if (slot === 2) facts.stale[number * 3 + slot] = 20;
    }
  }
  for (const [number, after] of planMoves(groups, nodes(4), facts)) groups[number] = after;
  t.ok(twice.length > 0);
  t.ok(
    twice.every((number) => groups[number]?.[3] === 4),
    "the third slot of each is given up",
  );
});

t.test("nodes are added, of unequal sizes: even in the end, and hardly more is moved than has to be", async (t) => {
  const before = nodes(4);
  const groups = place(before, 1024);
  const devices = [...before, device("sds-4", 50), device("sds-5", 100)];
  const made = settle(t, groups, devices);
  checkSound(t, groups, devices);
  checkBalance(t, groups, devices);
  const least = (1024 * 2 * 150) / 550;
  t.ok(made <= least * 1.05, `${made} copies moved, ${least.toFixed(0)} are the least`);
});

t.test("one node joins many: it gets its share, though none of the others holds much more than its own", async (t) => {
  const devices = [...nodes(200), device("sds-200")];
  const groups = place(nodes(200), groupCountFor(200));
  const made = settle(t, groups, devices);
  const share = (groups.length * 2) / 201;
  t.ok(copiesOn(groups, 200) > share - 2, `${copiesOn(groups, 200)} of ${share.toFixed(1)}`);
  t.ok(made <= share * 1.05);
});

/** Small and large in one pool, none as large as all others. */
const sizes = (count: { minLength: number; maxLength: number }) => fc.array(fc.integer({ min: 2, max: 12 }), count);

t.test(
  "pools grow from 3 to 60 unequal devices and shrink: shares to 5 %, hardly more moved than has to be",
  async (t) => {
    let farthest = 0;
    const pool = fc.record({
      first: sizes({ minLength: 4, maxLength: 10 }),
      more: fc.array(sizes({ minLength: 1, maxLength: 24 }), { minLength: 2, maxLength: 4 }),
      gone: fc.array(fc.tuple(fc.nat(59), fc.constantFrom("leaving" as const, "lost" as const)), { maxLength: 6 }),
    });
    const mixed = (count: number) => Array.from({ length: count }, (_, index) => 2 + ((index * 7) % 11));
    // Whatever the dice say, one of them becomes large.
    const large = { first: mixed(5), more: [mixed(24), mixed(24)], gone: [[3, "lost"] as [number, "lost"]] };
    fc.assert(
      fc.property(pool, ({ first, more, gone }) => {
        let devices = first.map((size, index) => device(`sds-${index}`, size * 100));
        const groups = place(devices, groupCountFor(devices.length));
        const change = (to: PlannerDevice[]) => {
          const before = held(groups, devices);
          const made = settle(t, groups, to);
          checkSound(t, groups, to);
          checkBalance(t, groups, to);
          checkMoves(t, made, before, groups, to);
          devices = to;
          farthest = Math.max(farthest, to.length);
        };
        for (const batch of more)
          change([...devices, ...batch.map((size, i) => device(`sds-${devices.length + i}`, size * 100))].slice(0, 60));
        for (const [index, how] of gone) {
          const left = devices.filter((one, i) => i !== index && isHome(one)).length;
          if (devices[index]?.standing !== "home" || left < 10) continue;
          change(standing(devices, index, how));
          devices = standing(devices, index, "lost");
        }
      }),
      { numRuns: 12, examples: [[large]] },
    );
    t.ok(farthest > 30, `${farthest} devices`);
  },
);

t.test("a pool founded with four nodes grows to any number", async (t) => {
  let devices = nodes(4);
  const groups = place(devices, groupCountFor(4));
  const map = () => groups.map(String);
  for (const count of [12, 33, 36, 40, 150]) {
    devices = nodes(count);
    const [before, length] = [map(), groups.length];
    for (const [number, group] of splitGroups(groups, devices)) groups[number] = group;
    t.ok(
      map().every((group, number) => group === before[number % length]),
      "more groups, every chunk where it was",
    );
    settle(t, groups, devices);
    checkSound(t, groups, devices);
    checkBalance(t, groups, devices);
  }
  t.ok(groups.length < 5000, "no more than that takes");
});

t.test("fault sets: shares to 5 % also where few moves are allowed", async (t) => {
  const racks = fc.array(fc.tuple(fc.integer({ min: 1, max: 10 }), fc.integer({ min: 0, max: 4 })), {
    minLength: 6,
    maxLength: 20,
  });
  fc.assert(
    fc.property(racks, racks, (first, more) => {
      const rackOf = ([size, rack]: [number, number], index: number) =>
        device(`rack-${index < 3 ? index : rack}`, size * 100);
      const before = first.map(rackOf);
      const groups = place(before, groupCountFor(before.length));
      const devices = [...before, ...more.map((one) => rackOf(one, 3))];
      const earlier = held(groups, before);
      const made = settle(t, groups, devices);
      checkSound(t, groups, devices);
      const bytesOf = (some: PlannerDevice[]) => some.reduce((sum, { capacityBytes }) => sum + capacityBytes, 0);
      const larger = devices.some(
        (one) => bytesOf(devices.filter(({ faultUnit }) => faultUnit === one.faultUnit)) > bytesOf(devices) / 2,
      );
      if (larger) return;
      checkBalance(t, groups, devices);
      checkMoves(t, made, earlier, groups, devices);
    }),
    { numRuns: 40 },
  );
});

t.test(
  "what has its other copies where more is needed gets there by way of a third device, in two moves",
  async (t) => {
    const devices = [40, 160, 100, 100].map((size, index) => device(`sds-${index}`, size));
    const groups = Array.from(
      { length: 200 },
      (_, number): Group => (number % 2 === 0 ? [0, 1, -1, 0] : [2, 3, -1, 0]),
    );
    const made = settle(t, groups, devices);
    checkSound(t, groups, devices);
    checkBalance(t, groups, devices);
    t.ok(made <= 2 * 60 * 1.05, `${made} copies moved, for 60`);
  },
);

t.test("no device has most of its groups in common with one other, and what is moved keeps it so", async (t) => {
  const devices = nodes(8);
  const groups = place(nodes(4), groupCountFor(4));
  settle(t, groups, devices);
  const pairs = new Map<string, number>();
  for (const group of groups) {
    const pair = active(group)
      .map((slot) => group[slot])
      .sort()
      .join();
    pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
  }
  const mean = groups.length / 28;
  const counts = [...pairs.values()];
  t.equal(counts.length, 28, "every two devices have some");
  t.ok(
    Math.max(...counts) < 1.5 * mean && Math.min(...counts) > 0.5 * mean,
    `${Math.min(...counts)} to ${Math.max(...counts)}, mean ${mean}`,
  );
});

t.test("a copy that is on its way for the sake of balance is waited for, however long it takes", async (t) => {
  const devices = [...nodes(4), device("sds-4")];
  const groups = place(nodes(4));
  const facts = { stale: new Uint32Array(groups.length * 3), held: new Uint8Array(groups.length) };
  const first = planMoves(groups, devices, facts);
  t.ok(first.length > 10);
  for (const [number, after] of first) {
    groups[number] = after;
    facts.stale[number * 3 + 2] = 1000;
  }
  t.strictSame(planMoves(groups, devices, facts), []);
  facts.stale.fill(0);
  const gone = planMoves(groups, devices, facts);
  t.equal(gone.length, first.length);
  t.ok(
    gone.every(([, group]) => group[3] === 1 || group[3] === 2),
    "an old copy goes, not the new one",
  );
});

t.test("any device may be made larger or smaller: all of them have their share then", async (t) => {
  for (const index of [0, 2, 4]) {
    for (const size of [30, 180]) {
      const devices = nodes(5).map((one, i) => (i === index ? { ...one, capacityBytes: size } : one));
      const groups = place(nodes(5), 1000);
      const before = held(groups, devices);
      const made = settle(t, groups, devices);
      checkSound(t, groups, devices);
      checkBalance(t, groups, devices);
      checkMoves(t, made, before, groups, devices);
    }
  }
});

t.test("a pool that is too full is not rebalanced, and rebuilt all the same", async (t) => {
  const facts = { stale: new Uint32Array(256 * 3), held: new Uint8Array(256) };
  const plan = (devices: readonly PlannerDevice[]) => planMoves(place(nodes(4)), devices, facts, { thirds: false });
  t.same(plan([...nodes(4), device("sds-4")]), []);
  t.same(plan(standing(nodes(4), 1, "resting")), [], "nor does anything stand in for what rests");
  t.ok(plan(standing(nodes(4), 1, "lost")).length > 0);
});

t.test("a node leaves: it is emptied, and nothing else is moved", async (t) => {
  const devices = standing(nodes(5), 3, "leaving");
  const groups = place(nodes(5));
  const there = copiesOn(groups, 3);
  const made = settle(t, groups, devices);
  t.equal(copiesOn(groups, 3), 0);
  checkSound(t, groups, devices);
  checkBalance(t, groups, devices);
  t.ok(made <= there * 1.05, `${made} for ${there}`);
});

t.test("how much of what a node holds is to go elsewhere in the end", async (t) => {
  const groups = place(nodes(4));
  const all = (devices: PlannerDevice[], rebalance = true) => surplus(new Plan(groups, devices), { rebalance });
  t.strictSame(all(nodes(4)), [0, 0, 0, 0]);
  t.strictSame(all(standing(nodes(4), 1, "leaving")), [0, 1, 0, 0]);
  t.strictSame(all(standing(nodes(4), 1, "away")), [0, 0, 0, 0]);
  const grown = all([...nodes(4), device("sds-4")]);
  t.ok(
    grown.slice(0, 4).every((part) => Math.abs(part - 0.2) < 0.01),
    "a fifth, with a fifth node",
  );
  t.equal(grown[4], 0);
  t.strictSame(all([...nodes(4), device("sds-4")], false), [0, 0, 0, 0, 0], "not in a pool that is too full");
  t.strictSame(farthest(new Plan(groups, nodes(4))), { device: -1, off: 0 });
  t.strictSame(
    farthest(new Plan(groups, [...nodes(4), device("sds-4")])),
    { device: 4, off: -1 },
    "the new one has nothing",
  );
});

t.test("rebuild comes before evacuation, and that before balance", async (t) => {
  const devices = standing(standing(nodes(9), 1, "lost"), 2, "leaving");
  const groups = place(nodes(6));
  const facts = () => ({ stale: new Uint32Array(groups.length * 3), held: new Uint8Array(groups.length) });
  const holds = (number: number, index: number) =>
    active(groups[number] as Group).some((slot) => groups[number]?.[slot] === index);
  const plan = () => planMoves(groups, devices, facts());
  const reasons: string[] = [];
  for (let moves = plan(); moves.length > 0; moves = plan()) {
    const begun = moves.filter(([number, after]) => active(after).length > active(groups[number] as Group).length);
    const why = (number: number) => (holds(number, 1) ? "lost" : holds(number, 2) ? "leaving" : "balance");
    for (const one of new Set(begun.map(([number]) => why(number)))) if (reasons.at(-1) !== one) reasons.push(one);
    for (const [number, after] of moves) groups[number] = after;
  }
  t.strictSame(reasons, ["lost", "leaving", "balance"]);
  checkSound(t, groups, devices);
});

t.test("a node that may come back: nothing is done", async (t) => {
  t.equal(settle(t, place(nodes(4)), standing(nodes(4), 0, "away")), 0);
});

/** Carries one round out, and answers it. */
function round(groups: Group[], devices: readonly PlannerDevice[], facts = noFacts(groups.length)) {
  const moves = planMoves(groups, devices, facts);
  for (const [number, after] of moves) groups[number] = after;
  return moves;
}
const noFacts = (groups: number) => ({ stale: new Uint32Array(groups * 3), held: new Uint8Array(groups) });

for (const [what, pool] of [
  ["nodes", nodes(5)],
  ["fault sets", ["a", "a", "b", "b", "c", "c"].map((rack) => device(rack))],
  ["devices of unequal sizes", [100, 50, 150, 100, 50].map((size, index) => device(`sds-${index}`, size))],
] as const) {
  t.test(
    `a device rests, of ${what}: each copy has a stand-in at once, which goes in the end if it has less`,
    async (t) => {
      const groups = place(pool);
      const before = groups.map(String);
      const resting = standing([...pool], 0, "resting");
      const there = copiesOn(groups, 0);
      t.equal(round(groups, resting).length, there, "in one round");
      t.equal(copiesOn(groups, 0), there, "what rests stays where it is");
      t.ok(
        groups.every((group) => {
          const units = active(group)
            .filter((slot) => group[slot] !== 0)
            .map((slot) => pool[group[slot]]?.faultUnit);
          return units.length === 2 && new Set(units).size === 2;
        }),
        "two others hold each group, in different fault units",
      );
      const loads = [...pool.keys()]
        .slice(1)
        .map((index) => copiesOn(groups, index) / (pool[index]?.capacityBytes ?? 1));
      t.ok(Math.max(...loads) < 1.1 * Math.min(...loads), `the others hold their shares: ${loads}`);
      // The stand-in of every second group has taken some of it, of every fourth all of it; what rests has missed that.
      const facts = noFacts(groups.length);
      for (const [number, group] of groups.entries()) {
        if (active(group).length < 3) continue;
        const written = number % 4 === 0 ? 20 : number % 2 === 0 ? 5 : 0;
        for (const slot of SLOTS) if (group[slot] === 0) facts.stale[number * 3 + slot] = written;
        facts.stale[number * 3 + 2] = 20 - written;
      }
      t.same(round(groups, resting, facts), [], "whatever is written, they stay");
      round(groups, [...pool], facts);
      facts.stale.fill(0);
      while (round(groups, [...pool], facts).length > 0);
      const elsewhere = groups.filter((group, number) => String(group) !== before[number] && number % 4 > 0).length;
      t.ok(elsewhere <= 2, `${elsewhere} copies are elsewhere, for the sake of balance`);
      checkSound(t, groups, pool);
      checkBalance(t, groups, pool);
    },
  );
}

t.test("while a node rests, what is lost is rebuilt and a node is emptied as ever", async (t) => {
  const pool = standing(standing(nodes(7), 0, "resting"), 1, "leaving");
  const groups = place(nodes(7));
  settle(t, groups, pool);
  t.equal(copiesOn(groups, 1), groups.filter((group) => group.includes(0) && group.includes(1)).length, "emptied");
  const lost = standing(pool, 2, "lost");
  settle(t, groups, lost);
  const left = groups.filter((group) => group.slice(0, 3).includes(2));
  t.ok(left.length > 0 && left.every((group) => group.includes(0)), "what only rests elsewhere waits for it");
  settle(t, groups, standing(standing(nodes(7), 1, "leaving"), 2, "lost"));
  t.equal(copiesOn(groups, 1) + copiesOn(groups, 2), 0);
});

t.test(
  "with two fault units nothing stands in for what rests; when the other copy is lost, no stand-in is given up",
  async (t) => {
    t.same(round(place(nodes(2)), standing(nodes(2), 0, "resting")), []);
    const pool = standing(standing(nodes(4), 0, "resting"), 1, "lost");
    const incomplete = { stale: new Uint32Array([0, 0, 1]), held: new Uint8Array(1) };
    t.same(round([[0, 1, 2, 0]], pool, incomplete), []);
    t.same(round([[0, 1, 2, 0]], pool), [[0, [0, 1, 2, 2]]], "unless it is complete: then the lost one is");
    t.same(round([[0, 1, -1, 0]], pool), [[0, [0, 1, 2, 0]]], "one copy can be made anew when the other is back");
  },
);

t.test("fault sets are kept apart also when copies move", async (t) => {
  const racks = ["a", "a", "b", "b", "c", "c"].map((rack) => device(rack));
  const groups = place(racks);
  settle(t, groups, standing(racks, 4, "lost"));
  checkSound(t, groups, standing(racks, 4, "lost"));
});

t.test("nothing is retired that some volume still needs, nothing is freed that some volume still holds", async (t) => {
  const devices = standing(nodes(4), 0, "leaving");
  const facts = { stale: new Uint32Array(3), held: new Uint8Array(1) };
  facts.stale[2] = 1;
  t.same(planMoves([[0, 1, 2, 0]], devices, facts), [], "the new copy is not complete");
  facts.stale[2] = 0;
  t.same(planMoves([[0, 1, 2, 0]], devices, facts), [[0, [0, 1, 2, 1]]]);
  facts.held[0] = 1;
  t.same(planMoves([[0, 1, 2, 1]], devices, facts), [], "still held");
  facts.held[0] = 0;
  t.same(planMoves([[0, 1, 2, 1]], devices, facts), [[0, [-1, 1, 2, 0]]]);
});

t.test("with all copies of a group lost, or nowhere to go, it waits", async (t) => {
  const two = standing(standing(nodes(4), 0, "lost"), 1, "lost");
  const facts = { stale: new Uint32Array(3), held: new Uint8Array(1) };
  t.same(planMoves([[0, 1, -1, 0]], two, facts), []);
  t.same(planMoves([[2, 3, -1, 0]], standing(nodes(2).concat(nodes(4).slice(2)), 0, "lost"), facts), []);
});

t.test(
  "both copies that were to stay are lost while the third is given up: that one stays, and gets another",
  async (t) => {
    const devices = standing(standing(nodes(5), 0, "lost"), 1, "lost");
    const facts = { stale: new Uint32Array(3), held: new Uint8Array([1]) };
    facts.stale[1] = 1;
    t.same(planMoves([[0, 1, 2, 4]], devices, facts), [[0, [0, 1, 2, 2]]], "what is worth least is given up instead");
    t.same(planMoves([[0, 1, 2, 2]], devices, facts), [], "still held");
    facts.held[0] = 0;
    t.same(planMoves([[0, 1, 2, 2]], devices, facts), [[0, [0, -1, 2, 0]]]);
    t.match(planMoves([[0, -1, 2, 0]], devices, facts), [[0, [0, 3, 2, 0]]]);
    t.same(planMoves([[0, 1, 2, 4]], standing(devices, 2, "lost"), { ...facts, held: new Uint8Array([1]) }), []);
  },
);

t.test("what stands in for a copy that rests is lost: it is given up, and another one stands in", async (t) => {
  const devices = standing(standing(nodes(4), 0, "resting"), 2, "lost");
  const facts = { stale: new Uint32Array(3), held: new Uint8Array(1) };
  t.same(planMoves([[0, 1, 2, 0]], devices, facts), [[0, [0, 1, 2, 4]]]);
  t.same(planMoves([[0, 1, -1, 0]], devices, facts), [[0, [0, 1, 3, 0]]]);
});
