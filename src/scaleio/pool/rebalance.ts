import { best, type Plan, type Slot } from "./plan.ts";

/** Nothing is moved for the sake of balance while all devices are this near to their shares. */
const TOLERANCE = 0.02;
/** How many copies are passed on at a time: each takes a search. */
const MOST_PASSED = 16;

/** The device that is farthest from its share (-1: all have theirs), and how much more it has; a part of the share, below 0 for less. */
export function farthest(plan: Plan): { device: number; off: number } {
  let found = { device: -1, off: 0 };
  for (const device of plan.home) {
    const off = plan.over(device) / Math.max(1, plan.share(device));
    if (Math.abs(off) > Math.abs(found.off)) found = { device, off };
  }
  return found;
}

const isUneven = (plan: Plan) => Math.abs(farthest(plan).off) > TOLERANCE;

/** Of what each device holds, how much is to go elsewhere in the end; a fraction. */
export function surplus(plan: Plan, { rebalance: balanced }: { readonly rebalance: boolean }): number[] {
  const uneven = balanced && isUneven(plan);
  return plan.devices.map(({ standing }, device) => {
    if (standing === "leaving") return 1;
    const over = standing === "home" && uneven ? Math.max(0, plan.over(device)) : 0;
    return over === 0 ? 0 : over / (plan.share(device) + over);
  });
}

/**
 * Copies go from devices that hold more than their share to those that hold less, at most so many at a time. A device that gives
 * gets none, so no more is moved than has to be.
 */
export function rebalance(plan: Plan, settled: readonly number[], room: number): void {
  if (!isUneven(plan)) return;
  const needy = new Set(plan.home.filter((device) => plan.over(device) < 0));
  const numbers = mixed(settled);
  for (const number of numbers) {
    if (plan.moves.length >= room || needy.size === 0) return;
    const from = overfullSlot(plan, number);
    const to = from === undefined ? undefined : neediest(plan, needy, number, from);
    if (from !== undefined && to !== undefined) move(plan, needy, number, from, to);
  }
  if (plan.moves.length === 0) passOn(plan, numbers, needy);
}

/**
 * Where all that overfull devices hold has its other copy in the fault unit which needs more, a device that has its share gives a
 * copy there and gets one from them.
 */
function passOn(plan: Plan, numbers: readonly number[], needy: Set<number>): void {
  const moved = new Set<number>();
  const useless = new Set<number>();
  for (const number of numbers) {
    if (moved.size >= 2 * MOST_PASSED || needy.size === 0) return;
    if (moved.has(number)) continue;
    const slot = plan.slots(number, "home").find((one) => {
      const device = plan.group(number)[one];
      return plan.over(device) === 0 && !useless.has(device) && neediest(plan, needy, number, one) !== undefined;
    });
    if (slot === undefined) continue;
    const between = plan.group(number)[slot];
    const other = numbers.find((one) => {
      const from = overfullSlot(plan, one);
      return one !== number && !moved.has(one) && from !== undefined && plan.mayGo(one, from, between);
    });
    const to = neediest(plan, needy, number, slot);
    if (other === undefined || to === undefined) {
      useless.add(between);
      continue;
    }
    plan.move(other, overfullSlot(plan, other) as Slot, between);
    move(plan, needy, number, slot, to);
    moved.add(other).add(number);
  }
}

function move(plan: Plan, needy: Set<number>, number: number, from: Slot, to: number): void {
  plan.move(number, from, to);
  if (plan.over(to) === 0) needy.delete(to);
}

/** The group's copy on the device that has most beyond its share. */
function overfullSlot(plan: Plan, number: number): Slot | undefined {
  const group = plan.group(number);
  return best(
    plan.slots(number, "home").filter((slot) => plan.over(group[slot]) > 0),
    (slot) => plan.overfull(group[slot]),
  );
}

/** Of the devices where the group's copy in this slot may go the one that has least of its share. */
function neediest(plan: Plan, needy: ReadonlySet<number>, number: number, from: Slot): number | undefined {
  let found: number | undefined;
  for (const device of needy) {
    if (found !== undefined && plan.overfull(device) >= plan.overfull(found)) continue;
    if (plan.mayGo(number, from, device)) found = device;
  }
  return found;
}

/** More than there are groups. */
const GROUPS = 2 ** 21;

/** Neighbouring groups hold neighbouring chunks: what moves is picked from all over, so that small volumes spread too. */
function mixed(numbers: readonly number[]): number[] {
  const keys = Float64Array.from(numbers, (number) => (Math.imul(number + 1, 0x9e3779b1) >>> 0) * GROUPS + number);
  return Array.from(keys.sort(), (key) => key % GROUPS);
}
