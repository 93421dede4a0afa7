import { Mix } from "./mix.ts";
import { isActive, type Plan, SLOTS, type Slot } from "./plan.ts";

/** Nothing is moved for the sake of balance while all devices are this near to their shares. */
const TOLERANCE = 0.02;
/** How many copies are passed on at a time: each takes a search. */
const MOST_PASSED = 16;
/** Of so many places that need a copy the best is good enough. */
const ENOUGH = 32;

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
 * gets none, so no more is moved than has to be; but for what can get to its place only by way of others.
 */
export function rebalance(plan: Plan, settled: readonly number[], room: number): void {
  if (isUneven(plan)) new Rebalance(plan, settled).run(room);
}

/** A group's copy, and where it is to go. */
interface Step {
  readonly number: number;
  readonly slot: Slot;
  readonly to: number;
}

class Rebalance {
  readonly #plan: Plan;
  readonly #numbers: readonly number[];
  readonly #mix: Mix;
  readonly #moved = new Set<number>();
  /** The devices that have less than their share. */
  readonly #needy: Set<number>;

  constructor(plan: Plan, settled: readonly number[]) {
    this.#plan = plan;
    this.#numbers = mixed(settled);
    this.#mix = new Mix(plan, settled);
    this.#needy = new Set(plan.home.filter((device) => plan.over(device) < 0));
  }

  /**
   * First go those that are of too many with the same partner, and to where that one has too few, then to the latter only, then any.
   * What is moved as it comes leaves copies that may not go where some are needed, and these take two moves each.
   */
  run(room: number): void {
    for (const better of ["at both ends", "where it goes", "nowhere"] as const) {
      for (const number of this.#numbers) {
        if (this.#plan.moves.length >= room || this.#needy.size === 0) return;
        const step = this.#moved.has(number) ? undefined : this.#direct(number, better);
        if (step !== undefined) this.#move(step);
      }
    }
    if (this.#plan.moves.length > 0) return;
    for (let passed = 0; passed < MOST_PASSED; passed++) {
      const steps = this.#passOn();
      if (steps.length === 0) return;
      for (const step of steps) this.#move(step);
    }
  }

  /** To the device that has least in common with that of the copy which stays, and of those where most is missing. */
  #direct(number: number, better: "at both ends" | "where it goes" | "nowhere"): Step | undefined {
    const group = this.#plan.group(number);
    let found: Step | undefined;
    let least = better === "nowhere" ? Number.POSITIVE_INFINITY : 1;
    for (const slot of SLOTS) {
      const from = group[slot];
      if (from < 0 || this.#plan.over(from) <= 0 || this.#plan.standing(from) !== "home") continue;
      const kept = this.#kept(number, slot);
      if (kept === undefined) continue;
      if (better === "at both ends" && this.#mix.rate(from, this.#mix.unitOf[kept] as number) < 1) continue;
      let looked = 0;
      for (const to of this.#needy) {
        if (looked++ >= ENOUGH && found !== undefined) break;
        const rate = this.#mix.rate(kept, this.#mix.unitOf[to] as number);
        if (rate > least || !this.#plan.mayGo(number, slot, to)) continue;
        if (rate === least && found && this.#plan.overfull(to) >= this.#plan.overfull(found.to)) continue;
        least = rate;
        found = { number, slot, to };
      }
    }
    return found;
  }

  /**
   * Where all that overfull devices hold has its other copy in the fault unit which needs more, others pass copies on: along the
   * shortest way, and all of it at once, as the ones between would be overfull and give back what they got.
   */
  #passOn(): Step[] {
    const before = new Map<number, number>();
    const queue = this.#plan.home.filter((device) => this.#plan.over(device) > 0);
    const seen = new Set(queue);
    const units = new Set<number>();
    // Grows as it is gone through.
    for (const device of queue) {
      if (this.#needy.has(device)) return this.#way(before, device);
      for (let unit = 0; unit < this.#mix.units; unit++) {
        if (units.has(unit) || !this.#mix.mayGive(device, unit)) continue;
        units.add(unit);
        for (const next of this.#plan.home) {
          if (this.#mix.unitOf[next] !== unit || seen.has(next)) continue;
          seen.add(next);
          before.set(next, device);
          queue.push(next);
        }
      }
    }
    return [];
  }

  /** A copy for each step of the way; none if one is on its way already. */
  #way(before: ReadonlyMap<number, number>, end: number): Step[] {
    const steps: Step[] = [];
    let to = end;
    for (let from = before.get(to); from !== undefined; from = before.get(to)) {
      const step = this.#stepBetween(from, to, steps);
      if (step === undefined) return [];
      steps.push(step);
      to = from;
    }
    return steps;
  }

  #stepBetween(from: number, to: number, others: readonly Step[]): Step | undefined {
    for (const number of this.#numbers) {
      if (this.#moved.has(number) || others.some((other) => other.number === number)) continue;
      const group = this.#plan.group(number);
      const slot = SLOTS.find((one) => group[one] === from);
      if (slot !== undefined && this.#plan.mayGo(number, slot, to)) return { number, slot, to };
    }
    return undefined;
  }

  /** The device of the group's copy beside the one in this slot. */
  #kept(number: number, slot: Slot): number | undefined {
    const group = this.#plan.group(number);
    for (const other of SLOTS) if (other !== slot && isActive(group, other)) return group[other];
    return undefined;
  }

  #move({ number, slot, to }: Step): void {
    const kept = this.#kept(number, slot);
    if (kept !== undefined) this.#mix.move(this.#plan.group(number)[slot], to, kept);
    this.#moved.add(number);
    this.#plan.move(number, slot, to);
    // It is its turn again after the others.
    this.#needy.delete(to);
    if (this.#plan.over(to) < 0) this.#needy.add(to);
  }
}

/** Neighbouring groups hold neighbouring chunks: what moves is picked from all over, so that small volumes spread too. */
function mixed(numbers: readonly number[]): number[] {
  const bits = Math.max(2, Math.ceil(Math.log2(numbers.length + 1)));
  const mask = 2 ** bits - 1;
  const result: number[] = [];
  for (let index = 0; index <= mask; index++) {
    // Each step can be undone, so every index comes once.
    let at = Math.imul(index, 0x9e3779b1) & mask;
    at = Math.imul(at ^ (at >>> (bits >> 1)), 0x85ebca6b) & mask;
    at ^= at >>> (bits >> 1);
    if (at < numbers.length) result.push(numbers[at] as number);
  }
  return result;
}
