import { BlockStore } from "../../../src/scaleio/sdc/block-store.ts";
import { Intent } from "../../../src/scaleio/sdc/intent.ts";
import { BIT, COUNT, SLOTS, type Slot } from "../../../src/scaleio/sdc/layout.ts";
import { createLedger, Ledger } from "../../../src/scaleio/sdc/ledger.ts";
import type { Session } from "../../../src/scaleio/sdc/session.ts";
import { Model } from "./model.ts";
import { Killed, SimulatedDisk } from "./simulated-disk.ts";

const MIB = 1024 * 1024;
const CHUNKS = 12;
const SECTOR = 512;
const DEVICES = 4;

/** Small, seeded, good enough (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  };
}

type State = Session["devices"][number]["state"];

/**
 * One seeded life of a volume against the model: random reads, writes, flushes and discards; devices that go down, fail and
 * come back; kills between any two file operations; power losses. Throws at the first answer that the model forbids.
 */
export class Simulation {
  readonly #random: () => number;
  readonly #disk: SimulatedDisk;
  readonly #model = new Model();
  readonly #states: State[] = Array.from({ length: DEVICES }, () => "up");
  /** One group a chunk. */
  readonly #groups: [number, number, number, number][] = [];
  #store: BlockStore | undefined;
  #now = 1_000_000;
  #tag = 0;
  #version = 1;
  #down = -1;

  constructor(readonly seed: number) {
    this.#random = randomOf(seed);
    this.#disk = new SimulatedDisk(this.#random);
    for (let group = 0; group < CHUNKS; group++)
      this.#groups.push([group % 4, (group + 1 + (Math.floor(group / 4) % 3)) % 4, -1, 0]);
    createLedger(this.#disk, "/rec", "v", CHUNKS);
    Intent.create(this.#disk, "/rec");
    for (let device = 0; device < DEVICES; device++) {
      this.#disk.labels.add(`/sds/${device}/device.json`);
      this.#disk.close(this.#disk.open(this.#file(device), { create: true }));
    }
    this.#reopen();
  }

  run(steps: number): void {
    for (let step = 0; step < steps; step++) {
      this.#now += Math.floor(this.#random() * 3000);
      if (this.#random() < 0.06) this.#disk.killAfter = Math.floor(this.#random() * 30);
      try {
        this.#step();
      } catch (error) {
        if (!this.#disk.dead) throw error;
      }
      this.#disk.killAfter = undefined;
      if (this.#disk.dead) {
        if (this.#random() < 0.4) {
          this.#disk.powerLoss();
          this.#model.powerLoss();
        } else this.#disk.crash();
        this.#reopen();
      }
    }
    this.#finish();
  }

  #step(): void {
    const dice = this.#random();
    if (dice < 0.42) this.#write();
    else if (dice < 0.7) this.#read();
    else if (dice < 0.78) this.#flush();
    else if (dice < 0.84) this.#discard();
    else if (dice < 0.89) this.#work();
    else if (dice < 0.93) this.#moveCopies();
    else if (dice < 0.97) this.#changeDevice();
    else {
      this.#disk.powerLoss();
      this.#model.powerLoss();
      this.#reopen();
    }
  }

  #write(): void {
    const { sector, count } = this.#range(40);
    const tag = ++this.#tag;
    const data = Buffer.alloc(count * SECTOR);
    new Uint32Array(data.buffer, data.byteOffset, data.length / 4).fill(tag);
    for (let i = 0; i < count; i++) this.#model.begin(sector + i, tag);
    this.#do((store) => store.write(data, 0, sector * SECTOR, data.length));
    for (let i = 0; i < count; i++) this.#model.acknowledge(sector + i, tag);
  }

  #discard(): void {
    const { sector, count } = this.#range(this.#random() < 0.5 ? 60 : 3000);
    for (let i = 0; i < count; i++) this.#model.begin(sector + i, 0);
    this.#do((store) => store.zero(sector * SECTOR, count * SECTOR));
    for (let i = 0; i < count; i++) this.#model.acknowledge(sector + i, 0);
  }

  #read(): void {
    const { sector, count } = this.#range(40);
    this.#check(sector, count);
  }

