import t, { type Test } from "tap";
import type { Group } from "../../../src/scaleio/model.ts";
import { placeGroups } from "../../../src/scaleio/pool/placement.ts";
import { type PlannerDevice, planMoves } from "../../../src/scaleio/pool/planner.ts";

const SLOTS = [0, 1, 2] as const;
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
 * Carries the planner's decisions out until there are none: what was assigned is good by the next round, what was retired has
 * been given up. Checks at every step that no group loses its last good copy. Answers how many copies were made.
 */
function settle(t: Test, groups: Group[], devices: readonly PlannerDevice[], rounds = 1000): number {
  let made = 0;
  const facts = { stale: new Uint32Array(groups.length * 3), held: new Uint8Array(groups.length) };
  for (let round = 0; round < rounds; round++) {
    const moves = planMoves(groups, devices, facts);
    facts.stale.fill(0);
    for (const [number, after] of moves) {
      const before = groups[number] as Group;
      for (const slot of SLOTS) {
        if (after[slot] < 0 || before[slot] === after[slot]) continue;
        made++;
      }
      const kept = active(after).filter((slot) => before[slot] === after[slot]);
      if (!kept.some((slot) => devices[after[slot]]?.standing !== "lost") && active(before).length > 0)
        t.fail(`group ${number} keeps no copy: ${before} -> ${after}`);
      groups[number] = after;
    }
    if (moves.length === 0) return made;
  }
  t.fail("the plan has no end");
  return made;
}

function checkSound(t: Test, groups: readonly Group[], devices: readonly PlannerDevice[]): void {
  const wrong = groups.filter((group) => {
    const slots = active(group);
    const units = new Set(slots.map((slot) => devices[group[slot]]?.faultUnit));
    return slots.length !== 2 || units.size !== 2 || slots.some((slot) => devices[group[slot]]?.standing !== "home");
  });
  t.same(wrong, [], "two copies each, at home, in different fault units");
}

function checkBalance(t: Test, groups: readonly Group[], devices: readonly PlannerDevice[]): void {
  const home = [...devices.keys()].filter((index) => devices[index]?.standing === "home");
  const capacity = home.reduce((sum, index) => sum + (devices[index]?.capacityBytes ?? 0), 0);
  for (const index of home) {
    const share = (groups.length * 2 * (devices[index]?.capacityBytes ?? 0)) / capacity;
    const off = Math.abs(copiesOn(groups, index) - share) / share;
    if (off > 0.05) t.fail(`device ${index} holds ${copiesOn(groups, index)}, its share is ${share}`);
  }
}

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
  const groups = place(nodes(200), 4096);
  const made = settle(t, groups, devices);
  const share = (4096 * 2) / 201;
  t.ok(copiesOn(groups, 200) > share - 2, `${copiesOn(groups, 200)} of ${share.toFixed(1)}`);
  t.ok(made <= share * 1.05);
});

t.test("any device may be made larger or smaller: all of them have their share then", async (t) => {
  for (const index of [0, 2, 4]) {
    for (const size of [30, 180]) {
      const devices = nodes(5).map((one, i) => (i === index ? { ...one, capacityBytes: size } : one));
      const groups = place(nodes(5), 1000);
      settle(t, groups, devices);
      checkSound(t, groups, devices);
      checkBalance(t, groups, devices);
    }
  }
});

t.test("a pool that is too full is not rebalanced, and rebuilt all the same", async (t) => {
  const facts = { stale: new Uint32Array(256 * 3), held: new Uint8Array(256) };
  const plan = (devices: readonly PlannerDevice[]) => planMoves(place(nodes(4)), devices, facts, { rebalance: false });
  t.same(plan([...nodes(4), device("sds-4")]), []);
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

t.test("a node in maintenance: nothing is done", async (t) => {
  t.equal(settle(t, place(nodes(4)), standing(nodes(4), 0, "away")), 0);
});

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
