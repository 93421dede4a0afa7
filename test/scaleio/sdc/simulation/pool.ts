import { idOf } from "../../../../src/scaleio/founding.ts";
import type { Change, Device, Group, GroupTable, Id, Sds, SystemState } from "../../../../src/scaleio/model.ts";
import { plannerDevices } from "../../../../src/scaleio/mover.ts";
import type { PlannerDevice } from "../../../../src/scaleio/pool/plan.ts";
import { planMoves } from "../../../../src/scaleio/pool/planner.ts";
import { BIT, COUNT, SLOTS, type Slot } from "../../../../src/scaleio/sdc/layout.ts";
import type { Random } from "../../../helpers/random.ts";
import type { SimulatedDisk } from "./disk.ts";

export const SYSTEM = "0000000000000000";
/** As many placement groups, so that a chunk has a group of its own. */
export const MOST_CHUNKS = 8;
const FIRST_DEVICES = 4;
const MOST_DEVICES = 6;

/** A device that is going to fail does so within so many file operations. */
const MOST_OPERATIONS = 1024;

/** What somebody may do to a device that is there, or to its node. */
const HARMS = [
  "stop",
  "stop its node",
  "rest its node",
  "lose its node",
  "no-sync",
  "no-write",
  "no-read",
  "dead",
  "no-sums",
] as const;

/** What the ledgers of all layers say together. */
export interface Facts {
  /** Per group, which slots are stale in some layer. */
  readonly stale: Uint8Array;
  /** Whether everything in a group's retired slots has been given up by every layer, and nobody goes by an older map. */
  readonly givenUp: (group: number) => boolean;
  /** Whether every engine has noticed the device's failure. */
  readonly noticed: (device: number) => boolean;
}

/**
 * The pool's devices and map as the MDM has them, what may change about them, and what happens to devices. Nothing here knows of
 * volumes. Whoever wants a change gets it from here, and has the MDM make it.
 */
export class SimulatedPool {
  readonly #disk: SimulatedDisk;
  readonly #state: () => SystemState;
  /** Devices that fail, which the MDM may not have heard. */
  readonly #failing = new Set<Id>();
  #known: Known | undefined;
  #generations = 0;

  constructor(
    disk: SimulatedDisk,
    /** Copies move as the planner says; otherwise in any way that the rules allow. */
    readonly planned: boolean,
    state: () => SystemState,
  ) {
    this.#disk = disk;
    this.#state = state;
  }

  founded(random: Random, checksum: boolean): Change {
    const devices = Array.from({ length: FIRST_DEVICES }, () => this.#newDevice(random));
    const groups = Array.from({ length: MOST_CHUNKS }, (_, group): Group => {
      return [group % 4, (group + 1 + (Math.floor(group / 4) % 3)) % 4, -1, 0];
    });
    return {
      type: "system-created",
      systemId: SYSTEM,
      lastId: 0,
      pool: {
        id: "pool",
        name: "pool1",
        protectionDomain: "pd1",
        sparePercent: 10,
        checksum,
        mapVersion: 1,
        deviceIds: devices.map(({ id }) => id),
        groups,
      },
      sds: devices.map((device) => nodeWith(device)),
    };
  }

  /** By place; undefined: a place without a device. */
  get devices(): readonly (Device | undefined)[] {
    return this.#places().devices;
  }

  #places(): Known {
    const { pool, sds } = this.#state();
    // Whatever changes a device changes the pool's version.
    if (this.#known?.of !== pool) {
      const byId = new Map(sds.flatMap((node) => node.devices.map((device) => [device.id, { node, device }])));
      const byPlace = pool.deviceIds.map((id) => byId.get(id));
      this.#known = { of: pool, byPlace, devices: byPlace.map((place) => place?.device) };
    }
    return this.#known;
  }

  get groups(): GroupTable {
    return this.#state().pool.groups;
  }

  get version(): number {
    return this.#state().pool.mapVersion;
  }

  /** As engines call a device. */
  name(device: number): string {
    const place = this.#places().byPlace[device];
    return `${place?.node.name}/${place?.device.name}`;
  }

