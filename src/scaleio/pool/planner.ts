import type { GroupTable } from "../model.ts";
import { Assignment } from "./assignment.ts";
import { best, isActive, isOnThree, type Moves, Plan, type PlannerDevice, SLOTS, type Slot } from "./plan.ts";
import { rebalance } from "./rebalance.ts";

/** What the ledgers of all volumes say of the slots of a group. */
export interface GroupFacts {
  /** Stale chunks per group and slot: entry group * 3 + slot. */
  readonly stale: Uint32Array;
  /** 1 for a group in which some volume has not given its retired copies up. */
  readonly held: Uint8Array;
}

/** Groups that may be on their way for the sake of balance or of an evacuation at a time: each costs a third copy meanwhile. */
const FEWEST_UNDER_WAY = 16;

/**
 * Decides what becomes of every placement group next; pure. One mechanism moves a copy, whatever the reason: the group's
 * third slot gets a device, the engines fill it, then one of the three is retired, given up by all volumes, and freed.
 *
 * - A copy on a lost device is made anew elsewhere (forward rebuild). If the device comes back before that is done, the
 *   copy that needs less work wins, and the other one is retired (backward rebuild).
 * - Beside a copy that rests a third one stands in for it. The engines fill of it what is written, and nothing is done about the three
 *   until the device is back; then that is as above, and what has less to be made good stays.
 * - Copies leave devices that are to be removed, and then those that hold more than their share (rebalance), a bounded
 *   number at a time, and only when no copy is missing: rebuild comes first.
 *
 * Balance and stand-ins can be switched off, for a pool that is too full for third copies.
 *
 * New places are those that hold least of their shares, in another fault unit than the copy that stays.
 */
export function planMoves(
  groups: GroupTable,
  devices: readonly PlannerDevice[],
  facts: GroupFacts,
  options: { readonly thirds?: boolean } = {},
): Moves {
  return new Planner(groups, devices, facts).plan(options.thirds ?? true);
}

class Planner {
  readonly #plan: Plan;
  readonly #groups: GroupTable;
  readonly #devices: number;
  readonly #facts: GroupFacts;
  #underWay = 0;
  #missing = 0;

  constructor(groups: GroupTable, devices: readonly PlannerDevice[], facts: GroupFacts) {
    this.#plan = new Plan(groups, devices);
    this.#groups = groups;
    this.#devices = devices.length;
    this.#facts = facts;
  }

