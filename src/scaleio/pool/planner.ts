import type { Group, GroupTable } from "../model.ts";

/** A place of the map, as the planner sees it. */
export interface PlannerDevice {
  /** 0 for a place without a device. */
  readonly capacityBytes: number;
  readonly faultUnit: string;
  /** home: may hold copies. leaving: is to be emptied. away: out for a while, nothing is done about it. lost: serves nothing. */
  readonly standing: "home" | "leaving" | "away" | "lost";
}

/** What the ledgers of all volumes say of the slots of a group. */
export interface GroupFacts {
  /** Stale chunks per group and slot: entry group * 3 + slot. */
  readonly stale: Uint32Array;
  /** 1 for a group in which some volume has not given its retired copies up. */
  readonly held: Uint8Array;
}

/** The groups that are to change, by number. */
export type Moves = [number, Group][];

const SLOTS = [0, 1, 2] as const;
type Slot = (typeof SLOTS)[number];

/** Groups that may be on their way for the sake of balance or of an evacuation at a time: each costs a third copy meanwhile. */
const FEWEST_UNDER_WAY = 16;
/** Nothing is moved for the sake of balance while all devices are this near to their shares. */
const TOLERANCE = 0.02;

/**
 * Decides what becomes of every placement group next; pure. One mechanism moves a copy, whatever the reason: the group's
 * third slot gets a device, the engines fill it, then one of the three is retired, given up by all volumes, and freed.
 *
 * - A copy on a lost device is made anew elsewhere (forward rebuild). If the device comes back before that is done, the
 *   copy that needs less work wins, and the other one is retired (backward rebuild).
 * - Copies leave devices that are to be removed, and then those that hold more than their share (rebalance), a bounded
 *   number at a time, and only when no copy is missing: rebuild comes first.
 *
 * Balance can be switched off, for a pool that is too full for third copies.
 *
 * New places are the least loaded ones in proportion to capacity, in another fault unit than the copy that stays.
 */
export function planMoves(
  groups: GroupTable,
  devices: readonly PlannerDevice[],
  facts: GroupFacts,
  { rebalance = true } = {},
): Moves {
  return new Planner(groups, devices, facts).plan(rebalance);
}

class Planner {
  readonly #groups: GroupTable;
  readonly #devices: readonly PlannerDevice[];
  readonly #facts: GroupFacts;
  /** Copies on each device when all that is planned has been done. */
  readonly #load: Float64Array;
  readonly #moves: Moves = [];
  #underWay = 0;
  #missing = 0;

  constructor(groups: GroupTable, devices: readonly PlannerDevice[], facts: GroupFacts) {
    this.#groups = groups;
    this.#devices = devices;
    this.#facts = facts;
    this.#load = new Float64Array(devices.length);
    for (const group of groups)
      for (const slot of SLOTS)
        if (isActive(group, slot)) this.#load[group[slot]] = (this.#load[group[slot]] as number) + 1;
  }

