import type { PlannerDevice } from "../../../../src/scaleio/pool/plan.ts";
import { planMoves } from "../../../../src/scaleio/pool/planner.ts";
import { BIT, COUNT, SLOTS, type Slot } from "../../../../src/scaleio/sdc/layout.ts";
import type { Session } from "../../../../src/scaleio/sdc/session.ts";
import type { Random } from "../../../helpers/random.ts";
import type { SimulatedDisk } from "./disk.ts";

/** As many placement groups, so that a chunk has a group of its own. */
export const MOST_CHUNKS = 8;
const FIRST_DEVICES = 4;
const MOST_DEVICES = 6;

type State = Session["devices"][number]["state"];

/** What somebody may do to a device that is there. */
const HARMS = ["stop", "no-sync", "no-write", "no-read-no-write"] as const;

interface SimulatedDevice {
  /** Rises when the place is given to another device. */
  readonly generation: number;
  readonly capacityBytes: number;
  /** As the MDM has it. */
  state: State;
  /** Whether it has been harmed: stopped, or failing, which the MDM may not have heard. */
  away: boolean;
  leaving: boolean;
}

/** What the ledgers of all layers say together. */
export interface Facts {
  /** Per group, which slots are stale in some layer. */
  readonly stale: Uint8Array;
  /** Whether everything in a group's retired slots has been given up by every layer, and nobody goes by an older map. */
  readonly givenUp: (group: number) => boolean;
  /** Whether every engine has noticed the device's failure. */
  readonly noticed: (device: number) => boolean;
}

/** The pool's devices and map as the MDM has them, and what happens to them. Nothing here knows of volumes. */
export class SimulatedPool {
  readonly #disk: SimulatedDisk;
  /** undefined: a place without a device. */
  readonly devices: (SimulatedDevice | undefined)[] = [];
  readonly groups: [number, number, number, number][] = [];
  version = 1;
  #generations = 0;

  constructor(
    disk: SimulatedDisk,
    /** Copies move as the planner says; otherwise in any way that the rules allow. */
    readonly planned: boolean,
    random: Random,
  ) {
    this.#disk = disk;
    for (let device = 0; device < FIRST_DEVICES; device++) this.add(random);
    for (let group = 0; group < MOST_CHUNKS; group++)
      this.groups.push([group % 4, (group + 1 + (Math.floor(group / 4) % 3)) % 4, -1, 0]);
  }

  /** The directory of a device. */
  directory(device: number): string {
    return `/sds/${device}.${this.devices[device]?.generation ?? "none"}/`;
  }

  file(device: number, layerId: string): string {
    return this.devices[device] === undefined ? "" : `${this.directory(device)}${layerId}.vol`;
  }

  get present(): number[] {
    return [...this.devices.keys()].filter((device) => this.devices[device] !== undefined);
  }

  get away(): number[] {
    return this.present.filter((device) => this.devices[device]?.away);
  }

  /** Mask of the slots of a group that are to be kept. */
  active(group: number): number {
    const { 3: retired, ...slots } = this.groups[group] as [number, number, number, number];
    return SLOTS.reduce<number>((mask, slot) => mask | (slots[slot] >= 0 ? BIT[slot] : 0), 0) & ~retired;
  }

  /** A new device, in the first free place. False: there are enough. */
  add(random: Random): boolean {
    const free = this.devices.indexOf(undefined);
    const place = free < 0 ? this.devices.length : free;
    if (place >= MOST_DEVICES) return false;
    const capacityBytes = 1 + Math.floor(random() * 3);
    const generation = ++this.#generations;
    this.devices[place] = { generation, capacityBytes, state: "up", away: false, leaving: false };
    this.#disk.labels.add(`${this.directory(place)}device.json`);
    return true;
  }

  /** A device is to be emptied, or no longer. */
  leave(random: Random): void {
    const leaving = this.present.find((device) => this.devices[device]?.leaving);
    const who = leaving ?? pick(random, this.present);
    const device = this.devices[who] as SimulatedDevice;
    device.leaving = leaving === undefined && this.present.length > 3;
  }

