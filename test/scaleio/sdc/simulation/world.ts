import { SimError } from "../../../../src/lib/errors.ts";
import { idOf } from "../../../../src/scaleio/founding.ts";
import { ownLayer } from "../../../../src/scaleio/layers.ts";
import type { Id, VolumeRecord } from "../../../../src/scaleio/model.ts";
import { BlockStore } from "../../../../src/scaleio/sdc/block-store.ts";
import type { Session } from "../../../../src/scaleio/sdc/session.ts";
import { BLOCK_BYTES } from "../../../../src/scaleio/sdc/sums.ts";
import { type Random, randomOf, seedOf } from "../../../helpers/random.ts";
import { Killed, Refused, SimulatedDisk } from "./disk.ts";
import { Invariants } from "./invariants.ts";
import { SimulatedLayers } from "./layers.ts";
import { SimulatedMdm } from "./mdm.ts";
import { Model } from "./model.ts";
import { pick, SimulatedPool, SYSTEM } from "./pool.ts";
import { Standings } from "./standings.ts";
import { MIB, SECTOR } from "./units.ts";

/** The first volume's size, in chunks. */
const CHUNKS = 6;

/** A copy of a chunk, the only good one, of which something was lost. */
export interface LostCopy {
  readonly directory: string;
  readonly chunk: number;
  /** When that was. */
  readonly step: number;
}

/** A volume with its engine and what it may answer. */
export interface Mounted {
  /** As the MDM has it. */
  readonly record: VolumeRecord;
  readonly model: Model;
  store: BlockStore | undefined;
  /** What the daemon has last left for its engine, and what its engine goes by. */
  session: Session;
  followed: Session;
  /** What its engine serves: more than the MDM knows of after a growth that did not come about. */
  servedBytes: number;
  /** Whether an engine that dies is replaced. */
  isMounted: boolean;
  /** A sync has failed: one flush may say so, whatever is well by then. */
  flushMayFail: boolean;
  /** One has said so, and none has succeeded since: an engine that comes after a kill may say it again. */
  wasTold: boolean;
  /** What syncs have lost, and no flush has said. */
  losses: readonly LostCopy[];
}

/** How often in a row engines are killed while they begin. */
const MOST_DEATHS = 3;

/**
 * A pool, its volumes with their engines, the daemon as far as engines notice it, its MDM, and what each of them may do
 * wrong just now. The steps of a life (simulation.ts) act on it. What the pool and the volumes are the MDM alone knows.
 */
