import { SimError } from "../../../src/lib/errors.ts";
import { allLayers, type Layer, layersOf, ownLayer } from "../../../src/scaleio/layers.ts";
import type { LayerRef, VolumeRecord } from "../../../src/scaleio/model.ts";
import { BlockStore } from "../../../src/scaleio/sdc/block-store.ts";
import { Intent } from "../../../src/scaleio/sdc/intent.ts";
import { ALL_SLOTS, BIT, INHERITED, SLOTS } from "../../../src/scaleio/sdc/layout.ts";
import { createLedger, Ledger } from "../../../src/scaleio/sdc/ledger.ts";
import type { Session } from "../../../src/scaleio/sdc/session.ts";
import { BLOCK_BYTES } from "../../../src/scaleio/sdc/sums.ts";
import { Invariants, type Standing } from "./invariants.ts";
import { Model } from "./model.ts";
import { type Random, randomOf, seedOf } from "./random.ts";
import { Killed, SimulatedDisk } from "./simulated-disk.ts";
import { type Facts, MOST_CHUNKS, pick, SimulatedPool } from "./simulated-pool.ts";

const MIB = 1024 * 1024;
const CHUNKS = 6;
const SECTOR = 512;
const MOST_VOLUMES = 3;
/** A kill comes after up to so many file operations: between two of a single write, or deep in a rebuild. */
const MOST_OPERATIONS = 4096;

type Volume = {
  -readonly [K in keyof Pick<VolumeRecord, "id" | "sizeBytes" | "firstGroup" | "layerId" | "lower">]: VolumeRecord[K];
};

/** A volume with its engine and what it may answer. */
interface Mounted {
  record: Volume;
  readonly model: Model;
  store: BlockStore | undefined;
  /** What the daemon has last left for its engine, and what its engine goes by. */
  session: Session;
  followed: number;
}

/** The engine has said no to a request, and may. */
class Refused extends Error {}

interface Step {
  readonly name: string;
  /** How often, beside the others. */
  readonly share: number;
  /** What only the daemon can do, with a quorum of MDM members, waits or is refused without. */
  readonly by: "engine" | "daemon";
  readonly run: (volume: Mounted) => void;
}

/**
 * One seeded life of a pool, a volume and its snapshots against the model: reads, writes, flushes and discards; devices that go
 * down, fail and come back, two at a time as well; devices that are added and emptied, copies that move; volumes that grow, are
 * snapshot, overwritten, detached and removed; rot; kills between any two file operations; power losses; daemons that die
 * before everybody is told of a change; MDMs without a quorum. What must hold is looked at after every step (invariants.ts).
 * Throws at the first thing that the model forbids. A step's choices depend on the seed and its number alone, so that
 * steps can be left out.
 */
export class Simulation {
  #random: Random;
  readonly #disk: SimulatedDisk;
  readonly #pool: SimulatedPool;
  readonly #invariants: Invariants;
  readonly #volumes: Mounted[] = [];
  #now = 1_000_000;
  #tag = 0;
  #lastLayer = 0;
  /** Every second life is one with checksums. */
  readonly #checksum: boolean;
  /** A daemon that has died before it had told all engines of a change. */
  #daemonIsDown = false;
  #quorum = true;
  /** A session of an older map for every volume, as a lagging MDM member would have it. */
  readonly #old = new Map<string, Session>();
  /** Layers whose record files cannot be written to, or one replica of which cannot. */
  readonly #brokenRecords = new Set<string>();
  readonly #rotten = new Set<string>();
  /** What failed syncs were about, to be judged when the step is over. */
  #lost: { path: string; position: number; length: number }[] = [];
  /** Layers with such losses, until their copies have been compared. */
  readonly #lossy = new Set<string>();

