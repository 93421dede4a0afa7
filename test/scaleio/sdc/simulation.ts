import { allLayers, type Layer, ownLayer } from "../../../src/scaleio/layers.ts";
import type { LayerRef, VolumeRecord } from "../../../src/scaleio/model.ts";
import { type PlannerDevice, planMoves } from "../../../src/scaleio/pool/planner.ts";
import { BlockStore } from "../../../src/scaleio/sdc/block-store.ts";
import { Intent } from "../../../src/scaleio/sdc/intent.ts";
import { ALL_SLOTS, BIT, COUNT, INHERITED, SLOTS, type Slot } from "../../../src/scaleio/sdc/layout.ts";
import { createLedger, Ledger } from "../../../src/scaleio/sdc/ledger.ts";
import type { Session } from "../../../src/scaleio/sdc/session.ts";
import { randomOf } from "../../helpers/random.ts";
import { Model } from "./model.ts";
import { Killed, SimulatedDisk } from "./simulated-disk.ts";

const MIB = 1024 * 1024;
/** As many placement groups, so that a chunk has a group of its own. */
const MOST_CHUNKS = 8;
const CHUNKS = 6;
const SECTOR = 512;
const DEVICES = 4;
const MOST_VOLUMES = 3;

type State = Session["devices"][number]["state"];
type Volume = {
  -readonly [K in keyof Pick<VolumeRecord, "id" | "sizeBytes" | "firstGroup" | "layerId" | "lower">]: VolumeRecord[K];
};

/** A volume with its engine and what it may answer. */
interface Mounted {
  record: Volume;
  readonly model: Model;
  store: BlockStore | undefined;
}

/**
 * One seeded life of a volume and its snapshots against the model: random reads, writes, flushes and discards; devices that go
 * down, fail and come back; copies that move; volumes that grow, are snapshot, overwritten and removed; kills between any two
 * file operations; power losses. Throws at the first answer that the model forbids.
 */
export class Simulation {
  readonly #random: () => number;
  readonly #disk: SimulatedDisk;
  readonly #states: State[] = Array.from({ length: DEVICES }, () => "up");
  /** One group a chunk. */
  readonly #groups: [number, number, number, number][] = [];
  readonly #volumes: Mounted[] = [];
  #now = 1_000_000;
  #tag = 0;
  #version = 1;
  #down = -1;
  #lastLayer = 0;
  /** A node that is to be emptied. */
  #leaving = -1;
  /** Every second life is one with checksums. */
  readonly #checksum: boolean;
  /** In every third life copies move as the planner says, in the others in any way that the rules allow. */
  readonly #planned: boolean;

  constructor(readonly seed: number) {
    this.#checksum = seed % 2 === 0;
    this.#planned = seed % 3 === 0;
    this.#random = randomOf(seed);
    this.#disk = new SimulatedDisk(this.#random);
    for (let group = 0; group < MOST_CHUNKS; group++)
      this.#groups.push([group % 4, (group + 1 + (Math.floor(group / 4) % 3)) % 4, -1, 0]);
    for (let device = 0; device < DEVICES; device++) this.#disk.labels.add(`/sds/${device}/device.json`);
    const record: Volume = { id: this.#newId(), sizeBytes: CHUNKS * MIB, firstGroup: 0 };
    this.#createLayer(ownLayer(record as VolumeRecord), 0);
    this.#volumes.push({ record, model: new Model(), store: undefined });
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
        if (this.#random() < 0.4) this.#losePower();
        else this.#disk.crash();
        this.#reopen();
      }
    }
    this.#finish();
  }

