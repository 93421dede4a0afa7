import { BlockStore } from "../../../src/scaleio/sdc/block-store.ts";
import { Intent } from "../../../src/scaleio/sdc/intent.ts";
import { Layout, type Slot } from "../../../src/scaleio/sdc/layout.ts";
import { createLedger } from "../../../src/scaleio/sdc/ledger.ts";
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
  readonly #groups: number[] = [];
  #store: BlockStore | undefined;
  #now = 1_000_000;
  #tag = 0;
  #version = 1;
  #down = -1;

  constructor(readonly seed: number) {
    this.#random = randomOf(seed);
    this.#disk = new SimulatedDisk(this.#random);
    for (let group = 0; group < 16; group++)
      this.#groups.push(group % 4, (group + 1 + (Math.floor(group / 4) % 3)) % 4);
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
    else if (dice < 0.9) this.#work();
    else if (dice < 0.96) this.#changeDevice();
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

  /** One device at a time is away; it may be replaced by another only when everything is good again. */
  #changeDevice(): void {
    if (this.#down >= 0) {
      const device = this.#down;
      this.#disk.brokenReads.delete(this.#file(device));
      this.#disk.brokenWrites.delete(this.#file(device));
      // The MDM heard of a failure before the device is declared well.
      if (this.#states[device] === "up") this.#announce(device, "failed");
      this.#announce(device, "up");
      this.#down = -1;
      return;
    }
    const { staleCopies, unsyncedChunks } = this.#live().status();
    if (staleCopies + unsyncedChunks > 0) return;
    const device = Math.floor(this.#random() * DEVICES);
    const how = this.#random();
    this.#down = device;
    if (how < 0.5) this.#announce(device, "stopped");
    else if (how < 0.75) this.#disk.brokenWrites.add(this.#file(device));
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

  /** All devices back, everything rebuilt: every sector as the model says, and both copies equal byte for byte. */
  #finish(): void {
    if (this.#down >= 0) this.#changeDevice();
    while (this.#live().work(64) > 0);
    const { staleCopies, unsyncedChunks } = this.#live().status();
    if (staleCopies + unsyncedChunks > 0)
      throw new Error(`${staleCopies} stale copies and ${unsyncedChunks} unsynced chunks remain`);
    this.#check(0, (CHUNKS * MIB) / SECTOR);
    this.#live().close();
    const layout = new Layout({ sizeBytes: CHUNKS * MIB, firstGroup: 0 }, this.#groups);
    const copy = (chunk: number, slot: Slot) => {
      const fd = this.#disk.open(this.#file(layout.device(chunk, slot)));
      const data = Buffer.alloc(MIB);
      this.#disk.read(fd, data, 0, MIB, chunk * MIB);
      this.#disk.close(fd);
      return data;
    };
    for (let chunk = 0; chunk < CHUNKS; chunk++) {
      if (!copy(chunk, 0).equals(copy(chunk, 1))) throw new Error(`the copies of chunk ${chunk} differ`);
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
      groups: this.#groups,
      firstGroup: 0,
      recordDir: "/rec",
    };
  }

  #file(device: number): string {
    return `/sds/${device}/v.vol`;
  }
}