  /** The devices of a device's node. */
  besides(device: number): number[] {
    return this.present.filter((other) => this.#places().byPlace[other]?.node === this.#places().byPlace[device]?.node);
  }

  /** What the MDM has to be told so that a device's node is there again. */
  nodeBack(device: number): Change[] {
    const { node } = this.#places().byPlace[device] as Place;
    const changes: Change[] = [];
    if (node.state !== "up") changes.push({ type: "sds-state", name: node.name, state: "up" });
    if (node.maintenance === true) changes.push({ type: "sds-maintenance", name: node.name, on: false });
    return changes;
  }

  /** What it has to be told before a device's node is in maintenance. */
  rested(device: number): readonly [Change, Change] {
    const { name } = (this.#places().byPlace[device] as Place).node;
    return [
      { type: "sds-maintenance", name, on: true },
      { type: "sds-state", name, state: "stopped" },
    ];
  }

  /** The directory of a device. */
  directory(device: number): string {
    return `${this.devices[device]?.path ?? "/sds/none"}/`;
  }

  file(device: number, layerId: string): string {
    return this.devices[device] === undefined ? "" : `${this.directory(device)}${layerId}.vol`;
  }

  get present(): number[] {
    return [...this.devices.keys()].filter((device) => this.devices[device] !== undefined);
  }

  /** Those that do not serve. */
  get away(): number[] {
    return this.present.filter((device) => !this.serves(device));
  }

  /** Whether it serves: what its copies hold can be had. */
  serves(device: number): boolean {
    return this.isUp(device) && !this.#failing.has(this.devices[device]?.id as Id);
  }

  /** By what the MDM knows. */
  isUp(device: number): boolean {
    const place = this.#places().byPlace[device];
    return place?.node.state === "up" && place.device.state === "up";
  }

  /** Mask of the slots of a group that are to be kept. */
  active(group: number): number {
    const { 3: retired, ...slots } = this.groups[group] as Group;
    return SLOTS.reduce<number>((mask, slot) => mask | (slots[slot] >= 0 ? BIT[slot] : 0), 0) & ~retired;
  }

  /** A new device in the first free place, in a node of its own or in one that there is. Undefined: there are enough. */
  added(random: Random): Change | undefined {
    if (this.present.length >= MOST_DEVICES) return undefined;
    const device = this.#newDevice(random);
    if (random() < 0.5) return { type: "sds-added", sds: nodeWith(device), lastId: 0 };
    return { type: "device-added", sds: pick(random, this.#state().sds).name, device, lastId: 0 };
  }

  /** A device is to be emptied, or no longer. */
  left(random: Random): Change | undefined {
    const leaving = this.devices.find((device) => device?.leaving);
    if (leaving !== undefined) return { type: "device-leaving", id: leaving.id, leaving: false };
    const { id } = this.devices[pick(random, this.present)] as Device;
    return this.present.length > 3 ? { type: "device-leaving", id, leaving: true } : undefined;
  }

  /** A device that was to be emptied, and is, goes. */
  removed(): Change | undefined {
    const empty = this.present.find(
      (device) =>
        this.devices[device]?.leaving &&
        this.serves(device) &&
        this.groups.every((group) => !group.slice(0, 3).includes(device)),
    );
    if (empty === undefined) return undefined;
    const { node, device } = this.#places().byPlace[empty] as Place;
    return node.devices.length > 1
      ? { type: "device-removed", id: device.id }
      : { type: "sds-removed", name: node.name };
  }

  /** What devices that are none any more have held goes. */
  sweep(): void {
    const isOurs = (path: string) => this.devices.some((device) => path.startsWith(`${device?.path}/`));
    for (const path of this.#disk.paths()) if (path.startsWith("/sds/") && !isOurs(path)) this.#disk.remove(path);
    for (const label of this.#disk.labels) if (!isOurs(label)) this.#disk.labels.delete(label);
  }

  /** Chooses how; what it answers is for the MDM to record first, and the device fails only then. */
  harm(random: Random, device: number): { readonly how: (typeof HARMS)[number]; readonly changes: readonly Change[] } {
    const { node, device: own } = this.#places().byPlace[device] as Place;
    const { id } = own;
    const { name } = node;
    const how = pick(random, HARMS);
    const directory = this.directory(device);
    switch (how) {
      case "stop":
        return { how, changes: [{ type: "device-state", id, state: "stopped", reason: "an injected fault" }] };
      case "stop its node":
        return { how, changes: [{ type: "sds-state", name, state: "stopped" }] };
      case "rest its node":
        return { how, changes: this.rested(device) };
      case "lose its node":
        return { how, changes: [{ type: "sds-state", name, state: "decoupled" }] };
    }
    this.#failing.add(id);
    // Every second one at some moment in the middle of what is done next.
    const after = random() < 0.5 ? 0 : Math.floor(MOST_OPERATIONS ** random());
    // Some come to themselves again, and nobody knows: whoever has met the failure must not forget it.
    const lasts = random() < 0.7 ? Number.POSITIVE_INFINITY : Math.ceil(MOST_OPERATIONS ** random());
    const { brokenReads, brokenSyncs, brokenWrites, brokenSums } = this.#disk;
    const broken = {
      "no-sync": [brokenSyncs],
      "no-write": [brokenWrites],
      "no-read": [brokenReads],
      dead: [brokenReads, brokenWrites],
      "no-sums": [brokenSums],
    }[how];
    for (const what of broken) this.#disk.breakAfter(after, what, directory, lasts);
    return { how, changes: [] };
  }

  /** It works again. */
  mend(device: number): void {
    this.#disk.repair(this.directory(device));
    this.#failing.delete(this.devices[device]?.id as Id);
  }

  declared(device: number, state: "up" | "failed"): Change {
    const reason = state === "up" ? "" : "it fails";
    return { type: "device-state", id: this.devices[device]?.id as Id, state, reason };
  }

  /** Copies move on. */
  moved(random: Random, facts: Facts): Change | undefined {
    const groups = this.planned ? this.#plan(facts) : this.#moveAtRandom(random, facts);
    return groups.length === 0 ? undefined : { type: "groups-changed", groups };
  }

  #newDevice(random: Random): Device {
    const number = ++this.#generations;
    const path = `/sds/${number}`;
    this.#disk.labels.add(`${path}/device.json`);
    const capacityBytes = 1 + Math.floor(random() * 3);
    return { id: idOf(SYSTEM, number), name: `disk${number}`, path, capacityBytes, state: "up", reason: "" };
  }

  /** As the mover does: the planner's decisions, by what the ledgers say, while nodes leave, are lost and come back. */
  #plan({ stale, givenUp }: Facts): (readonly [number, Group])[] {
    const counts = { stale: new Uint32Array(MOST_CHUNKS * 3), held: new Uint8Array(MOST_CHUNKS) };
    for (let group = 0; group < MOST_CHUNKS; group++) {
      counts.held[group] = givenUp(group) ? 0 : 1;
      for (const slot of SLOTS) counts.stale[group * 3 + slot] = ((stale[group] as number) >> slot) & 1;
    }
    const devices = plannerDevices(this.#state()).map((device, place): PlannerDevice => {
      return this.isUp(place) && !this.serves(place) ? { ...device, standing: "lost" } : device;
    });
    return [...planMoves(this.groups, devices, counts)];
  }

  /** What a planner may do: takes a third place for some groups, gives a place up, frees it. */
  #moveAtRandom(random: Random, { stale, givenUp, noticed }: Facts): (readonly [number, Group])[] {
    const moves: [number, Group][] = [];
    for (const [number, before] of this.groups.entries()) {
      if (random() < 0.5) continue;
      const group: [number, number, number, number] = [...before];
      const bad = stale[number] as number;
      const active = this.active(number);
      // What the engines know already the MDM may not have heard; what nobody knows must not be counted on.
      const good = SLOTS.filter(
        (slot) => (active & ~bad & BIT[slot]) !== 0 && (this.serves(group[slot]) || noticed(group[slot])),
      );
      const empty = SLOTS.find((slot) => group[slot] === -1);
      const spare = this.present.filter(
        (device) =>
          !this.devices[device]?.leaving && !this.besides(device).some((other) => group.slice(0, 3).includes(other)),
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
      } else continue;
      moves.push([number, group]);
    }
    return moves;
  }
}

/** A device and the node that has it. */
interface Place {
  readonly node: Sds;
  readonly device: Device;
}

/** By place, as long as the pool is this one. */
interface Known {
  readonly of: SystemState["pool"];
  readonly byPlace: readonly (Place | undefined)[];
  readonly devices: readonly (Device | undefined)[];
}

/** A node of that device's. */
function nodeWith(device: Device): Sds {
  const name = `sds-${device.name}`;
  return { id: `node${device.id}`, name, faultSet: name, state: "up", devices: [device] };
}

export function pick<T>(random: Random, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)] as T;
}