  #check(sector: number, count: number): void {
    const data = Buffer.alloc(count * SECTOR, 0xee);
    this.#do((store) => store.read(data, 0, sector * SECTOR, data.length));
    const words = new Uint32Array(data.buffer, data.byteOffset, data.length / 4);
    for (let i = 0; i < count; i++) {
      const tag = words[(i * SECTOR) / 4] as number;
      for (let word = 0; word < SECTOR / 4; word++) {
        if (words[(i * SECTOR) / 4 + word] !== tag) throw new Error(`sector ${sector + i} is mixed`);
      }
      const allowed = this.#model.live(sector + i);
      if (!allowed.has(tag)) throw new Error(`sector ${sector + i} holds ${tag}, allowed: ${[...allowed]}`);
      this.#model.observed(sector + i, tag);
    }
  }

  #flush(): void {
    this.#do((store) => store.flush());
    this.#model.flushed();
  }

  #work(): void {
    this.#live().work(1 + Math.floor(this.#random() * 6));
  }

  /** One device at a time is away, and only one without which every chunk has a good copy. */
  #changeDevice(): void {
    if (this.#down >= 0) {
      const device = this.#down;
      this.#disk.brokenReads.delete(this.#file(device));
      this.#disk.brokenWrites.delete(this.#file(device));
      this.#disk.brokenSyncs.delete(this.#file(device));
      // The MDM heard of a failure before the device is declared well.
      if (this.#states[device] === "up") this.#announce(device, "failed");
      this.#announce(device, "up");
      this.#down = -1;
      return;
    }
    if (this.#live().status().unsyncedChunks > 0) return;
    const device = Math.floor(this.#random() * DEVICES);
    const states = this.#ledger();
    const enough = this.#groups.every((group, chunk) =>
      SLOTS.some((slot) => group[slot] !== device && ((states[chunk] as number) & BIT[slot]) === 0),
    );
    if (!enough) return;
    const how = this.#random();
    this.#down = device;
    if (how < 0.5) this.#announce(device, "stopped");
    else if (how < 0.65) this.#disk.brokenSyncs.add(this.#file(device));
    else if (how < 0.8) this.#disk.brokenWrites.add(this.#file(device));
    else {
      this.#disk.brokenReads.add(this.#file(device));
      this.#disk.brokenWrites.add(this.#file(device));
    }
  }

  #announce(device: number, state: State): void {
    this.#states[device] = state;
    this.#version++;
    this.#live().reload(this.#session());
  }

  /** What the MDM's planner does, at random: takes a third place for some groups, gives a place up, frees it. */
  #moveCopies(): void {
    const states = this.#ledger();
    const { garbage } = this.#live().status();
    for (const [chunk, group] of this.#groups.entries()) {
      if (this.#random() < 0.5) continue;
      const state = states[chunk] as number;
      const active = this.#active(chunk);
      const good = SLOTS.filter((slot) => (active & ~state & BIT[slot]) !== 0);
      const empty = SLOTS.find((slot) => group[slot] === -1);
      const spare = [0, 1, 2, 3].filter((device) => !group.slice(0, 3).includes(device));
      if (group[3] !== 0) {
        if ((state & group[3]) === group[3] && garbage === 0) {
          for (const slot of SLOTS) if ((group[3] & BIT[slot]) !== 0) group[slot] = -1;
          group[3] = 0;
        }
      } else if (COUNT[active] === 2 && empty !== undefined) {
        group[empty as Slot] = spare[Math.floor(this.#random() * spare.length)] as number;
      } else if (good.length >= 2) {
        const stale = this.#random() < 0.7 ? SLOTS.find((slot) => (active & state & BIT[slot]) !== 0) : undefined;
        group[3] = BIT[stale ?? (good[Math.floor(this.#random() * good.length)] as Slot)];
      }
    }
    this.#version++;
    this.#live().reload(this.#session());
  }

  #active(chunk: number): number {
    const group = this.#groups[chunk] as [number, number, number, number];
    return SLOTS.reduce<number>((mask, slot) => mask | (group[slot] >= 0 ? BIT[slot] : 0), 0) & ~group[3];
  }

  /** As the daemon reads it, beside the engine. It is not the daemon that is killed here. */
  #ledger(): Uint8Array {
    const { killAfter } = this.#disk;
    this.#disk.killAfter = undefined;
    const ledger = new Ledger(this.#disk, "/rec", "v", CHUNKS, { mend: false });
    ledger.close();
    this.#disk.killAfter = killAfter;
    return ledger.states;
  }

  /** All devices back, everything rebuilt: every sector as the model says, and both copies equal byte for byte. */
  #finish(): void {
    if (this.#down >= 0) this.#changeDevice();
    while (this.#live().work(64) > 0);
    const { staleCopies, unsyncedChunks, garbage } = this.#live().status();
    if (staleCopies + unsyncedChunks + garbage > 0)
      throw new Error(
        `${staleCopies} stale copies, ${unsyncedChunks} unsynced chunks and ${garbage} retired ones remain`,
      );
    this.#check(0, (CHUNKS * MIB) / SECTOR);
    this.#live().close();
    const copy = (chunk: number, slot: Slot) => {
      const fd = this.#disk.open(this.#file(this.#groups[chunk]?.[slot] as number));
      const data = Buffer.alloc(MIB);
      this.#disk.read(fd, data, 0, MIB, chunk * MIB);
      this.#disk.close(fd);
      return data;
    };
    for (let chunk = 0; chunk < CHUNKS; chunk++) {
      const [first, ...others] = SLOTS.filter((slot) => (this.#active(chunk) & BIT[slot]) !== 0);
      if (others.length === 0) throw new Error(`chunk ${chunk} has one copy`);
      for (const other of others) {
        if (!copy(chunk, first as Slot).equals(copy(chunk, other)))
          throw new Error(`the copies of chunk ${chunk} differ`);
      }
    }
  }

  #range(most: number): { sector: number; count: number } {
    const sectors = (CHUNKS * MIB) / SECTOR;
    // Near a chunk's border as often as not: that is where the arithmetic is.
    const base =
      this.#random() < 0.5
        ? Math.floor(this.#random() * sectors)
        : Math.floor(this.#random() * CHUNKS) * (MIB / SECTOR) - 8;
    const sector = Math.min(Math.max(0, base), sectors - 1);
    return { sector, count: Math.min(1 + Math.floor(this.#random() * most), sectors - sector) };
  }

  #reopen(): void {
    this.#store = undefined;
    this.#store = new BlockStore(this.#disk, this.#session(), () => this.#now);
  }

  #live(): BlockStore {
    if (this.#store === undefined) throw new Error("no store");
    return this.#store;
  }

  /** An answer of a process that has been killed never reaches anybody. */
  #do(operation: (store: BlockStore) => void): void {
    operation(this.#live());
    if (this.#disk.dead) throw new Killed("killed");
  }

  #session(): Session {
    return {
      format: 1,
      volumeId: "v",
      sizeBytes: CHUNKS * MIB,
      mapVersion: this.#version,
      devices: this.#states.map((state, device) => ({ name: String(device), file: this.#file(device), state })),
      groups: this.#groups.flat(),
      firstGroup: 0,
      recordDir: "/rec",
    };
  }

  #file(device: number): string {
    return `/sds/${device}/v.vol`;
  }
}