  #step(): void {
    const volume = this.#pick(this.#volumes);
    const dice = this.#random();
    if (dice < 0.4) this.#write(volume);
    else if (dice < 0.66) this.#read(volume);
    else if (dice < 0.74) this.#flush(volume);
    else if (dice < 0.79) this.#discard(volume);
    else if (dice < 0.85) this.#work(volume);
    else if (dice < 0.89) this.#planned ? this.#plan() : this.#moveCopies();
    else if (dice < 0.93) this.#changeDevice();
    else if (dice < 0.95) this.#snapshot(volume);
    else if (dice < 0.96) this.#grow(volume);
    else if (dice < 0.97) this.#remove(volume);
    else if (dice < 0.975) this.#overwrite(volume);
    else if (dice < 0.985) this.#rot();
    else {
      this.#losePower();
      this.#reopen();
    }
  }

  #losePower(): void {
    this.#disk.powerLoss();
    for (const { model } of this.#volumes) model.powerLoss();
  }

  #write(volume: Mounted): void {
    const { sector, count } = this.#range(volume, 40);
    const tag = ++this.#tag;
    const data = Buffer.alloc(count * SECTOR);
    new Uint32Array(data.buffer, data.byteOffset, data.length / 4).fill(tag);
    for (let i = 0; i < count; i++) volume.model.begin(sector + i, tag);
    this.#do(volume, (store) => store.write(data, 0, sector * SECTOR, data.length));
    for (let i = 0; i < count; i++) volume.model.acknowledge(sector + i, tag);
  }

  #discard(volume: Mounted): void {
    const { sector, count } = this.#range(volume, this.#random() < 0.5 ? 60 : 3000);
    for (let i = 0; i < count; i++) volume.model.begin(sector + i, 0);
    this.#do(volume, (store) => store.zero(sector * SECTOR, count * SECTOR));
    for (let i = 0; i < count; i++) volume.model.acknowledge(sector + i, 0);
  }

  #read(volume: Mounted): void {
    const { sector, count } = this.#range(volume, 40);
    this.#check(volume, sector, count);
  }

  #check(volume: Mounted, sector: number, count: number): void {
    const data = Buffer.alloc(count * SECTOR, 0xee);
    this.#do(volume, (store) => store.read(data, 0, sector * SECTOR, data.length));
    const words = new Uint32Array(data.buffer, data.byteOffset, data.length / 4);
    const where = (i: number) => `sector ${sector + i} of volume ${volume.record.id}`;
    for (let i = 0; i < count; i++) {
      const tag = words[(i * SECTOR) / 4] as number;
      for (let word = 0; word < SECTOR / 4; word++) {
        if (words[(i * SECTOR) / 4 + word] !== tag) throw new Error(`${where(i)} is mixed`);
      }
      const allowed = volume.model.live(sector + i);
      if (!allowed.has(tag)) throw new Error(`${where(i)} holds ${tag}, allowed: ${[...allowed]}`);
      volume.model.observed(sector + i, tag);
    }
  }

  #flush(volume: Mounted): void {
    this.#do(volume, (store) => store.flush());
    volume.model.flushed();
  }

  /** As the repairer does: an engine works, or a process of its own repairs a frozen layer; then layers nobody needs go. */
  #work(volume: Mounted): void {
    const budget = 1 + Math.floor(this.#random() * 6);
    const frozen = [...this.#layers().values()].filter(({ owner }) => owner === undefined);
    if (frozen.length === 0 || this.#random() < 0.5) {
      this.#do(volume, (store) => store.work(budget));
      const { absorbed, layerId } = this.#live(volume).status();
      if (absorbed.length > 0) this.#drop(layerId, absorbed);
      return;
    }
    const layer = this.#pick(frozen);
    const store = new BlockStore(this.#disk, this.#session(layer), () => this.#now);
    store.work(budget);
    const { absorbed } = store.status();
    store.close();
    if (absorbed.length > 0) this.#drop(layer.id, absorbed);
  }

  #drop(layerId: string, absorbed: readonly string[]): void {
    this.#asDaemon(() => {
      for (const { record } of this.#layers()
        .get(layerId)
        ?.volumes.map((found) => this.#byId(found.id)) ?? [])
        record.lower = (record.lower ?? []).filter(({ id }) => !absorbed.includes(id));
    });
    this.#reloadAll();
    this.#sweep(absorbed);
  }

  #sweep(ids: readonly string[]): void {
    const needed = this.#layers();
    for (const id of ids) {
      if (needed.has(id)) continue;
      for (let device = 0; device < DEVICES; device++) {
        this.#disk.remove(file(device, id));
        this.#disk.remove(`${file(device, id)}.sum`);
      }
      for (const name of ["ledger.1", "ledger.2", "intent"]) this.#disk.remove(`/rec/${id}/${name}`);
    }
  }

  /** The volume goes over to a layer of its own; when the old one is settled, a snapshot of it is recorded. */
  #snapshot(volume: Mounted): void {
    if (this.#volumes.length >= MOST_VOLUMES) return;
    if (!this.#freeze(volume)) return;
    const { lower, sizeBytes } = volume.record;
    const record: Volume = { id: this.#newId(), sizeBytes, firstGroup: 0, lower: lower ?? [] };
    this.#asDaemon(() => this.#createLayer(ownLayer(record as VolumeRecord), sizeBytes / MIB));
    const snapshot: Mounted = { record, model: volume.model.copy(), store: undefined };
    this.#volumes.push(snapshot);
    this.#reloadAll();
    this.#open(snapshot);
  }

  #freeze(volume: Mounted): boolean {
    const old = ownLayer(volume.record as VolumeRecord);
    const id = this.#newId();
    this.#asDaemon(() => this.#createLayer({ id, sizeBytes: old.sizeBytes }, old.sizeBytes / MIB));
    volume.record.layerId = id;
    volume.record.lower = [old, ...(volume.record.lower ?? [])];
    this.#do(volume, (store) => store.seal());
    volume.store = undefined;
    this.#open(volume);
    // Sealing syncs all.
    volume.model.flushed();
    return this.#asDaemon(() => {
      const intent = new Intent(this.#disk, `/rec/${old.id}`, old.sizeBytes);
      intent.close();
      return intent.activeRegions().length === 0;
    });
  }

  #grow(volume: Mounted): void {
    const sizeBytes = Math.min(MOST_CHUNKS, volume.record.sizeBytes / MIB + 1 + Math.floor(this.#random() * 2)) * MIB;
    const session = { ...this.#sessionOf(volume), sizeBytes };
    this.#do(volume, (store) => store.reload(session));
    // A death before the MDM's word is a growth that did not come about.
    volume.record.sizeBytes = sizeBytes;
  }

  #remove(volume: Mounted): void {
    if (this.#volumes.length < 2) return;
    this.#live(volume).close();
    const chain = [ownLayer(volume.record as VolumeRecord), ...(volume.record.lower ?? [])];
    this.#volumes.splice(this.#volumes.indexOf(volume), 1);
    this.#asDaemon(() => this.#sweep(chain.map(({ id }) => id)));
    this.#reloadAll();
  }

  /** The volume, not mapped for a moment, takes the content of another one. */
  #overwrite(volume: Mounted): void {
    const source = this.#pick(this.#volumes);
    if (source === volume || source.record.sizeBytes < volume.record.sizeBytes) return;
    if (!this.#freeze(source)) return;
    this.#live(volume).close();
    volume.store = undefined;
    const before = [ownLayer(volume.record as VolumeRecord), ...(volume.record.lower ?? [])];
    const { sizeBytes, lower } = source.record;
    const id = this.#newId();
    this.#asDaemon(() => this.#createLayer({ id, sizeBytes }, sizeBytes / MIB));
    Object.assign(volume.record, { layerId: id, lower, sizeBytes });
    volume.model.become(source.model);
    this.#asDaemon(() => this.#sweep(before.map((layer) => layer.id)));
    this.#open(volume);
    this.#reloadAll();
  }

  /**
   * A stored bit of a copy changes. Where the checksums on disk are good, that is: in a region that has been quiet; and one
   * rotten block at a time, until a scan has been everywhere.
   */
  #rot(): void {
    if (!this.#checksum || this.#down >= 0) return;
    this.#scanAll();
    const layer = this.#pick([...this.#layers().values()]);
    this.#asDaemon(() => {
      const intent = new Intent(this.#disk, `/rec/${layer.id}`, layer.sizeBytes);
      intent.close();
      const states = this.#ledger(layer);
      const chunk = Math.floor(this.#random() * states.length);
      const state = states[chunk] as number;
      const good = SLOTS.filter((slot) => (this.#active(chunk) & ~state & BIT[slot]) !== 0);
      if ((state & INHERITED) !== 0 || good.length < 2 || intent.isActive(chunk * MIB)) return;
      const device = this.#groups[chunk]?.[this.#pick(good)] as number;
      for (let i = 0; i < 50; i++)
        this.#disk.rot(file(device, layer.id), chunk * MIB + Math.floor(this.#random() * MIB));
    });
  }

  #scanAll(): void {
    for (const volume of this.#volumes) this.#do(volume, (store) => store.scan(0, MOST_CHUNKS));
    for (const layer of [...this.#layers().values()].filter(({ owner }) => owner === undefined)) {
      const store = new BlockStore(this.#disk, this.#session(layer), () => this.#now);
      store.scan(0, MOST_CHUNKS);
      store.close();
    }
  }

  /** One device at a time is away, and only one without which every chunk has a good copy. */
  #changeDevice(): void {
    if (this.#down >= 0) {
      const device = this.#down;
      this.#disk.repair(`/sds/${device}/`);
      // The MDM heard of a failure before the device is declared well.
      if (this.#states[device] === "up") this.#announce(device, "failed");
      this.#announce(device, "up");
      this.#down = -1;
      return;
    }
    if (this.#volumes.some((volume) => this.#live(volume).status().unsyncedChunks > 0)) return;
    if (this.#checksum) this.#scanAll();
    const device = Math.floor(this.#random() * DEVICES);
    const states = this.#ledgers();
    const enough = this.#groups.every((group, chunk) =>
      SLOTS.some((slot) => group[slot] !== device && ((states[chunk] as number) & BIT[slot]) === 0),
    );
    if (!enough) return;
    const how = this.#random();
    this.#down = device;
    const prefix = `/sds/${device}/`;
    if (how < 0.4) this.#announce(device, "stopped");
    else if (how < 0.55) this.#disk.brokenSyncs.add(prefix);
    else if (how < 0.8) this.#disk.brokenWrites.add(prefix);
    else {
      this.#disk.brokenReads.add(prefix);
      this.#disk.brokenWrites.add(prefix);
    }
  }

  #announce(device: number, state: State): void {
    this.#states[device] = state;
    this.#version++;
    this.#reloadAll();
  }

  /** As the mover does: the planner's decisions, by what the ledgers say, while nodes leave, are lost and come back. */
  #plan(): void {
    if (this.#checksum && this.#down < 0) this.#scanAll();
    if (this.#random() < 0.2) this.#leaving = this.#leaving < 0 ? Math.floor(this.#random() * DEVICES) : -1;
    const facts = { stale: new Uint32Array(MOST_CHUNKS * 3), held: new Uint8Array(MOST_CHUNKS) };
    const given = this.#allGivenUp();
    const states = this.#ledgers();
    for (let chunk = 0; chunk < MOST_CHUNKS; chunk++) {
      facts.held[chunk] = given(chunk) ? 0 : 1;
      for (const slot of SLOTS) facts.stale[chunk * 3 + slot] = ((states[chunk] as number) >> slot) & 1;
    }
    const standing = (device: number): PlannerDevice["standing"] =>
      device === this.#down ? "lost" : device === this.#leaving ? "leaving" : "home";
    const devices = this.#states.map((_, device) => ({
      capacityBytes: 1,
      faultUnit: String(device),
      standing: standing(device),
    }));
    for (const [number, group] of planMoves(this.#groups, devices, facts)) this.#groups[number] = [...group];
    this.#version++;
    this.#reloadAll();
  }

  /** What a planner may do, at random: takes a third place for some groups, gives a place up, frees it. */
  #moveCopies(): void {
    if (this.#checksum && this.#down < 0) this.#scanAll();
    const states = this.#ledgers();
    const given = this.#allGivenUp();
    const down = String(this.#down);
    const noticed = this.#volumes.every((volume) =>
      this.#live(volume)
        .status()
        .failedDevices.some(({ name }) => name === down),
    );
    for (const [chunk, group] of this.#groups.entries()) {
      if (this.#random() < 0.5) continue;
      const state = states[chunk] as number;
      const active = this.#active(chunk);
      // What the engines know already the MDM may not have heard; what nobody knows must not be counted on.
      const good = SLOTS.filter(
        (slot) => (active & ~state & BIT[slot]) !== 0 && (noticed || group[slot] !== this.#down),
      );
      const empty = SLOTS.find((slot) => group[slot] === -1);
      const spare = [0, 1, 2, 3].filter((device) => !group.slice(0, 3).includes(device));
      if (group[3] !== 0) {
        if (given(chunk)) {
          for (const slot of SLOTS) if ((group[3] & BIT[slot]) !== 0) group[slot] = -1;
          group[3] = 0;
        }
      } else if (COUNT[active] === 2 && empty !== undefined) {
        group[empty as Slot] = spare[Math.floor(this.#random() * spare.length)] as number;
      } else if (good.length >= 2) {
        const stale = this.#random() < 0.7 ? SLOTS.find((slot) => (active & state & BIT[slot]) !== 0) : undefined;
        group[3] = BIT[stale ?? this.#pick(good)];
      }
    }
    this.#version++;
    this.#reloadAll();
  }

  /** Whether no layer has anything in a chunk's retired slots, and its space has been returned. */
  #allGivenUp(): (chunk: number) => boolean {
    const garbage = this.#volumes.some((volume) => this.#live(volume).status().garbage > 0);
    const layers = this.#asDaemon(() => [...this.#layers().values()].map((layer) => this.#ledger(layer)));
    return (chunk) => {
      const retired = (this.#groups[chunk] as number[])[3] as number;
      return (
        !garbage &&
        layers.every((states) => chunk >= states.length || ((states[chunk] as number) & retired) === retired)
      );
    };
  }

  #active(chunk: number): number {
    const group = this.#groups[chunk] as [number, number, number, number];
    return SLOTS.reduce<number>((mask, slot) => mask | (group[slot] >= 0 ? BIT[slot] : 0), 0) & ~group[3];
  }

  /** Per group, which slots are stale in some layer. */
  #ledgers(): Uint8Array {
    return this.#asDaemon(() => {
      const all = new Uint8Array(MOST_CHUNKS);
      for (const layer of this.#layers().values()) {
        const states = this.#ledger(layer);
        for (let chunk = 0; chunk < states.length; chunk++)
          all[chunk] = (all[chunk] as number) | ((states[chunk] as number) & ALL_SLOTS);
      }
      return all;
    });
  }

  #ledger({ id, sizeBytes }: LayerRef): Uint8Array {
    const ledger = new Ledger(this.#disk, `/rec/${id}`, id, sizeBytes / MIB, { mend: false });
    ledger.close();
    return ledger.states;
  }

  /** Runs what the daemon does beside the engines. It is not the daemon that is killed here. */
  #asDaemon<T>(task: () => T): T {
    const { killAfter } = this.#disk;
    this.#disk.killAfter = undefined;
    const result = task();
    this.#disk.killAfter = killAfter;
    return result;
  }

  /** All devices back, everything rebuilt: every sector as the model says, and both copies equal byte for byte. */
  #finish(): void {
    if (this.#down >= 0) this.#changeDevice();
    if (this.#checksum) this.#scanAll();
    for (let round = 0; round < 3; round++) {
      for (const volume of this.#volumes) {
        while (this.#live(volume).work(64) > 0);
        const { absorbed, layerId } = this.#live(volume).status();
        if (absorbed.length > 0) this.#drop(layerId, absorbed);
      }
      for (const layer of [...this.#layers().values()].filter(({ owner }) => owner === undefined)) {
        const now = this.#layers().get(layer.id);
        if (now === undefined) continue;
        const store = new BlockStore(this.#disk, this.#session(now), () => this.#now);
        while (store.work(64) > 0);
        const status = store.status();
        store.close();
        if (status.absorbed.length > 0) this.#drop(layer.id, status.absorbed);
      }
    }
    for (const volume of this.#volumes) while (this.#live(volume).work(64) > 0);
    for (const volume of this.#volumes) {
      const { staleCopies, unsyncedChunks, garbage, absorbing } = this.#live(volume).status();
      if (staleCopies + unsyncedChunks + garbage + absorbing > 0) {
        const left = `${staleCopies} stale copies, ${unsyncedChunks} unsynced chunks, ${garbage} retired and ${absorbing} lower ones`;
        throw new Error(`volume ${volume.record.id}: ${left} remain`);
      }
      this.#check(volume, 0, volume.record.sizeBytes / SECTOR);
    }
    if (this.#volumes.length === 1 && this.#layers().size > 1) throw new Error("layers that nobody needs remain");
    for (const volume of this.#volumes) this.#live(volume).close();
    for (const layer of this.#layers().values()) this.#compareCopies(layer);
    this.#checkNothingLeft();
  }

  #compareCopies(layer: Layer): void {
    const states = this.#ledger(layer);
    const copy = (chunk: number, slot: Slot) => {
      const fd = this.#disk.open(file(this.#groups[chunk]?.[slot] as number, layer.id));
      const data = Buffer.alloc(MIB);
      this.#disk.read(fd, data, 0, MIB, chunk * MIB);
      this.#disk.close(fd);
      return data;
    };
    for (let chunk = 0; chunk < states.length; chunk++) {
      if (((states[chunk] as number) & INHERITED) !== 0) continue;
      const [first, ...others] = SLOTS.filter((slot) => (this.#active(chunk) & BIT[slot]) !== 0);
      if (others.length === 0) throw new Error(`chunk ${chunk} has one copy`);
      for (const other of others) {
        if (!copy(chunk, first as Slot).equals(copy(chunk, other)))
          throw new Error(`the copies of chunk ${chunk} of layer ${layer.id} differ`);
      }
    }
  }

  #checkNothingLeft(): void {
    const needed = this.#layers();
    for (const path of this.#disk.paths()) {
      const id = /^\/(?:rec\/|sds\/\d+\/)(\w+)/.exec(path)?.[1] ?? "";
      if (!needed.has(id)) throw new Error(`${path} is left`);
    }
  }

  #range({ record }: Mounted, most: number): { sector: number; count: number } {
    const chunks = record.sizeBytes / MIB;
    const sectors = record.sizeBytes / SECTOR;
    // Near a chunk's border as often as not: that is where the arithmetic is.
    const base =
      this.#random() < 0.5
        ? Math.floor(this.#random() * sectors)
        : Math.floor(this.#random() * chunks) * (MIB / SECTOR) - 8;
    const sector = Math.min(Math.max(0, base), sectors - 1);
    return { sector, count: Math.min(1 + Math.floor(this.#random() * most), sectors - sector) };
  }

  #reopen(): void {
    for (const volume of this.#volumes) volume.store = undefined;
    for (const volume of this.#volumes) this.#open(volume);
    // Layers that a death left unrecorded.
    this.#sweep([...new Set(this.#disk.paths().map((path) => /^\/rec\/(\w+)/.exec(path)?.[1] ?? ""))]);
  }

  #open(volume: Mounted): void {
    volume.store = new BlockStore(this.#disk, this.#sessionOf(volume), () => this.#now);
  }

  #reloadAll(): void {
    for (const volume of this.#volumes) volume.store?.reload(this.#sessionOf(volume));
  }

  #live({ store }: Mounted): BlockStore {
    if (store === undefined) throw new Error("no store");
    return store;
  }

  /** An answer of a process that has been killed never reaches anybody. */
  #do(volume: Mounted, operation: (store: BlockStore) => void): void {
    operation(this.#live(volume));
    if (this.#disk.dead) throw new Killed("killed");
  }

  #createLayer({ id, sizeBytes }: LayerRef, inherited: number): void {
    createLedger(this.#disk, `/rec/${id}`, id, sizeBytes / MIB);
    const ledger = new Ledger(this.#disk, `/rec/${id}`, id, sizeBytes / MIB);
    for (let chunk = 0; chunk < sizeBytes / MIB; chunk++)
      ledger.states[chunk] = (ALL_SLOTS & ~this.#active(chunk)) | (chunk < inherited ? INHERITED : 0);
    ledger.persist(0, sizeBytes / MIB - 1);
    ledger.close();
    Intent.create(this.#disk, `/rec/${id}`);
    this.#disk.syncDirectory(`/rec/${id}`);
    for (let device = 0; device < DEVICES; device++) {
      if (this.#states[device] !== "up") continue;
      this.#disk.close(this.#disk.open(file(device, id), { create: true }));
      if (this.#checksum) this.#disk.close(this.#disk.open(`${file(device, id)}.sum`, { create: true }));
      this.#disk.syncDirectory(`/sds/${device}`);
    }
  }

  #layers(): ReadonlyMap<string, Layer> {
    return allLayers(this.#volumes.map(({ record }) => record as VolumeRecord));
  }

  #byId(id: string): Mounted {
    return this.#volumes.find(({ record }) => record.id === id) as Mounted;
  }

  #sessionOf({ record }: Mounted): Session {
    return this.#session(this.#layers().get(ownLayer(record as VolumeRecord).id) as Layer);
  }

  #session({ id, sizeBytes, lower, absorb }: Layer): Session {
    return {
      format: 1,
      volumeId: id,
      layerId: id,
      sizeBytes,
      mapVersion: this.#version,
      devices: this.#states.map((state, device) => ({ name: String(device), file: file(device, id), state })),
      groups: this.#groups.flat(),
      firstGroup: 0,
      recordDir: `/rec/${id}`,
      lower: lower.map((layer) => ({
        ...layer,
        files: this.#states.map((_, device) => file(device, layer.id)),
        recordDir: `/rec/${layer.id}`,
      })),
      absorb,
      giveUp: true,
      limits: { iops: 0, bytesPerSecond: 0 },
      checksum: this.#checksum,
    };
  }

  #newId(): string {
    return `l${++this.#lastLayer}`;
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random() * from.length)] as T;
  }
}

const file = (device: number, layerId: string) => `/sds/${device}/${layerId}.vol`;