  readonly #steps: readonly Step[] = [
    { name: "write", share: 40, by: "engine", run: (volume) => this.#write(volume) },
    { name: "read", share: 26, by: "engine", run: (volume) => this.#read(volume) },
    { name: "flush", share: 8, by: "engine", run: (volume) => this.#flush(volume) },
    { name: "discard", share: 5, by: "engine", run: (volume) => this.#discard(volume) },
    { name: "work", share: 5, by: "engine", run: (volume) => this.#work(volume) },
    { name: "repair a frozen layer", share: 1, by: "daemon", run: () => this.#repairFrozen() },
    { name: "move copies", share: 4, by: "daemon", run: () => this.#moveCopies() },
    { name: "change a device", share: 4, by: "daemon", run: () => this.#changeDevice() },
    { name: "change members", share: 1, by: "daemon", run: () => this.#changeMembers() },
    { name: "snapshot", share: 2, by: "daemon", run: (volume) => this.#snapshot(volume) },
    { name: "grow", share: 1, by: "daemon", run: (volume) => this.#grow(volume) },
    { name: "remove", share: 1, by: "daemon", run: (volume) => this.#remove(volume) },
    { name: "overwrite", share: 0.5, by: "daemon", run: (volume) => this.#overwrite(volume) },
    { name: "detach", share: 1, by: "daemon", run: (volume) => this.#detach(volume) },
    { name: "rot", share: 1, by: "daemon", run: () => this.#rot() },
    { name: "break records", share: 1, by: "engine", run: () => this.#breakRecords() },
    { name: "change the quorum", share: 0.5, by: "engine", run: () => this.#changeQuorum() },
    { name: "show an old map", share: 0.5, by: "engine", run: (volume) => this.#showOldMap(volume) },
    { name: "lose power", share: 1, by: "engine", run: () => this.#losePower() },
  ];

  /** `trace` is told of every step. */
  constructor(
    readonly seed: number,
    readonly trace: (line: string) => void = () => undefined,
  ) {
    this.#random = randomOf(seed);
    const random = () => this.#random();
    this.#checksum = seed % 2 === 0;
    this.#disk = new SimulatedDisk(random);
    this.#pool = new SimulatedPool(this.#disk, seed % 3 === 0, random);
    this.#invariants = new Invariants(this.#disk, this.#pool);
    this.#disk.lost = (path, position, length) => this.#lost.push({ path, position, length });
    const record: Volume = { id: this.#newId(), sizeBytes: CHUNKS * MIB, firstGroup: 0 };
    this.#createLayer(ownLayer(record as VolumeRecord), 0);
    this.#addVolume(record, new Model());
    this.#reopen();
  }

  /** Lives through these steps, and looks at everything in the end. */
  run(steps: Iterable<number>): void {
    for (const step of steps) {
      this.#random = randomOf(seedOf(this.seed, step));
      this.trace(`${step}:`);
      this.#now += Math.floor(this.#random() * 3000);
      if (this.#random() < 0.08) this.#disk.killAfter = Math.floor(MOST_OPERATIONS ** this.#random());
      try {
        this.#step();
      } catch (error) {
        if (!this.#disk.dead && !(error instanceof Refused)) throw error;
        this.trace(this.#disk.dead ? "  killed" : "  refused");
      }
      this.#disk.killAfter = undefined;
      if (this.#disk.dead) {
        if (this.#random() < 0.4) this.#cutPower();
        else this.#disk.crash();
        this.#reopen();
      }
      this.#judgeLosses();
      this.#invariants.check(this.#standings());
    }
    this.#finish();
  }

  #step(): void {
    const volume = this.#pick(this.#volumes);
    const step = this.#thrown();
    if (step.by === "daemon") {
      if (!this.#quorum) return;
      this.#mendRecords();
      if (this.#daemonIsDown) this.#tellAll({ mayDie: false });
      this.#daemonIsDown = false;
    }
    this.trace(`  ${step.name}, volume ${volume.record.id}`);
    step.run(volume);
  }

  /** One of the steps, by their shares. */
  #thrown(): Step {
    let dice = this.#random() * this.#steps.reduce((sum, { share }) => sum + share, 0);
    for (const step of this.#steps) {
      dice -= step.share;
      if (dice < 0) return step;
    }
    return this.#steps[0] as Step;
  }

  #write(volume: Mounted): void {
    const { sector, count } = this.#range(volume, 40);
    this.trace(`  ${count} sectors from ${sector}, chunk ${Math.floor(sector / 2048)}, tag ${this.#tag + 1}`);
    const tag = ++this.#tag;
    const data = Buffer.alloc(count * SECTOR);
    new Uint32Array(data.buffer, data.byteOffset, data.length / 4).fill(tag);
    for (let i = 0; i < count; i++) volume.model.begin(sector + i, tag);
    this.#do(volume, (store) => store.write(data, 0, sector * SECTOR, data.length), { sector, count });
    for (let i = 0; i < count; i++) volume.model.acknowledge(sector + i, tag);
  }

  #discard(volume: Mounted): void {
    const { sector, count } = this.#range(volume, this.#random() < 0.5 ? 60 : 3000);
    for (let i = 0; i < count; i++) volume.model.begin(sector + i, 0);
    this.#do(volume, (store) => store.zero(sector * SECTOR, count * SECTOR), { sector, count });
    for (let i = 0; i < count; i++) volume.model.acknowledge(sector + i, 0);
    // Whole pieces of 64 KiB, for what is copied up from below is; in slots that hold nothing there may be anything.
    const [first, end] = [Math.ceil((sector * SECTOR) / 65536), Math.floor(((sector + count) * SECTOR) / 65536)];
    if (end > first && volume.record.lower === undefined)
      this.#invariants.checkDiscarded(this.#standing(volume), first * 65536, (end - first) * 65536);
  }

  #read(volume: Mounted): void {
    const { sector, count } = this.#range(volume, 40);
    this.#check(volume, sector, count);
  }

  #check(volume: Mounted, sector: number, count: number): void {
    const data = Buffer.alloc(count * SECTOR, 0xee);
    this.#do(volume, (store) => store.read(data, 0, sector * SECTOR, data.length), { sector, count });
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
    this.#invariants.checkFlushed(this.#standing(volume));
  }

  /** As the repairer has an engine do it; then layers that nobody needs go. */
  #work(volume: Mounted): void {
    const budget = 1 + Math.floor(this.#random() * 6);
    this.#do(volume, (store) => store.work(budget));
    const { absorbed, layerId } = this.#live(volume).status();
    if (absorbed.length > 0 && this.#quorum && !this.#daemonIsDown) this.#drop(layerId, absorbed);
  }

  /** A process of its own repairs a layer that nobody writes to. */
  #repairFrozen(): void {
    const frozen = this.#frozen();
    if (frozen.length > 0) this.#repairAside(this.#pick(frozen), 1 + Math.floor(this.#random() * 6));
  }

  #repairAside(layer: Layer, budget: number): void {
    let absorbed: readonly string[] = [];
    this.#permit(
      () => {
        const store = new BlockStore(this.#disk, this.#session(layer), () => this.#now);
        store.work(budget);
        ({ absorbed } = store.status());
        store.close();
      },
      () => this.#isOutOfReach([layer]),
    );
    if (absorbed.length > 0) this.#drop(layer.id, absorbed);
  }

  #drop(layerId: string, absorbed: readonly string[]): void {
    this.#asDaemon(() => {
      for (const { id } of this.#layers().get(layerId)?.volumes ?? []) {
        const { record } = this.#volumes.find((volume) => volume.record.id === id) as Mounted;
        record.lower = (record.lower ?? []).filter((layer) => !absorbed.includes(layer.id));
      }
    });
    this.#tellAll({ mayDie: false });
    this.#sweep(absorbed);
  }

  #sweep(ids: readonly string[]): void {
    const needed = this.#layers();
    for (const id of ids) {
      if (needed.has(id)) continue;
      for (const device of this.#pool.present) {
        this.#disk.remove(this.#pool.file(device, id));
        this.#disk.remove(`${this.#pool.file(device, id)}.sum`);
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
    const snapshot = this.#addVolume(record, volume.model.copy());
    this.#tellAll({ mayDie: false });
    this.#open(snapshot);
  }

  #freeze(volume: Mounted): boolean {
    // What cannot be read cannot be settled.
    if (this.#isOutOfReach(layersOf(volume.record as VolumeRecord)) || volume.model.suspects.length > 0) return false;
    const old = ownLayer(volume.record as VolumeRecord);
    const id = this.#newId();
    this.#asDaemon(() => this.#createLayer({ id, sizeBytes: old.sizeBytes }, old.sizeBytes / MIB));
    volume.record.layerId = id;
    volume.record.lower = [old, ...(volume.record.lower ?? [])];
    volume.session = this.#sessionOf(volume);
    this.#do(volume, (store) => store.seal());
    volume.store = undefined;
    this.#open(volume);
    // Sealing syncs all.
    volume.model.flushed();
    return this.#asDaemon(() => this.#activeRegions(old).length === 0);
  }

  #grow(volume: Mounted): void {
    const sizeBytes = Math.min(MOST_CHUNKS, volume.record.sizeBytes / MIB + 1 + Math.floor(this.#random() * 2)) * MIB;
    const session = { ...this.#sessionOf(volume), sizeBytes };
    this.#do(volume, (store) => store.reload(session));
    // A death before the MDM's word is a growth that did not come about.
    volume.record.sizeBytes = sizeBytes;
    volume.session = session;
  }

  #remove(volume: Mounted): void {
    if (this.#volumes.length < 2) return;
    this.#do(volume, (store) => store.close());
    const chain = layersOf(volume.record as VolumeRecord);
    this.#volumes.splice(this.#volumes.indexOf(volume), 1);
    this.#asDaemon(() => this.#sweep(chain.map(({ id }) => id)));
    this.#tellAll({ mayDie: true });
  }

  /** The volume, not mapped for a moment, takes the content of another one. */
  #overwrite(volume: Mounted): void {
    const source = this.#pick(this.#volumes);
    if (source === volume || source.record.sizeBytes < volume.record.sizeBytes) return;
    if (!this.#freeze(source)) return;
    this.#do(volume, (store) => store.close());
    volume.store = undefined;
    const before = layersOf(volume.record as VolumeRecord);
    const { sizeBytes, lower } = source.record;
    const id = this.#newId();
    this.#asDaemon(() => this.#createLayer({ id, sizeBytes }, sizeBytes / MIB));
    Object.assign(volume.record, { layerId: id, lower, sizeBytes });
    volume.model.become(source.model);
    volume.session = this.#sessionOf(volume);
    this.#asDaemon(() => this.#sweep(before.map((layer) => layer.id)));
    this.#open(volume);
    this.#tellAll({ mayDie: true });
  }

  /** The volume is unmounted, repaired by a process of its own perhaps, and mounted again. */
  #detach(volume: Mounted): void {
    this.#do(volume, (store) => store.close());
    volume.store = undefined;
    volume.session = this.#sessionOf(volume);
    const layer = this.#layers().get(ownLayer(volume.record as VolumeRecord).id) as Layer;
    if (this.#random() < 0.7) this.#tryTo(() => this.#repairAside(layer, 1 + Math.floor(this.#random() * 6)));
    this.#open(volume);
  }

  /**
   * A stored bit of a copy changes. Where the checksums on disk are good, that is: in a region that has been quiet; and one
   * rotten copy at a time, until a scan has been everywhere. Without checksums it is a replica of a ledger that rots.
   */
  #rot(): void {
    const layer = this.#pick([...this.#layers().values()]);
    if (!this.#checksum) {
      const replica = `/rec/${layer.id}/ledger.${1 + (this.seed % 4 === 1 ? 1 : 0)}`;
      this.#disk.rot(replica, Math.floor(this.#random() * 8192));
      return;
    }
    if (this.#pool.away.length > 0) return;
    this.#scanAll();
    this.#asDaemon(() => {
      const states = this.#ledger(layer);
      const chunk = Math.floor(this.#random() * states.length);
      const state = states[chunk] as number;
      const good = SLOTS.filter((slot) => (this.#pool.active(chunk) & ~state & BIT[slot]) !== 0);
      const active = this.#activeRegions(layer).includes(chunk * MIB);
      if ((state & INHERITED) !== 0 || good.length < 2 || active) return;
      const device = this.#pool.groups[chunk]?.[this.#pick(good)] as number;
      this.#rotten.add(`${layer.id}:${chunk}`);
      for (let i = 0; i < 50; i++)
        this.#disk.rot(this.#pool.file(device, layer.id), chunk * MIB + Math.floor(this.#random() * MIB));
    });
  }

  #scanAll(): void {
    for (const volume of this.#volumes) this.#do(volume, (store) => store.scan(0, MOST_CHUNKS));
    for (const layer of this.#frozen()) {
      this.#permit(
        () => {
          const store = new BlockStore(this.#disk, this.#session(layer), () => this.#now);
          store.scan(0, MOST_CHUNKS);
          store.close();
        },
        () => this.#isOutOfReach([layer]),
      );
    }
    this.#rotten.clear();
  }

  /** A device is harmed or mended. A second one is harmed as well now and then: some chunks cannot be had then. */
  #changeDevice(): void {
    const { away } = this.#pool;
    if (away.length > 0 && (away.length > 1 || this.#random() < 0.7)) {
      const device = this.#pick(away);
      this.trace(`  device ${device} is mended`);
      this.#pool.mend(device, () => {
        this.#pool.version++;
        this.#tellAll({ mayDie: false });
      });
      return;
    }
    if (this.#checksum) this.#scanAll();
    const device = this.#pick(this.#pool.present.filter((other) => !away.includes(other)));
    if (away.length === 0) {
      const stale = this.#staleSlots();
      const enough = this.#pool.groups.every((group, number) =>
        SLOTS.some(
          (slot) => group[slot] >= 0 && group[slot] !== device && ((stale[number] as number) & BIT[slot]) === 0,
        ),
      );
      if (!enough) return;
    }
    this.trace(`  device ${device}: ${this.#pool.harm(() => this.#random(), device)}`);
    this.#pool.version++;
    this.#tellAll({ mayDie: true });
  }

  /** Devices are added, are to leave, and go. */
  #changeMembers(): void {
    const random = () => this.#random();
    const given = this.#facts().givenUp;
    const settled = this.#pool.groups.every((_, group) => given(group));
    const changed = (settled && this.#pool.removeEmpty()) || (this.#random() < 0.5 && this.#pool.add(random));
    if (!changed) this.#pool.leave(random);
    this.#pool.version++;
    this.#tellAll({ mayDie: true });
  }

  #moveCopies(): void {
    if (this.#checksum && this.#pool.away.length === 0) this.#scanAll();
    this.#pool.move(() => this.#random(), this.#facts());
    this.#tellAll({ mayDie: true });
  }

  /** Record files that cannot be written to: one replica of a ledger, which nobody may notice, or all of a layer's. */
  #breakRecords(): void {
    this.#mendRecords();
    if (this.#random() < 0.3) return;
    const { id } = this.#pick([...this.#layers().values()]);
    const replica = `/rec/${id}/ledger.${1 + (this.seed % 4 === 1 ? 1 : 0)}`;
    const all = this.#random() < 0.4;
    const prefix = all ? `/rec/${id}/` : replica;
    this.#brokenRecords.add(prefix);
    // What is torn in one replica is whole in the other one; nothing survives both torn at once.
    (all ? this.#disk.refusedWrites : this.#disk.brokenWrites).add(prefix);
    if (!all && this.#random() < 0.5) this.#disk.brokenReads.add(prefix);
  }

  #mendRecords(): void {
    if (this.#brokenRecords.size === 0) return;
    for (const prefix of this.#brokenRecords) this.#disk.repair(prefix);
    this.#brokenRecords.clear();
    // With a flush everything that is known is on record.
    for (const volume of this.#volumes) if (volume.store !== undefined) this.#tryTo(() => this.#flush(volume));
  }

  /** What may be refused, and does no harm then. */
  #tryTo(task: () => void): void {
    try {
      task();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
    }
  }

  /** Two MDM members are gone, or back. Without them nothing changes, and I/O goes on. */
  #changeQuorum(): void {
    this.#quorum = !this.#quorum;
  }

  /** A map from before: nobody may go by it. */
  #showOldMap(volume: Mounted): void {
    const old = this.#old.get(volume.record.id);
    if (old === undefined || old.mapVersion >= volume.followed || old.layerId !== volume.session.layerId) return;
    if (old.lower.some(({ id }) => !this.#layers().has(id))) return;
    const refuses = (what: () => void) => {
      try {
        what();
      } catch (error) {
        if (this.#disk.dead || (error instanceof SimError && error.code === "unavailable")) return;
        throw error;
      }
      if (!this.#disk.dead) throw new Error(`volume ${volume.record.id} went by an old map`);
    };
    if (this.#brokenRecords.size > 0) return;
    refuses(() => this.#live(volume).reload(old));
    if (!this.#disk.dead) refuses(() => new BlockStore(this.#disk, old, () => this.#now));
  }

  #losePower(): void {
    this.#cutPower();
    this.#reopen();
  }

  #cutPower(): void {
    this.#disk.powerLoss();
    for (const { model } of this.#volumes) model.powerLoss();
  }

  #facts(): Facts {
    const garbage = this.#volumes.some((volume) => this.#live(volume).status().garbage > 0);
    const told = this.#volumes.every(({ followed }) => followed === this.#pool.version);
    const ledgers = this.#asDaemon(() => [...this.#layers().values()].map((layer) => this.#ledger(layer)));
    const failed = this.#volumes.map(({ store }) => new Set(store?.status().failedDevices.map(({ name }) => name)));
    return {
      stale: this.#staleSlots(),
      givenUp: (group) => {
        const retired = (this.#pool.groups[group] as number[])[3] as number;
        return (
          told &&
          !garbage &&
          ledgers.every((states) => group >= states.length || ((states[group] as number) & retired) === retired)
        );
      },
      noticed: (device) => failed.every((names) => names.has(this.#pool.directory(device))),
    };
  }

  /** Per group, which slots are stale in some layer. */
  #staleSlots(): Uint8Array {
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

  /** All devices back, everything rebuilt: every sector as the model says, all copies equal, and nothing left over. */
  #finish(): void {
    this.#quorum = true;
    this.#mendRecords();
    this.#tellAll({ mayDie: false });
    for (const device of this.#pool.away) {
      this.#pool.mend(device, () => {
        this.#pool.version++;
        this.#tellAll({ mayDie: false });
      });
    }
    for (const volume of this.#volumes) this.#rewriteSuspects(volume);
    if (this.#checksum) this.#scanAll();
    for (let round = 0; round < 3; round++) {
      for (const volume of this.#volumes) {
        while (this.#live(volume).work(64) > 0);
        const { absorbed, layerId } = this.#live(volume).status();
        if (absorbed.length > 0) this.#drop(layerId, absorbed);
      }
      for (const { id } of this.#frozen()) {
        const layer = this.#layers().get(id);
        if (layer !== undefined) this.#repairAside(layer, 1024);
      }
    }
    for (const volume of this.#volumes) while (this.#live(volume).work(64) > 0);
    for (const volume of this.#volumes) {
      const { staleCopies, unsyncedChunks, garbage, absorbing } = this.#live(volume).status();
      if (staleCopies + unsyncedChunks + garbage + absorbing > 0) {
        this.trace(
          `groups ${JSON.stringify(this.#pool.groups)}, layers ${[...this.#layers().values()].map((l) => `${l.id}: ${[...this.#ledger(l)].map((x) => x.toString(2))}`).join("; ")}`,
        );
        this.trace(JSON.stringify(this.#live(volume).status()));
        const left = `${staleCopies} stale copies, ${unsyncedChunks} unsynced chunks, ${garbage} retired and ${absorbing} lower ones`;
        throw new Error(`volume ${volume.record.id}: ${left} remain`);
      }
      this.#check(volume, 0, volume.record.sizeBytes / SECTOR);
    }
    if (this.#volumes.length === 1 && this.#layers().size > 1) throw new Error("layers that nobody needs remain");
    this.#invariants.checkAll(this.#standings());
    for (const volume of this.#volumes) this.#live(volume).close();
    this.#checkNothingLeft();
  }

  /** Whoever was told that a flush had failed writes anew what it was about. */
  #rewriteSuspects(volume: Mounted): void {
    const perBlock = BLOCK_BYTES / SECTOR;
    for (const block of new Set(volume.model.suspects.map((sector) => Math.floor(sector / perBlock)))) {
      const sector = block * perBlock;
      this.#do(volume, (store) => store.write(Buffer.alloc(BLOCK_BYTES), 0, sector * SECTOR, BLOCK_BYTES));
      for (let i = 0; i < perBlock; i++) {
        volume.model.begin(sector + i, 0);
        volume.model.acknowledge(sector + i, 0);
      }
    }
  }

  #checkNothingLeft(): void {
    const needed = this.#layers();
    for (const path of this.#disk.paths()) {
      const id = /^\/(?:rec\/|sds\/[\d.]+\/)(\w+)/.exec(path)?.[1] ?? "";
      if (!needed.has(id)) throw new Error(`${path} is left`);
    }
  }

  /** A failed sync is excused where no other copy was good: that is a second failure, and whoever flushes is told. */
  #judgeLosses(): void {
    for (const { path, position, length } of this.#lost) {
      const [, directory, id] = /^(\/sds\/[\d.]+\/)(\w+)\.vol$/.exec(path) ?? [];
      const volume = this.#volumes.find(({ record }) => ownLayer(record as VolumeRecord).id === id);
      if (id === undefined || volume === undefined) continue;
      this.#lossy.add(id);
      const states = this.#ledger(ownLayer(volume.record as VolumeRecord));
      this.trace(`  a sync of ${path} failed, ${length / SECTOR} sectors from ${position / SECTOR}`);
      for (let at = position; at < position + length; at += SECTOR) {
        const chunk = Math.floor(at / MIB);
        const group = this.#pool.groups[chunk];
        const good = SLOTS.filter(
          (slot) => (group?.[slot] ?? -1) >= 0 && ((states[chunk] ?? ALL_SLOTS) & BIT[slot]) === 0,
        );
        const [only] = good;
        if (good.length !== 1 || only === undefined || this.#pool.directory(group?.[only] as number) !== directory)
          continue;
        // The block's checksum is of what it should hold: all of it is lost with a part.
        const block = Math.floor(at / BLOCK_BYTES) * BLOCK_BYTES;
        const [first, end] = this.#checksum ? [block, block + BLOCK_BYTES] : [at, at + SECTOR];
        for (let sector = first / SECTOR; sector < end / SECTOR; sector++) volume.model.suspect(sector);
      }
    }
    this.#lost = [];
  }

  #standings(): Standing[] {
    const owners = new Map(this.#volumes.map((volume) => [ownLayer(volume.record as VolumeRecord).id, volume]));
    return [...this.#layers().values()].flatMap((layer) => {
      const owner = owners.get(layer.id);
      // A volume that had to be left half-way is looked at when it has been opened again, one whose records cannot be written
      // when they can.
      const isOpen = owner === undefined || owner.store !== undefined;
      return isOpen && !this.#brokenRecords.has(`/rec/${layer.id}/`) ? [this.#standingOf(layer, owner)] : [];
    });
  }

  #standing(volume: Mounted): Standing {
    return this.#standingOf(this.#layers().get(ownLayer(volume.record as VolumeRecord).id) as Layer, volume);
  }

  #standingOf(layer: Layer, owner: Mounted | undefined): Standing {
    const compared =
      owner === undefined ? this.#activeRegions(layer).length === 0 : owner.store?.status().unsyncedChunks === 0;
    if (compared) this.#lossy.delete(layer.id);
    return {
      layer,
      states: Uint8Array.from(this.#ledger(layer)),
      model: this.#lossy.has(layer.id) ? undefined : owner?.model,
      compared,
      isRotten: (chunk) => this.#rotten.has(`${layer.id}:${chunk}`),
    };
  }

  /** Whether some chunk of these layers has no good copy on a device that serves; in a range of chunks. */
  #isOutOfReach(layers: readonly LayerRef[], first = 0, last = MOST_CHUNKS - 1): boolean {
    return layers.some((layer) => {
      const states = this.#ledger(layer);
      for (let chunk = first; chunk <= Math.min(last, states.length - 1); chunk++) {
        const group = this.#pool.groups[chunk] as [number, number, number, number];
        const served = SLOTS.some(
          (slot) => group[slot] >= 0 && ((states[chunk] as number) & BIT[slot]) === 0 && this.#pool.serves(group[slot]),
        );
        if (!served) return true;
      }
      return false;
    });
  }

  /** Lets an operation say no where it may: a chunk it needs cannot be had, or a record of it cannot be written. */
  #permit(operation: () => void, isOutOfReach: () => boolean): void {
    try {
      operation();
    } catch (error) {
      if (this.#disk.dead) throw error;
      const unavailable = error instanceof SimError && error.code === "unavailable";
      if (unavailable && this.#asDaemon(isOutOfReach)) throw new Refused();
      const errno = (error as NodeJS.ErrnoException).code;
      if (this.#brokenRecords.size > 0 && (errno === "EIO" || errno === "ENOSPC")) throw new Refused();
      throw error;
    }
    // An answer of a process that has been killed never reaches anybody.
    if (this.#disk.dead) throw new Killed("killed");
  }

  #do(volume: Mounted, operation: (store: BlockStore) => void, range?: { sector: number; count: number }): void {
    const layers = layersOf(volume.record as VolumeRecord);
    const first = range && Math.floor((range.sector * SECTOR) / MIB);
    const last = range && Math.floor(((range.sector + range.count - 1) * SECTOR) / MIB);
    const store = this.#live(volume);
    this.#permit(
      () => operation(store),
      () => this.#isOutOfReach(layers, first, last) || (this.#checksum && this.#hasSuspects(volume, range)),
    );
  }

  /** Whether some block of the range is one that was lost. */
  #hasSuspects({ model }: Mounted, range = { sector: 0, count: Number.POSITIVE_INFINITY }): boolean {
    const perBlock = BLOCK_BYTES / SECTOR;
    const first = Math.floor(range.sector / perBlock) * perBlock;
    const end = Math.ceil((range.sector + range.count) / perBlock) * perBlock;
    return model.suspects.some((sector) => sector >= first && sector < end);
  }

  /** Runs what the daemon does beside the engines. It is not the daemon that is killed here. */
  #asDaemon<T>(task: () => T): T {
    const { killAfter } = this.#disk;
    this.#disk.killAfter = undefined;
    const result = task();
    this.#disk.killAfter = killAfter;
    return result;
  }

  /**
   * Every engine is told of the state as it is now. A daemon may die on the way: some engines have an order that they have not
   * followed, others have heard nothing, until the next daemon tells all again.
   */
  #tellAll({ mayDie }: { mayDie: boolean }): void {
    const dies = mayDie && this.#random() < 0.15 ? Math.floor(this.#random() * (this.#volumes.length + 1)) : undefined;
    for (const [index, volume] of this.#volumes.entries()) {
      if (dies !== undefined && index >= dies) {
        this.#daemonIsDown = true;
        if (index > dies) continue;
      }
      const session = this.#sessionOf(volume);
      if (session.mapVersion > volume.session.mapVersion) this.#old.set(volume.record.id, volume.session);
      volume.session = session;
      if (index === dies || volume.store === undefined) continue;
      this.#do(volume, (store) => store.reload(session));
      volume.followed = session.mapVersion;
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

  #addVolume(record: Volume, model: Model): Mounted {
    const volume: Mounted = { record, model, store: undefined, session: {} as Session, followed: 0 };
    this.#volumes.push(volume);
    volume.session = this.#sessionOf(volume);
    return volume;
  }

  #reopen(): void {
    for (const volume of this.#volumes) volume.store = undefined;
    this.#mendRecords();
    for (const volume of this.#volumes) this.#open(volume);
    // Layers that a death left unrecorded.
    this.#sweep([...new Set(this.#disk.paths().map((path) => /^\/rec\/(\w+)/.exec(path)?.[1] ?? ""))]);
  }

  #open(volume: Mounted): void {
    volume.store = new BlockStore(this.#disk, volume.session, () => this.#now);
    volume.followed = volume.session.mapVersion;
  }

  #live({ store }: Mounted): BlockStore {
    if (store === undefined) throw new Error("no store");
    return store;
  }

  #createLayer({ id, sizeBytes }: LayerRef, inherited: number): void {
    createLedger(this.#disk, `/rec/${id}`, id, sizeBytes / MIB, this.#pool.version);
    const ledger = new Ledger(this.#disk, `/rec/${id}`, id, sizeBytes / MIB);
    for (let chunk = 0; chunk < sizeBytes / MIB; chunk++)
      ledger.states[chunk] = (ALL_SLOTS & ~this.#pool.active(chunk)) | (chunk < inherited ? INHERITED : 0);
    ledger.persist(0, sizeBytes / MIB - 1);
    ledger.close();
    Intent.create(this.#disk, `/rec/${id}`);
    for (const device of this.#pool.present) {
      if (this.#pool.devices[device]?.state !== "up") continue;
      const file = this.#pool.file(device, id);
      this.#disk.close(this.#disk.open(file, { create: true }));
      if (this.#checksum) this.#disk.close(this.#disk.open(`${file}.sum`, { create: true }));
    }
  }

  #ledger({ id, sizeBytes }: LayerRef): Uint8Array {
    return this.#asDaemon(() => {
      const ledger = new Ledger(this.#disk, `/rec/${id}`, id, sizeBytes / MIB, { mend: false });
      ledger.close();
      return ledger.states;
    });
  }

  /** Offsets of the chunks that the layer's write-intent record has. */
  #activeRegions({ id, sizeBytes }: LayerRef): number[] {
    return this.#asDaemon(() => {
      const intent = new Intent(this.#disk, `/rec/${id}`, sizeBytes);
      intent.close();
      const chunks = Array.from({ length: sizeBytes / MIB }, (_, chunk) => chunk * MIB);
      return chunks.filter((offset) => intent.isActive(offset));
    });
  }

  #layers(): ReadonlyMap<string, Layer> {
    return allLayers(this.#volumes.map(({ record }) => record as VolumeRecord));
  }

  #frozen(): Layer[] {
    return [...this.#layers().values()].filter(({ owner }) => owner === undefined);
  }

  #sessionOf({ record }: Mounted): Session {
    return this.#session(this.#layers().get(ownLayer(record as VolumeRecord).id) as Layer);
  }

  #session({ id, sizeBytes, lower, absorb }: Layer): Session {
    const { devices } = this.#pool;
    const files = (layerId: string) => devices.map((_, device) => this.#pool.file(device, layerId));
    const own = files(id);
    return {
      format: 1,
      volumeId: id,
      layerId: id,
      sizeBytes,
      mapVersion: this.#pool.version,
      devices: devices.map((device, index) => ({
        name: this.#pool.directory(index),
        file: own[index] as string,
        state: device?.state ?? "stopped",
      })),
      groups: this.#pool.groups.flat(),
      firstGroup: 0,
      recordDir: `/rec/${id}`,
      lower: lower.map((layer) => ({ ...layer, files: files(layer.id), recordDir: `/rec/${layer.id}` })),
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
    return pick(() => this.#random(), from);
  }
}
