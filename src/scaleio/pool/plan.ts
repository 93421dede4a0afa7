import type { Group, GroupTable } from "../model.ts";
import type { Bin } from "./assignment.ts";
import { sharesOf } from "./shares.ts";

/** A place of the map, as the planner sees it. */
export interface PlannerDevice {
  /** 0 for a place without a device. */
  readonly capacityBytes: number;
  readonly faultUnit: string;
  /**
   * home: may hold copies. leaving: is to be emptied. away: out for a while, nothing is done about it. resting: out for a while, and
   * what is written meanwhile has a copy elsewhere. lost: serves nothing.
   */
  readonly standing: "home" | "leaving" | "away" | "resting" | "lost";
}

/** The groups that are to change, by number. */
export type Moves = [number, Group][];

export const SLOTS = [0, 1, 2] as const;
export type Slot = (typeof SLOTS)[number];

/** As bits of a mask. */
const FLAG = { home: 1, leaving: 2, away: 4, resting: 8, lost: 16 } as const;

/**
 * The map, what has been decided to change of it, and what each device holds when all of that has been done, beside its share.
 * Groups and devices are numbers.
 */
export class Plan {
  readonly #groups: GroupTable;
  readonly devices: readonly PlannerDevice[];
  /** The devices that may hold copies. */
  readonly home: readonly number[];
  readonly moves: Moves = [];
  /** Copies on each device. */
  readonly #load: Float64Array;
  /** 0 for those that are not at home. */
  readonly #shares: Float64Array;
  /** For each group, how the devices of its copies stand. */
  readonly #found: Uint8Array;

  constructor(groups: GroupTable, devices: readonly PlannerDevice[]) {
    this.#groups = groups;
    this.devices = devices;
    this.#load = new Float64Array(devices.length);
    this.#found = new Uint8Array(groups.length);
    let copies = 0;
    for (let number = 0; number < groups.length; number++) {
      const group = groups[number] as Group;
      let [found, away] = [0, 0];
      for (const slot of SLOTS) {
        if (!isActive(group, slot)) continue;
        const device = group[slot];
        this.#load[device] = (this.#load[device] as number) + 1;
        found |= FLAG[this.standing(device)];
        if (this.standing(device) === "away") away++;
      }
      this.#found[number] = found;
      // What is away stays there, beside what rests there are two, and where all is lost nothing can be made.
      if ((found & ~FLAG.lost) !== 0) copies += 2 - away;
    }
    this.home = [...devices.keys()].filter((device) => this.standing(device) === "home");
    this.#shares = new Float64Array(devices.length);
    const shares = sharesOf(
      this.home.map((device) => this.#device(device)),
      copies,
      groups.length,
    );
    for (const [index, share] of shares.entries()) this.#shares[this.home[index] as number] = share;
  }

  group(number: number): Group {
    return this.#groups[number] as Group;
  }

  /** Whether the group has a copy on a device that stands so. */
  has(number: number, standing: PlannerDevice["standing"]): boolean {
    return ((this.#found[number] as number) & FLAG[standing]) !== 0;
  }

  /** The group's slots with a copy on a device that stands so. */
  slots(number: number, standing: PlannerDevice["standing"]): Slot[] {
    const group = this.group(number);
    return SLOTS.filter((slot) => isActive(group, slot) && this.standing(group[slot]) === standing);
  }

  standing(device: number): PlannerDevice["standing"] {
    return this.#device(device).standing;
  }

  unit(device: number): string {
    return this.#device(device).faultUnit;
  }

  share(device: number): number {
    return this.#shares[device] as number;
  }

  /** How many copies more than its share a device holds; fewer, if negative. */
  over(device: number): number {
    return (this.#load[device] as number) - this.share(device);
  }

  /** The same with its capacity as the measure. */
  overfull(device: number): number {
    return this.over(device) / this.#device(device).capacityBytes;
  }

  /** The devices, as bins for what they hold more than their shares, or for what they hold less. */
  bins(of: "more" | "less"): Map<number, Bin> {
    const sign = of === "more" ? 1 : -1;
    const bin = (device: number): Bin => ({
      room: Math.max(0, sign * this.over(device)),
      weight: this.#device(device).capacityBytes,
    });
    return new Map(this.home.map((device) => [device, bin(device)]));
  }

  /** Where the group's copy in this slot may go: not to the fault unit of the copy that stays. */
  mayGo(number: number, from: Slot, device: number): boolean {
    const group = this.group(number);
    const kept = SLOTS.find((slot) => slot !== from && isActive(group, slot));
    if (kept === undefined || this.standing(device) !== "home") return false;
    return !SLOTS.some((slot) => group[slot] === device) && this.unit(device) !== this.unit(group[kept]);
  }

  /** A third copy of the group is made on this device, in place of the one in slot `from`. */
  move(number: number, from: Slot, device: number): void {
    const group = this.group(number);
    const empty = SLOTS.find((slot) => group[slot] < 0);
    if (empty === undefined) return;
    const after: [number, number, number, number] = [...group];
    after[empty] = device;
    this.#count(device, 1);
    this.#count(group[from], -1);
    this.moves.push([number, after]);
  }

  /** The copy in this slot is given up; one that was to be is kept. */
  retire(number: number, slot: Slot): void {
    const group = this.group(number);
    this.#count(group[slot], -1);
    for (const other of SLOTS) if (group[other] >= 0 && !isActive(group, other)) this.#count(group[other], 1);
    this.moves.push([number, [group[0], group[1], group[2], 1 << slot]]);
  }

  /** The slots that were given up are empty. */
  free(number: number): void {
    const group = this.group(number);
    const at = (slot: Slot) => ((group[3] >> slot) & 1 ? -1 : group[slot]);
    this.moves.push([number, [at(0), at(1), at(2), 0]]);
  }

  #count(device: number, copies: number): void {
    this.#load[device] = (this.#load[device] as number) + copies;
  }

  #device(device: number): PlannerDevice {
    return this.devices[device] as PlannerDevice;
  }
}

/** Whether the slot has a copy that is kept. */
export const isActive = (group: Group, slot: Slot): boolean => group[slot] >= 0 && ((group[3] >> slot) & 1) === 0;

/** Whether all of the group's slots are taken. */
export const isOnThree = (group: Group): boolean => SLOTS.every((slot) => group[slot] >= 0);

/** The one with the highest score. */
export function best<T>(candidates: Iterable<T>, score: (candidate: T) => number): T | undefined {
  let found: T | undefined;
  let most = Number.NEGATIVE_INFINITY;
  for (const candidate of candidates) {
    const points = score(candidate);
    if (found !== undefined && points <= most) continue;
    most = points;
    found = candidate;
  }
  return found;
}