  /** A device that was to be emptied, and is, goes. True when one did. */
  removeEmpty(): boolean {
    const empty = this.present.find(
      (device) =>
        this.devices[device]?.leaving &&
        !this.devices[device]?.away &&
        this.groups.every((group) => !group.slice(0, 3).includes(device)),
    );
    if (empty === undefined) return false;
    const directory = this.directory(empty);
    this.#disk.labels.delete(`${directory}device.json`);
    for (const path of this.#disk.paths()) if (path.startsWith(directory)) this.#disk.remove(path);
    this.devices[empty] = undefined;
    return true;
  }

  /** Answers how. */
  harm(random: Random, device: number): (typeof HARMS)[number] {
    const harmed = this.devices[device] as SimulatedDevice;
    harmed.away = true;
    const how = pick(random, HARMS);
    const directory = this.directory(device);
    if (how === "stop") harmed.state = "stopped";
    else if (how === "no-sync") this.#disk.brokenSyncs.add(directory);
    else {
      this.#disk.brokenWrites.add(directory);
      if (how === "no-read-no-write") this.#disk.brokenReads.add(directory);
    }
    return how;
  }

  /** Whether it serves: what its copies hold can be had. */
  serves(device: number): boolean {
    return this.devices[device]?.state === "up" && !this.devices[device]?.away;
  }

  /** Mended; `declare` tells everybody of each state, one after the other. */
  mend(device: number, declare: () => void): void {
    const harmed = this.devices[device] as SimulatedDevice;
    this.#disk.repair(this.directory(device));
    // The MDM heard of a failure before the device is declared well.
    if (harmed.state === "up") {
      harmed.state = "failed";
      declare();
    }
    harmed.state = "up";
    harmed.away = false;
    declare();
  }

  /** Copies move on. */
  move(random: Random, facts: Facts): void {
    if (this.planned) this.#plan(facts);
    else this.#moveAtRandom(random, facts);
    this.version++;
  }

  /** As the mover does: the planner's decisions, by what the ledgers say, while nodes leave, are lost and come back. */
  #plan({ stale, givenUp }: Facts): void {
    const counts = { stale: new Uint32Array(MOST_CHUNKS * 3), held: new Uint8Array(MOST_CHUNKS) };
    for (let group = 0; group < MOST_CHUNKS; group++) {
      counts.held[group] = givenUp(group) ? 0 : 1;
      for (const slot of SLOTS) counts.stale[group * 3 + slot] = ((stale[group] as number) >> slot) & 1;
    }
    const devices = this.devices.map((device, place): PlannerDevice => {
      const standing = device === undefined || device.away ? "lost" : device.leaving ? "leaving" : "home";
      return { capacityBytes: device?.capacityBytes ?? 0, faultUnit: String(place), standing };
    });
    for (const [number, group] of planMoves(this.groups, devices, counts)) this.groups[number] = [...group];
  }

  /** What a planner may do: takes a third place for some groups, gives a place up, frees it. */
  #moveAtRandom(random: Random, { stale, givenUp, noticed }: Facts): void {
    for (const [number, group] of this.groups.entries()) {
      if (random() < 0.5) continue;
      const bad = stale[number] as number;
      const active = this.active(number);
      // What the engines know already the MDM may not have heard; what nobody knows must not be counted on.
      const good = SLOTS.filter(
        (slot) =>
          (active & ~bad & BIT[slot]) !== 0 && (!this.devices[group[slot]]?.away || noticed(group[slot] as number)),
      );
      const empty = SLOTS.find((slot) => group[slot] === -1);
      const spare = this.present.filter(
        (device) => !group.slice(0, 3).includes(device) && !this.devices[device]?.leaving,
      );
      if (group[3] !== 0) {
        if (!givenUp(number)) continue;
        for (const slot of SLOTS) if ((group[3] & BIT[slot]) !== 0) group[slot] = -1;
        group[3] = 0;
      } else if (COUNT[active] === 2 && empty !== undefined && spare.length > 0) {
        group[empty] = pick(random, spare);
      } else if (good.length >= 2 && COUNT[active] === 3) {
        const leaving = SLOTS.find((slot) => this.devices[group[slot]]?.leaving);
        const worst = SLOTS.find((slot) => (active & bad & BIT[slot]) !== 0);
        const others = (slot: Slot) => good.some((other) => other !== slot);
        const choice = random() < 0.7 ? (worst ?? leaving) : undefined;
        const retire = choice !== undefined && others(choice) ? choice : pick(random, good);
        group[3] = BIT[retire];
      }
    }
  }
}

export function pick<T>(random: Random, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)] as T;
}
