import { SimError } from "../../../../src/lib/errors.ts";
import { type Layer, layersOf, ownLayer } from "../../../../src/scaleio/layers.ts";
import type { VolumeRecord } from "../../../../src/scaleio/model.ts";
import { BlockStore } from "../../../../src/scaleio/sdc/block-store.ts";
import { ALL_SLOTS, BIT, SLOTS } from "../../../../src/scaleio/sdc/layout.ts";
import type { Session } from "../../../../src/scaleio/sdc/session.ts";
import { BLOCK_BYTES } from "../../../../src/scaleio/sdc/sums.ts";
import { type Random, randomOf, seedOf } from "../../../helpers/random.ts";
import { Killed, SimulatedDisk } from "./disk.ts";
import { Invariants, type Standing } from "./invariants.ts";
import { SimulatedLayers, type Volume } from "./layers.ts";
import { Model } from "./model.ts";
import { pick, SimulatedPool } from "./pool.ts";
import { MIB, SECTOR } from "./units.ts";

/** The first volume's size, in chunks. */
const CHUNKS = 6;

/** A volume with its engine and what it may answer. */
export interface Mounted {
  record: Volume;
  readonly model: Model;
  store: BlockStore | undefined;
  /** What the daemon has last left for its engine, and what its engine goes by. */
  session: Session;
  followed: Session;
}

/** The engine has said no to a request, and may. */
export class Refused extends Error {}

/**
 * A pool, its volumes with their engines, the daemon and the MDM as far as engines notice them, and what each of them may do
 * wrong just now. The steps of a life (simulation.ts) act on it.
 */
export class World {
  readonly disk: SimulatedDisk;
  readonly pool: SimulatedPool;
  readonly invariants: Invariants;
  readonly volumes: Mounted[] = [];
  now = 1_000_000;
  tag = 0;
  lastLayer = 0;
  /** Every second life is one with checksums. */
  readonly checksum: boolean;
  /** A daemon that has died before it had told all engines of a change. */
  daemonIsDown = false;
  quorum = true;
  /** A session of an older map for every volume, as a lagging MDM member would have it. */
  readonly old = new Map<string, Session>();
  /** Layers whose record files cannot be written to, or one replica of which cannot. */
  readonly brokenRecords = new Set<string>();
  readonly rotten = new Set<string>();
  /** Copies of which failed syncs have lost something in this step. */
  readonly #lost = new Set<string>();
  /** Layers with such losses, until their copies have been compared. */
  readonly lossy = new Set<string>();

  readonly layers: SimulatedLayers;
  /** Of the step that is under way. */
  random: Random;

