import { isActive, type Plan, SLOTS } from "./plan.ts";

/** Enough for a hundredth; a unit with nearly half of all takes longest. */
const ROUNDS = 50;

/**
 * How many groups each device has in common with each fault unit, beside how many it should have. A copy cannot go to the unit of its
 * group's other copy. So where a device has most of its groups in common with one unit, that unit gets nothing from it, and all of
 * them have to help when it is lost; where all is mixed, there is always a copy that may go where one is needed.
 */
export class Mix {
  /** The fault unit of each device, as a number. */
  readonly unitOf: Int32Array;
  readonly units: number;
  readonly #plan: Plan;
  /** Entry device * units + unit. */
  readonly #common: Int32Array;
  /** Of how many groups each device has one of two copies. */
  readonly #held: Int32Array;
  /** Two units should have groups in common in proportion to the product of these. Their sum is 1. */
  readonly #weights: Float64Array;

  constructor(plan: Plan, numbers: readonly number[]) {
    const names = new Map<string, number>();
    for (const { faultUnit } of plan.devices) if (!names.has(faultUnit)) names.set(faultUnit, names.size);
    this.unitOf = Int32Array.from(plan.devices, ({ faultUnit }) => names.get(faultUnit) as number);
    this.units = names.size;
    this.#plan = plan;
    this.#common = new Int32Array(plan.devices.length * this.units);
    this.#held = new Int32Array(plan.devices.length);
    for (const number of numbers) {
      const group = plan.group(number);
      let first = -1;
      for (const slot of SLOTS) {
        if (!isActive(group, slot)) continue;
        if (first >= 0) this.#count(first, group[slot], 1);
        first = group[slot];
      }
    }
    const shares = new Float64Array(this.units);
    for (const device of plan.home) {
      const unit = this.unitOf[device] as number;
      shares[unit] = (shares[unit] as number) + plan.share(device);
    }
    this.#weights = weightsFor(shares);
  }

  /** How many groups the device has in common with the unit, as a part of what it should have. */
  rate(device: number, unit: number): number {
    const others = 1 - (this.#weights[this.unitOf[device] as number] as number);
    const due = (this.#plan.share(device) * (this.#weights[unit] as number)) / others;
    // What it should have is no whole number.
    return (this.#common[device * this.units + unit] as number) / Math.max(1, Math.ceil(due));
  }

  /** Whether the device has a group of which nothing is in the unit. */
  mayGive(device: number, unit: number): boolean {
    return (this.#held[device] as number) > (this.#common[device * this.units + unit] as number);
  }

  /** The group of which a copy stays on `kept` has moved the other one. */
  move(from: number, to: number, kept: number): void {
    this.#count(from, kept, -1);
    this.#count(to, kept, 1);
  }

  #count(one: number, other: number, groups: number): void {
    add(this.#common, one * this.units + (this.unitOf[other] as number), groups);
    add(this.#common, other * this.units + (this.unitOf[one] as number), groups);
    add(this.#held, one, groups);
    add(this.#held, other, groups);
  }
}

/** The weights by which each unit's groups are as many as its share: found by correcting them by half of what they are off. */
function weightsFor(shares: Float64Array): Float64Array {
  let weights = shares;
  for (let round = 0; ; round++) {
    const all = weights.reduce((sum, weight) => sum + weight, 0);
    weights = weights.map((weight) => weight / all);
    if (round === ROUNDS) return weights;
    weights = weights.map((weight, unit) => Math.sqrt((weight * (shares[unit] as number)) / (1 - weight)));
  }
}

function add(to: Int32Array, at: number, amount: number): void {
  to[at] = (to[at] as number) + amount;
}
