import type { Layer } from "../../../../src/scaleio/layers.ts";
import type { Group, GroupTable } from "../../../../src/scaleio/model.ts";
import { BIT, INHERITED, SLOTS, type Slot } from "../../../../src/scaleio/sdc/layout.ts";
import type { Session } from "../../../../src/scaleio/sdc/session.ts";
import type { SimulatedDisk } from "./disk.ts";
import type { Model } from "./model.ts";
import type { SimulatedPool } from "./pool.ts";
import { MIB, SECTOR } from "./units.ts";

const SECTORS = MIB / SECTOR;

/** A layer as it stands between two steps. */
export interface Standing {
  readonly layer: Layer;
  /** As the ledger on disk has them. */
  readonly states: Uint8Array;
  /** What the writing volume may answer; undefined: the layer is frozen. */
  readonly model: Model | undefined;
  /** Whether all copies of all chunks have been compared since the last unclean stop. */
  readonly compared: boolean;
  /** Places of devices that the writing volume's engine takes for failed. */
  readonly failed: ReadonlySet<number>;
  /** Whether copies of the chunk may hold rotten bytes. */
  readonly isRotten: (chunk: number) => boolean;
}

/**
 * What must hold after every step, by what lies on the devices (design.md 3, invariants 1 to 5): every copy that the ledger
 * calls good holds, sector by sector, what the model allows, and all of them hold the same. Looks at the chunks in which
 * something has changed since it last looked.
 */
export class Invariants {
  readonly #disk: SimulatedDisk;
  readonly #pool: SimulatedPool;
  /** By layer, when it was last looked at. */
  readonly #seen = new Map<string, Pick<Standing, "states" | "failed"> & { readonly groups: GroupTable }>();
  readonly #copies = [Buffer.alloc(MIB), Buffer.alloc(MIB), Buffer.alloc(MIB)] as const;

  constructor(disk: SimulatedDisk, pool: SimulatedPool) {
    this.#disk = disk;
    this.#pool = pool;
  }