  constructor(
    readonly seed: number,
    /** Told of every step. */
    readonly trace: (line: string) => void,
  ) {
    this.random = randomOf(seed);
    const random = () => this.random();
    this.checksum = seed % 2 === 0;
    this.disk = new SimulatedDisk(random);
    this.pool = new SimulatedPool(this.disk, seed % 3 === 0, random);
    this.layers = new SimulatedLayers(this.disk, this.pool, this.volumes, this.checksum);
    this.invariants = new Invariants(this.disk, this.pool);
    this.disk.lost = (...what) => this.disk.undisturbed(() => this.#judgeLoss(...what));
    const record: Volume = { id: this.newId(), sizeBytes: CHUNKS * MIB, firstGroup: 0 };
    this.layers.create(ownLayer(record as VolumeRecord), 0);
    this.addVolume(record, new Model());
    this.reopen();
  }

  /** A step begins. */
  begin(step: number): void {
    this.random = randomOf(seedOf(this.seed, step));
    this.trace(`${step}:`);
    this.now += Math.floor(this.random() * 3000);
    this.#lost.clear();
  }

  pick<T>(from: readonly T[]): T {
    return pick(() => this.random(), from);
  }

  newId(): string {
    return `l${++this.lastLayer}`;
  }

  do(volume: Mounted, operation: (store: BlockStore) => void, range?: { sector: number; count: number }): void {
    const layers = layersOf(volume.record as VolumeRecord);
    const first = range && Math.floor((range.sector * SECTOR) / MIB);
    const last = range && Math.floor(((range.sector + range.count - 1) * SECTOR) / MIB);
    const store = this.live(volume);
    this.permit(
      () => operation(store),
      () =>
        this.layers.isOutOfReach(layers, first, last, volume.followed) ||
        (this.checksum && this.hasSuspects(volume, range)),
    );
  }

  /** Lets an operation say no where it may: a chunk it needs cannot be had, or a record of it cannot be written. */
  permit(operation: () => void, isOutOfReach: () => boolean): void {
    try {
      operation();
    } catch (error) {
      if (this.disk.dead) throw error;
      const unavailable = error instanceof SimError && error.code === "unavailable";
      if (unavailable && this.disk.undisturbed(isOutOfReach)) throw new Refused();
      const errno = (error as NodeJS.ErrnoException).code;
      if (this.brokenRecords.size > 0 && (errno === "EIO" || errno === "ENOSPC")) throw new Refused();
      throw error;
    }
    // An answer of a process that has been killed never reaches anybody.
    if (this.disk.dead) throw new Killed("killed");
  }

  /** What may be refused, and does no harm then. */
  tryTo(task: () => void): void {
    try {
      task();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
    }
  }

  /** Whether some block of the range is one that was lost. */
  hasSuspects({ model }: Mounted, range = { sector: 0, count: Number.POSITIVE_INFINITY }): boolean {
    const perBlock = BLOCK_BYTES / SECTOR;
    const first = Math.floor(range.sector / perBlock) * perBlock;
    const end = Math.ceil((range.sector + range.count) / perBlock) * perBlock;
    return model.suspects.some((sector) => sector >= first && sector < end);
  }

  /**
   * Every engine is told of the state as it is now. A daemon may die on the way: some engines have an order that they have not
   * followed, others have heard nothing, until the next daemon tells all again. So it is when an engine is killed by what it hears.
   */
  tellAll({ mayDie }: { mayDie: boolean }): void {
    const dies = mayDie && this.random() < 0.15 ? Math.floor(this.random() * (this.volumes.length + 1)) : undefined;
    this.daemonIsDown = true;
    for (const [index, volume] of this.volumes.entries()) {
      if (dies !== undefined && index > dies) continue;
      const session = this.layers.sessionOf(volume);
      if (session.mapVersion > volume.session.mapVersion) this.old.set(volume.record.id, volume.session);
      volume.session = session;
      if (index === dies || volume.store === undefined) continue;
      this.do(volume, (store) => store.reload(session));
      volume.followed = session;
    }
    this.daemonIsDown = dies !== undefined && dies < this.volumes.length;
  }

  addVolume(record: Volume, model: Model): Mounted {
    const volume: Mounted = { record, model, store: undefined, session: {} as Session, followed: {} as Session };
    this.volumes.push(volume);
    volume.session = this.layers.sessionOf(volume);
    return volume;
  }

  open(volume: Mounted): void {
    volume.store = new BlockStore(this.disk, volume.session, () => this.now);
    volume.followed = volume.session;
  }

  reopen(): void {
    for (const volume of this.volumes) volume.store = undefined;
    this.repairRecords();
    for (const volume of this.volumes) this.open(volume);
    // Layers that a death left unrecorded.
    this.layers.sweep([...new Set(this.disk.paths().map((path) => /^\/rec\/(\w+)/.exec(path)?.[1] ?? ""))]);
  }

  /** Record files can be written to again. */
  repairRecords(): void {
    for (const prefix of this.brokenRecords) this.disk.repair(prefix);
    this.brokenRecords.clear();
  }

  live({ store }: Mounted): BlockStore {
    if (store === undefined) throw new Error("no store");
    return store;
  }

  cutPower(): void {
    this.disk.powerLoss();
    for (const { model } of this.volumes) model.powerLoss();
  }

  /**
   * A sync has failed. That is excused where no other copy was good: it is a second failure, and whoever flushes is told. By
   * the ledger as it is at that moment, for soon the copy may be the source of others.
   */
  #judgeLoss(path: string, position: number, length: number): void {
    const [, directory, id] = /^(\/sds\/[\d.]+\/)(\w+)\.vol$/.exec(path) ?? [];
    const volume = this.volumes.find(({ record }) => ownLayer(record as VolumeRecord).id === id);
    if (id === undefined || directory === undefined || volume === undefined) return;
    this.lossy.add(id);
    const states = this.layers.ledger(ownLayer(volume.record as VolumeRecord));
    this.trace(`  a sync of ${path} failed, ${length / SECTOR} sectors from ${position / SECTOR}`);
    for (let chunk = Math.floor(position / MIB); chunk * MIB < position + length; chunk++) {
      const group = this.pool.groups[chunk];
      const good: readonly string[] = SLOTS.filter(
        (slot) => (group?.[slot] ?? -1) >= 0 && ((states[chunk] ?? ALL_SLOTS) & BIT[slot]) === 0,
      )
        .map((slot) => this.pool.directory(group?.[slot] as number))
        .filter((other) => other === directory || !this.#lost.has(`${other}${id}:${chunk}`));
      this.#lost.add(`${directory}${id}:${chunk}`);
      if (good.length !== 1 || good[0] !== directory) continue;
      const from = Math.max(position, chunk * MIB);
      const to = Math.min(position + length, (chunk + 1) * MIB);
      // The block's checksum is of what it should hold: all of it is lost with a part.
      const unit = this.checksum ? BLOCK_BYTES : SECTOR;
      const [first, end] = [Math.floor(from / unit) * unit, Math.ceil(to / unit) * unit];
      for (let at = first; at < end; at += SECTOR) volume.model.suspect(at / SECTOR);
    }
  }

  standings(): Standing[] {
    const owners = new Map(this.volumes.map((volume) => [ownLayer(volume.record as VolumeRecord).id, volume]));
    return [...this.layers.all().values()].flatMap((layer) => {
      const owner = owners.get(layer.id);
      // A volume that had to be left half-way is looked at when it has been opened again, one whose records cannot be written
      // when they can.
      const isOpen = owner === undefined || owner.store !== undefined;
      return isOpen && !this.brokenRecords.has(`/rec/${layer.id}/`) ? [this.standingOf(layer, owner)] : [];
    });
  }

  standing(volume: Mounted): Standing {
    return this.standingOf(this.layers.all().get(ownLayer(volume.record as VolumeRecord).id) as Layer, volume);
  }

  standingOf(layer: Layer, owner: Mounted | undefined): Standing {
    const compared =
      owner === undefined ? this.layers.activeRegions(layer).length === 0 : owner.store?.status().unsyncedChunks === 0;
    if (compared) this.lossy.delete(layer.id);
    return {
      layer,
      states: Uint8Array.from(this.layers.ledger(layer)),
      model: this.lossy.has(layer.id) ? undefined : owner?.model,
      compared,
      isRotten: (chunk) => this.rotten.has(`${layer.id}:${chunk}`),
    };
  }
}