  plan(rebalance: boolean): Moves {
    const settled: number[] = [];
    for (const [number, group] of this.#groups.entries()) {
      const active = SLOTS.filter((slot) => isActive(group, slot));
      if (group[3] !== 0) this.#free(number, group);
      else if (active.length === 3) this.#retire(number, group);
      else if (active.some((slot) => this.#standing(group[slot]) === "lost")) this.#replaceLost(number, group, active);
      else settled.push(number);
    }
    if (this.#missing === 0) {
      const room = Math.max(FEWEST_UNDER_WAY, this.#groups.length / 16) - this.#underWay;
      this.#evacuate(settled, room);
      if (rebalance && this.#moves.length === 0 && this.#underWay === 0) this.#rebalance(settled, room);
    }
    return this.#moves;
  }

  #standing(device: number): PlannerDevice["standing"] {
    return (this.#devices[device] as PlannerDevice).standing;
  }

  #unit(device: number): string {
    return (this.#devices[device] as PlannerDevice).faultUnit;
  }

  /** How full a device is, its capacity being the measure. */
  #fullness(device: number, more = 0): number {
    return ((this.#load[device] as number) + more) / (this.#devices[device] as PlannerDevice).capacityBytes;
  }

  #stale(number: number, slot: Slot): number {
    return this.#facts.stale[number * 3 + slot] as number;
  }

  #free(number: number, group: Group): void {
    this.#underWay++;
    if (this.#facts.held[number] !== 0) return;
    const at = (slot: Slot) => ((group[3] >> slot) & 1 ? -1 : group[slot]);
    this.#moves.push([number, [at(0), at(1), at(2), 0]]);
  }

  /** Three copies are one too many as soon as two others are good, at home, and in different fault units. */
  #retire(number: number, group: Group): void {
    this.#underWay++;
    const good = (slot: Slot) => this.#stale(number, slot) === 0 && this.#standing(group[slot]) !== "lost";
    const keepable = (slot: Slot) => good(slot) && this.#standing(group[slot]) === "home";
    const apart = (slot: Slot) => {
      const [a, b] = SLOTS.filter((other) => other !== slot) as [Slot, Slot];
      return this.#unit(group[a]) !== this.#unit(group[b]);
    };
    const others = (slot: Slot) => SLOTS.filter((other) => other !== slot);
    const choice = best(
      SLOTS.filter((slot) => apart(slot) && others(slot).every(keepable)),
      (slot) => (keepable(slot) ? this.#fullness(group[slot]) : Number.POSITIVE_INFINITY),
    );
    if (choice !== undefined) {
      this.#retireSlot(number, group, choice);
      return;
    }
    if (SLOTS.filter(good).length < 2) this.#missing++;
    // The lost device is back: what needs less work is completed, the other one is given up.
    if (!SLOTS.every((slot) => this.#standing(group[slot]) === "home")) return;
    const stale = SLOTS.filter((slot) => !good(slot) && apart(slot));
    const worst = best(stale, (slot) => this.#stale(number, slot));
    if (stale.length === 2 && worst !== undefined) this.#retireSlot(number, group, worst);
  }

  #retireSlot(number: number, group: Group, slot: Slot): void {
    this.#load[group[slot]] = (this.#load[group[slot]] as number) - 1;
    this.#moves.push([number, [group[0], group[1], group[2], 1 << slot]]);
  }

  #replaceLost(number: number, group: Group, active: readonly Slot[]): void {
    this.#missing++;
    const kept = active.find((slot) => this.#standing(group[slot]) !== "lost");
    if (kept !== undefined) this.#assign(number, group, kept);
  }

  #evacuate(settled: readonly number[], room: number): void {
    for (const number of settled) {
      if (this.#moves.length >= room) return;
      const group = this.#groups[number] as Group;
      const active = SLOTS.filter((slot) => isActive(group, slot));
      const leaving = active.find((slot) => this.#standing(group[slot]) === "leaving");
      const kept = active.find((slot) => slot !== leaving);
      if (leaving !== undefined && kept !== undefined) this.#assign(number, group, kept);
    }
  }

  /**
   * Gives the empty slot to the emptiest device of another fault unit than that of the copy that stays. Of equally empty ones to
   * the next after that copy's: where every two devices have as many groups in common, each gets as much to write as to read.
   */
  #assign(number: number, group: Group, kept: Slot): void {
    const taken = SLOTS.map((slot) => group[slot]);
    let target = -1;
    for (let step = 1; step < this.#devices.length; step++) {
      const device = (group[kept] + step) % this.#devices.length;
      if (this.#standing(device) !== "home" || taken.includes(device)) continue;
      if (this.#unit(device) === this.#unit(group[kept])) continue;
      if (target < 0 || this.#fullness(device, 1) < this.#fullness(target, 1)) target = device;
    }
    if (target >= 0) this.#give(number, group, target);
  }

  #give(number: number, group: Group, device: number): void {
    const empty = SLOTS.find((slot) => group[slot] < 0);
    if (empty === undefined) return;
    const after: [number, number, number, number] = [...group];
    after[empty] = device;
    this.#load[device] = (this.#load[device] as number) + 1;
    this.#moves.push([number, after]);
  }

  /** From those that hold more than their share to those that hold less: nothing moves twice. */
  #rebalance(settled: readonly number[], room: number): void {
    const home = [...this.#devices.keys()].filter((device) => this.#standing(device) === "home");
    const capacity = home.reduce((sum, device) => sum + (this.#devices[device] as PlannerDevice).capacityBytes, 0);
    const copies = home.reduce((sum, device) => sum + (this.#load[device] as number), 0);
    const share = (device: number) => (copies * (this.#devices[device] as PlannerDevice).capacityBytes) / capacity;
    const over = (device: number) => (this.#load[device] as number) - share(device);
    const uneven = (device: number) => Math.abs(over(device)) > Math.max(1, share(device) * TOLERANCE);
    const byNeed = new Set(home.filter((device) => over(device) <= -1));
    if (byNeed.size === 0 || !home.some(uneven)) return;
    // Neighbouring groups hold neighbouring chunks: what moves is picked from all over, so that small volumes spread too.
    for (const number of settled.toSorted((a, b) => scrambled(a) - scrambled(b))) {
      if (this.#moves.length >= room || byNeed.size === 0) return;
      const group = this.#groups[number] as Group;
      const active = SLOTS.filter((slot) => isActive(group, slot));
      const source = best(
        active.filter((slot) => this.#standing(group[slot]) === "home" && over(group[slot]) > 0),
        (slot) => over(group[slot]),
      );
      const kept = active.find((slot) => slot !== source);
      if (source === undefined || kept === undefined) continue;
      const target = best(
        [...byNeed].filter(
          (device) => this.#unit(device) !== this.#unit(group[kept]) && SLOTS.every((slot) => group[slot] !== device),
        ),
        (device) => -over(device) / share(device),
      );
      if (target === undefined) continue;
      this.#give(number, group, target);
      this.#load[group[source]] = (this.#load[group[source]] as number) - 1;
      if (over(target) > -1) byNeed.delete(target);
    }
  }
}

const isActive = (group: Group, slot: Slot): boolean => group[slot] >= 0 && ((group[3] >> slot) & 1) === 0;

const scrambled = (number: number) => Math.imul(number + 1, 0x9e3779b1) >>> 0;

/** The one with the highest score. */
function best<T>(candidates: readonly T[], score: (candidate: T) => number): T | undefined {
  let found: T | undefined;
  let most = Number.NEGATIVE_INFINITY;
  for (const candidate of candidates) {
    const points = score(candidate);
    if (found === undefined || points > most) {
      most = points;
      found = candidate;
    }
  }
  return found;
}