  check(standings: readonly Standing[]): void {
    for (const standing of standings) {
      const { layer, states } = standing;
      const before = this.#seen.get(layer.id);
      const changed = new Set<number>();
      for (const device of this.#pool.present)
        for (const chunk of this.#disk.changed.get(this.#pool.file(device, layer.id)) ?? []) changed.add(chunk);
      for (let chunk = 0; chunk < states.length; chunk++) {
        if (before?.states[chunk] === states[chunk]) continue;
        changed.add(chunk);
        if (before !== undefined && chunk < before.states.length) this.#checkGivenUp(standing, before, chunk);
      }
      for (const chunk of changed) if (chunk < states.length) this.#checkChunk(standing, chunk);
      this.#seen.set(layer.id, { states, failed: standing.failed, groups: this.#pool.groups });
      for (const device of this.#pool.present) this.#disk.changed.delete(this.#pool.file(device, layer.id));
    }
  }

  /** No good copy, on a device that is away maybe, is given up for one on a device of which it was known that it has failed. */
  #checkGivenUp(
    { layer, states, failed }: Standing,
    before: { readonly states: Uint8Array; readonly failed: ReadonlySet<number>; readonly groups: GroupTable },
    chunk: number,
  ): void {
    if (before.groups[chunk]?.join() !== this.#pool.groups[chunk]?.join()) return;
    if (((states[chunk] as number) & INHERITED) !== 0) return;
    const left = this.#goodDevices(chunk, states[chunk] as number);
    if (left.length === 0 || !left.every((device) => failed.has(device) && before.failed.has(device))) return;
    const complains = (file: string) => this.#disk.complained.has(file) || this.#disk.complained.has(`${file}.sum`);
    const given = this.#goodDevices(chunk, before.states[chunk] as number).find(
      (device) => !before.failed.has(device) && !complains(this.#pool.file(device, layer.id)),
    );
    if (given !== undefined)
      throw new Error(
        `chunk ${chunk} of layer ${layer.id}: the copy on device ${given} is given up for one on ${left}, which has failed`,
      );
  }

  /** All of them, whether anything has changed or not. */
  checkAll(standings: readonly Standing[]): void {
    for (const standing of standings)
      for (let chunk = 0; chunk < standing.states.length; chunk++) this.#checkChunk(standing, chunk);
  }

  /** After a flush: no copy that counts as good has anything that a power loss would take (invariant 4). */
  checkFlushed({ layer, states }: Standing): void {
    for (const { chunk, device } of this.#good(states)) {
      if (!this.#disk.isSynced(this.#pool.file(device, layer.id), chunk * MIB, MIB))
        throw new Error(`after a flush chunk ${chunk} of layer ${layer.id} is not on disk on device ${device}`);
    }
  }

  /** After a write: while a device rests it has two copies all the same, if there are two others that work. */
  checkWritten({ layer, states, failed, isRotten }: Standing, by: Session, position: number, length: number): void {
    for (let chunk = Math.floor(position / MIB); chunk * MIB < position + length; chunk++) {
      const at = 4 * (by.firstGroup + chunk);
      const retired = by.groups[at + 3] as number;
      const slots = SLOTS.filter((slot) => (by.groups[at + slot] as number) >= 0);
      const deviceOf = (slot: Slot) => by.groups[at + slot] as number;
      const works = (device: number) =>
        by.devices[device]?.state === "up" && this.#pool.serves(device) && !failed.has(device);
      const rests = (device: number) => by.devices[device]?.resting === true && by.devices[device]?.state !== "up";
      if (isRotten(chunk) || !slots.some((slot) => rests(deviceOf(slot)))) continue;
      const working = slots.filter((slot) => works(deviceOf(slot)));
      if (working.filter((slot) => (retired & BIT[slot]) === 0).length < 2) continue;
      if (working.filter((slot) => ((states[chunk] as number) & BIT[slot]) === 0).length < 2)
        throw new Error(
          `chunk ${chunk} of layer ${layer.id} was written, and has one copy beside that on a device that rests`,
        );
    }
  }

  /** After a discard: it takes no space on any good copy (invariant 8). */
  checkDiscarded({ layer, states }: Standing, position: number, length: number): void {
    for (const { chunk, device } of this.#good(states)) {
      const first = Math.max(position, chunk * MIB);
      const end = Math.min(position + length, (chunk + 1) * MIB);
      if (end > first && this.#disk.heldIn(this.#pool.file(device, layer.id), first, end - first) > 0)
        throw new Error(`what was discarded of chunk ${chunk} of layer ${layer.id} takes space on device ${device}`);
    }
  }

  *#good(states: Uint8Array): Generator<{ chunk: number; device: number }> {
    for (let chunk = 0; chunk < states.length; chunk++)
      if (((states[chunk] as number) & INHERITED) === 0)
        for (const device of this.#goodDevices(chunk, states[chunk] as number)) yield { chunk, device };
  }

  #goodDevices(chunk: number, state: number): number[] {
    const group = this.#pool.groups[chunk] as Group;
    return SLOTS.filter((slot) => group[slot] >= 0 && (state & BIT[slot]) === 0).map((slot) => group[slot]);
  }

  #checkChunk({ layer, states, model, compared, isRotten }: Standing, chunk: number): void {
    const state = states[chunk] as number;
    if ((state & INHERITED) !== 0 || isRotten(chunk)) return;
    const where = `chunk ${chunk} of layer ${layer.id}`;
    const devices = this.#goodDevices(chunk, state);
    if (devices.length === 0) throw new Error(`${where} has no good copy`);
    devices.forEach((device, index) => {
      const copy = this.#copies[index] as Buffer;
      if (!this.#disk.peek(this.#pool.file(device, layer.id), copy, chunk * MIB)) copy.fill(0);
      const first = this.#copies[0];
      if (index > 0 && copy.equals(first)) return;
      if (index > 0 && compared && !this.#differWhereSuspect(first, copy, model, chunk))
        throw new Error(`the copies of ${where} differ on devices ${devices[0]} and ${device}`);
      if (model !== undefined) this.#checkContent(copy, model, chunk, `${where} on device ${device}`);
    });
  }

  #differWhereSuspect(one: Buffer, other: Buffer, model: Model | undefined, chunk: number): boolean {
    if (model === undefined) return false;
    for (let i = 0; i < SECTORS; i++) {
      const [at, end] = [i * SECTOR, (i + 1) * SECTOR];
      if (one.compare(other, at, end, at, end) !== 0 && !model.isSuspect(chunk * SECTORS + i)) return false;
    }
    return true;
  }

  #checkContent(copy: Buffer, model: Model, chunk: number, where: string): void {
    const words = new Uint32Array(copy.buffer, copy.byteOffset, MIB / 4);
    for (let i = 0; i < SECTORS; i++) {
      const tag = words[(i * SECTOR) / 4] as number;
      const allowed = model.live(chunk * SECTORS + i);
      if (!allowed.has(tag)) throw new Error(`sector ${i} of ${where} holds ${tag}, allowed: ${[...allowed]}`);
    }
  }
}