export class World {
  readonly disk: SimulatedDisk;
  readonly mdm: SimulatedMdm;
  readonly pool: SimulatedPool;
  readonly invariants: Invariants;
  readonly standings: Standings;
  readonly volumes: Mounted[] = [];
  now = 1_000_000;
  step = 0;
  tag = 0;
  lastLayer = 0;
  /** Every second life is one with checksums. */
  readonly checksum: boolean;
  /** Not all engines have been told of all changes. */
  isUntold = false;
  /** A session of an older map for every volume, as a lagging MDM member would have it. */
  readonly old = new Map<string, Session>();
  /** Layers whose record files cannot be written to, or one replica of which cannot. */
  readonly brokenRecords = new Set<string>();
  readonly rotten = new Set<string>();

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
    this.mdm = new SimulatedMdm(random, trace);
    this.pool = new SimulatedPool(this.disk, seed % 3 === 0, () => this.mdm.state);
    this.layers = new SimulatedLayers(this.disk, this.pool, () => this.mdm.state);
    this.invariants = new Invariants(this.disk, this.pool);
    this.standings = new Standings(this);
  }

  /** The system, and a volume. */
  async found(): Promise<void> {
    await this.mdm.found(this.pool.founded(() => this.random(), this.checksum));
    const volume = this.newVolume({ sizeBytes: CHUNKS * MIB });
    this.layers.create(ownLayer(volume), 0);
    await this.mdm.commit({ type: "volume-created", volume });
    this.mdm.calm = false;
    this.mount(this.addVolume(volume.id, new Model()));
  }

  /** A step begins. */
  begin(step: number): void {
    this.step = step;
    this.random = randomOf(seedOf(this.seed, step));
    this.trace(`${step}:`);
    this.now += Math.floor(this.random() * 3000);
    this.standings.begin();
  }

  pick<T>(from: readonly T[]): T {
    return pick(() => this.random(), from);
  }

  newId(): Id {
    return idOf(SYSTEM, ++this.lastLayer);
  }

  newVolume(what: Pick<VolumeRecord, "sizeBytes" | "lower">): VolumeRecord {
    const id = this.newId();
    const createdAt = "2026-01-01T00:00:00Z";
    return { id, name: id, poolId: "pool", createdAt, fsType: "ext4", iops: 0, firstGroup: 0, mappedTo: null, ...what };
  }

  do(
    volume: Mounted,
    operation: (store: BlockStore) => void,
    range?: { sector: number; count: number },
    mayRefuse = false,
  ): void {
    const { layerId, lower } = volume.followed;
    const layers = [{ id: layerId, sizeBytes: volume.servedBytes }, ...lower];
    const first = range && Math.floor((range.sector * SECTOR) / MIB);
    const last = range && Math.floor(((range.sector + range.count - 1) * SECTOR) / MIB);
    const store = this.live(volume);
    this.permit(
      () => operation(store),
      () =>
        mayRefuse ||
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
  async tryTo(task: () => void | Promise<void>): Promise<void> {
    try {
      await task();
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

  /** The daemon tells everybody, if that was broken off, mounts what is not mounted, clears away what was left. */
  catchUp(): void {
    const isBehind = this.isUntold || this.mdm.isNew;
    if (isBehind) this.tellAll({ mayDie: false });
    for (const volume of this.volumes) if (!volume.isMounted) this.mount(volume);
    if (isBehind) this.#sweepAll();
    this.mdm.isNew = false;
  }

  /**
   * Every engine is told of the state as it is now. The daemon may die on the way: some engines have an order that they have not
   * followed, others have heard nothing, until the next daemon tells all again. So it is when an engine is killed by what it hears.
   */
  tellAll({ mayDie }: { mayDie: boolean }): void {
    const dies = mayDie && this.random() < 0.15 ? Math.floor(this.random() * (this.volumes.length + 1)) : undefined;
    this.isUntold = true;
    for (const [index, volume] of this.volumes.entries()) {
      if (!volume.isMounted || (dies !== undefined && index > dies)) continue;
      this.address(volume);
      if (index === dies || volume.store === undefined) continue;
      this.follow(volume);
    }
    if (dies !== undefined) this.mdm.die();
    this.isUntold = dies !== undefined && dies < this.volumes.length;
  }

  /** What the volume's engine is to go by is left for it. */
  address(volume: Mounted): void {
    const session = this.layers.sessionOf(volume);
    if (session.mapVersion > volume.session.mapVersion) this.old.set(volume.record.id, volume.session);
    volume.session = session;
  }

  /** The engine goes by what was left for it, also by another layer. */
  follow(volume: Mounted): void {
    if (volume.session.layerId !== volume.followed.layerId) {
      this.do(volume, (store) => store.seal());
      volume.store = undefined;
      volume.losses = [];
      this.open(volume);
      // Sealing syncs all.
      volume.model.flushed();
      return;
    }
    const { session } = volume;
    this.reload(volume, session);
    volume.followed = session;
  }

  reload(volume: Mounted, session: Session): void {
    // What is said to be well is tried again.
    for (const [place, { file, state }] of session.devices.entries())
      if (state === "up" && volume.followed.devices[place]?.state !== "up") this.disk.complained.delete(file);
    this.do(volume, (store) => store.reload(session));
    volume.servedBytes = Math.max(volume.servedBytes, session.sizeBytes);
  }

  addVolume(id: Id, model: Model): Mounted {
    const { mdm } = this;
    const volume: Mounted = {
      get record() {
        return mdm.state.volumes.get(id) as VolumeRecord;
      },
      model,
      store: undefined,
      session: {} as Session,
      followed: {} as Session,
      servedBytes: 0,
      isMounted: false,
      flushMayFail: false,
      wasTold: false,
      losses: [],
    };
    this.volumes.push(volume);
    return volume;
  }

  mount(volume: Mounted): void {
    this.address(volume);
    volume.isMounted = true;
    this.open(volume);
  }

  unmount(volume: Mounted): void {
    this.do(volume, (store) => store.close());
    volume.store = undefined;
    volume.isMounted = false;
  }

  open(volume: Mounted): void {
    for (const { file } of volume.session.devices) this.disk.complained.delete(file);
    volume.flushMayFail ||= volume.wasTold;
    volume.store = new BlockStore(this.disk, volume.session, () => this.now);
    volume.followed = volume.session;
    volume.servedBytes = volume.session.sizeBytes;
  }

  /** All engines die, and some of those that come next while they begin. */
  die(): void {
    for (let deaths = 0; ; deaths++) {
      this.disk.crash();
      if (deaths < MOST_DEATHS && this.random() < 0.6) this.disk.killAfter = Math.floor(128 ** this.random());
      try {
        this.reopen();
      } catch (error) {
        if (!this.disk.dead) throw error;
      }
      if (!this.disk.dead) break;
      this.trace("  killed while it begins");
    }
    this.disk.killAfter = undefined;
  }

  /** All engines have died: others begin where they were, and know of what was lost unless that was a moment before. */
  reopen(): void {
    const isOnRecord = this.brokenRecords.size === 0;
    for (const volume of this.volumes) {
      volume.store = undefined;
      volume.losses = volume.losses.filter(({ step }) => isOnRecord && step !== this.step);
    }
    this.repairRecords();
    for (const volume of this.volumes) if (volume.isMounted) this.open(volume);
    // What a death has left unrecorded.
    if (this.mdm.acts && !this.isUntold) this.#sweepAll();
  }

  /** After a power loss: no engine works before the MDM says by what. */
  async restart(): Promise<void> {
    for (const volume of this.volumes) Object.assign(volume, { store: undefined, isMounted: false, losses: [] });
    this.repairRecords();
    while (!(await this.mdm.attend())) if (this.random() < 0.5) this.mdm.harm.healAll();
    this.catchUp();
  }

  #sweepAll(): void {
    this.layers.sweep([...new Set(this.disk.paths().map((path) => /^\/sdc\/(\w+)/.exec(path)?.[1] ?? ""))]);
    this.pool.sweep();
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

  /** A device that fails, or is full, shows up as failed (invariant 8), and not as a request's errors or as data lost. */
  checkReported(): void {
    for (const { store, followed, record } of this.volumes) {
      if (store === undefined) continue;
      const reported = new Set(store.status().failedDevices.map(({ name }) => name));
      for (const { name, file, state } of followed.devices)
        if (state === "up" && this.disk.complained.has(file) && !reported.has(name))
          throw new Error(`device ${name} has failed, and the engine of volume ${record.id} does not say so`);
    }
  }

  cutPower(): void {
    this.disk.powerLoss();
    this.mdm.die({ power: true });
    for (const { model } of this.volumes) model.powerLoss();
  }
}