  plan(thirds: boolean): Moves {
    const settled: number[] = [];
    const onThree: number[] = [];
    const lost: number[] = [];
    const resting: number[] = [];
    for (const [number, group] of this.#groups.entries()) {
      if (group[3] !== 0) this.#free(number);
      else if (isOnThree(group) && this.#plan.has(number, "resting")) this.#giveUpStandIn(number);
      else if (isOnThree(group)) onThree.push(number);
      else if (this.#plan.has(number, "lost")) lost.push(number);
      else if (this.#plan.has(number, "resting")) resting.push(number);
      else settled.push(number);
    }
    this.#retire(onThree);
    this.#missing += lost.length;
    this.#replace(lost, "lost", Number.POSITIVE_INFINITY);
    if (thirds) this.#replace(resting, "resting", Number.POSITIVE_INFINITY);
    if (this.#missing > 0) return this.#plan.moves;
    const room = Math.max(FEWEST_UNDER_WAY, this.#groups.length / 16) - this.#underWay;
    const leaving = settled.filter((number) => this.#plan.has(number, "leaving"));
    this.#replace(leaving, "leaving", room);
    if (thirds && this.#plan.moves.length === 0 && this.#underWay === 0) rebalance(this.#plan, settled, room);
    return this.#plan.moves;
  }

  #free(number: number): void {
    this.#underWay++;
    if (this.#facts.held[number] === 0) this.#plan.free(number);
    else this.#keepLast(number);
  }

  /** Both copies that were to stay are lost: what has not been given up of the third is all there is. */
  #keepLast(number: number): void {
    const group = this.#plan.group(number);
    const kept = SLOTS.filter((slot) => isActive(group, slot));
    if (SLOTS.some((slot) => group[slot] >= 0 && this.#isLost(number, slot) !== kept.includes(slot))) return;
    this.#missing++;
    const worst = best(kept, (slot) => this.#stale(number, slot));
    if (worst !== undefined) this.#plan.retire(number, worst);
  }

  /** What stands in for a copy that rests is lost: another one will. */
  #giveUpStandIn(number: number): void {
    const [lost] = this.#plan.slots(number, "lost");
    if (lost !== undefined && SLOTS.some((slot) => this.#isHome(number, slot) && this.#isGood(number, slot)))
      this.#plan.retire(number, lost);
  }

  /** Three copies are one too many as soon as two others are good, at home, and in different fault units. */
  #retire(numbers: readonly number[]): void {
    this.#underWay += numbers.length;
    const open: { number: number; now: Slot[]; stale: Slot | undefined }[] = [];
    for (const number of numbers) {
      const now = this.#retirable(number);
      const foreign = now.find((slot) => !this.#isHome(number, slot));
      const stale = now.find((slot) => !this.#isGood(number, slot));
      if (now.length === 0) this.#giveUpWorst(number);
      else if (foreign !== undefined) this.#plan.retire(number, foreign);
      else open.push({ number, now, stale });
    }
    // Which of the three is the one too many is decided for all groups at once, so that every device ends with its share. A copy
    // that is not complete is given up if that will do, which is the least work; if not, it is waited for.
    const deviceOf = (number: number, slot: Slot) => this.#plan.group(number)[slot];
    const choice = new Assignment(this.#plan.bins("more"), ({ number }: (typeof open)[number]) =>
      SLOTS.filter((slot) => this.#isApart(number, slot)).map((slot) => deviceOf(number, slot)),
    );
    for (const one of open) if (one.stale !== undefined) choice.prefer(one, deviceOf(one.number, one.stale));
    for (const one of open) if (choice.of(one) === undefined) choice.place(one);
    for (const one of open) {
      const { number, now, stale } = one;
      const chosen = SLOTS.find((slot) => deviceOf(number, slot) === choice.of(one));
      const slot = chosen ?? stale ?? best(now, (each) => this.#plan.overfull(deviceOf(number, each)));
      if (slot !== undefined && now.includes(slot)) this.#plan.retire(number, slot);
    }
  }

  /** A lost device is back before its copies were made anew: what needs less work is completed, the other one is given up. */
  #giveUpWorst(number: number): void {
    if (SLOTS.filter((slot) => this.#isGood(number, slot)).length < 2) this.#missing++;
    if (!SLOTS.every((slot) => this.#isHome(number, slot))) return;
    const stale = SLOTS.filter((slot) => !this.#isGood(number, slot) && this.#isApart(number, slot));
    const worst = best(stale, (slot) => this.#stale(number, slot));
    if (stale.length === 2 && worst !== undefined) this.#plan.retire(number, worst);
  }

  /** The slots that can be done without at this moment. */
  #retirable(number: number): Slot[] {
    const standing = (slot: Slot) => this.#plan.standing(this.#plan.group(number)[slot]);
    // Beside a lost copy one that is to leave does for the time being.
    const keepable = (other: Slot, slot: Slot) =>
      this.#isGood(number, other) &&
      (standing(other) === "home" || (standing(other) === "leaving" && standing(slot) === "lost"));
    return SLOTS.filter(
      (slot) => this.#isApart(number, slot) && SLOTS.every((other) => other === slot || keepable(other, slot)),
    );
  }

  #stale(number: number, slot: Slot): number {
    return this.#facts.stale[number * 3 + slot] as number;
  }

  #isGood(number: number, slot: Slot): boolean {
    return this.#stale(number, slot) === 0 && !this.#isLost(number, slot);
  }

  #isLost(number: number, slot: Slot): boolean {
    return this.#plan.standing(this.#plan.group(number)[slot]) === "lost";
  }

  #isHome(number: number, slot: Slot): boolean {
    return this.#plan.standing(this.#plan.group(number)[slot]) === "home";
  }

  /** Whether the two other copies are in different fault units. */
  #isApart(number: number, slot: Slot): boolean {
    const group = this.#plan.group(number);
    const [a, b] = SLOTS.filter((other) => other !== slot) as [Slot, Slot];
    return this.#plan.unit(group[a]) !== this.#plan.unit(group[b]);
  }

  /** Gives as many of these groups as may be a new place for a copy that stands so; where to is decided for all at once. */
  #replace(numbers: readonly number[], standing: "lost" | "resting" | "leaving", most: number): void {
    const targetsOf = (number: number) => this.#targets(number, standing);
    const targets = new Assignment(this.#plan.bins("less"), targetsOf);
    if (most > 0) for (const number of numbers) targets.place(number);
    for (const number of numbers) {
      if (this.#plan.moves.length >= most) return;
      const [from] = this.#plan.slots(number, standing);
      // Where nobody has less than its share it has to go somewhere all the same.
      const target = targets.of(number) ?? best(targetsOf(number), (device) => -this.#plan.overfull(device));
      if (from !== undefined && target !== undefined) this.#plan.move(number, from, target);
    }
  }

  /**
   * Where a copy may go in place of one that stands so, beginning with the device next to that of the copy which stays: where
   * every two devices have as many groups in common, each gets as much to write as to read.
   */
  #targets(number: number, standing: "lost" | "resting" | "leaving"): number[] {
    const group = this.#plan.group(number);
    if (isOnThree(group)) return [];
    const [from] = this.#plan.slots(number, standing);
    const kept = SLOTS.find((slot) => slot !== from && isActive(group, slot));
    if (from === undefined || kept === undefined || this.#plan.standing(group[kept]) === "lost") return [];
    const targets: number[] = [];
    for (let step = 1; step < this.#devices; step++) {
      const device = (group[kept] + step) % this.#devices;
      if (this.#plan.mayGo(number, from, device)) targets.push(device);
    }
    return targets;
  }
}
