import { SimError } from "../../lib/errors.ts";
import { CHUNK_BYTES } from "../model.ts";
import { Copies, type Unsynced } from "./copies.ts";
import type { Files } from "./files.ts";
import { Intent } from "./intent.ts";
import { ALL_SLOTS, BIT, COUNT, INHERITED, SLOTS, type Slot } from "./layout.ts";
import { Ledger } from "./ledger.ts";
import { LowerLayers } from "./lower-layers.ts";
import type { Session } from "./session.ts";

/** In memory only: the chunk's region was being written when the engine stopped, so its copies may differ. */
export const UNSYNCED = 0x80;

/**
 * The layer that takes a volume's writes, opened: its copies on the devices, the state of every chunk, and the records that
 * say so on disk. Every chunk has a state byte: the bits of ledger.ts say which slots hold no good copy and whether the chunk
 * is INHERITED, UNSYNCED says that the copies must be compared before one is used.
 *
 * Changes of state are made here and put on record by {@link record}; what may be done in which state is decided by
 * block-store.ts, comparison.ts and whole-chunks.ts.
 */
export class OpenLayer {
  readonly #files: Files;
  readonly #ledger: Ledger;
  readonly copies: Copies;
  intent: Intent;
  lower: LowerLayers;
  session: Session;
  #states: Uint8Array;
  /** Counted as states change, so that a report costs nothing; of stale copies also those that are to be made good. */
  staleCopies = 0;
  dueCopies = 0;
  unsyncedChunks = 0;
  absorbing = 0;
  /** Chunks whose stale bits are ahead of the ledger. */
  #unrecorded: { first: number; last: number } | undefined;

  /** Throws state_corrupt, state_newer and errno errors of the record files. */
  constructor(files: Files, session: Session) {
    this.#files = files;
    this.session = session;
    const opened: { close(): void }[] = [];
    const hold = <T extends { close(): void }>(part: T): T => {
      opened.push(part);
      return part;
    };
    try {
      const chunks = session.sizeBytes / CHUNK_BYTES;
      this.lower = hold(new LowerLayers(files, session));
      this.#ledger = hold(new Ledger(files, session.recordDir, session.layerId, chunks));
      this.#states = this.#ledger.states;
      this.#ledger.follow(session.mapVersion);
      this.intent = hold(new Intent(files, session.recordDir, session.sizeBytes));
      this.copies = hold(new Copies(files, session));
      if (this.#ledger.recorded < chunks) this.#grow(this.#ledger.recorded, chunks);

      this.#count();
      const perRegion = this.intent.regionBytes / CHUNK_BYTES;
      for (const region of this.intent.activeRegions()) {
        const end = Math.min((region + 1) * perRegion, chunks);
        for (let chunk = region * perRegion; chunk < end; chunk++) this.change(chunk, this.state(chunk) | UNSYNCED);
      }
      this.#adoptNewFiles();
      this.#adoptNewSums();
    } catch (error) {
      for (const part of opened) part.close();
      throw error;
    }
  }

  /** The devices as a changed session has them; {@link takeOver} has to follow. Answers what left and could not be synced. */
  takeDevices(session: Session): Unsynced[] {
    this.#ledger.follow(session.mapVersion);
    return this.copies.reload(session);
  }

  /** What else has changed, see BlockStore.reload. */
  takeOver(session: Session): void {
    const lower = new LowerLayers(this.#files, session);
    this.lower.close();
    this.lower = lower;
    this.session = session;
    const chunks = session.sizeBytes / CHUNK_BYTES;
    if (chunks > this.chunks) {
      const intent = new Intent(this.#files, session.recordDir, session.sizeBytes);
      this.intent.close();
      this.intent = intent;
      this.#grow(this.chunks, chunks);
    }
    this.#count();
    this.#adoptNewFiles();
    this.#adoptNewSums();
  }

  close(): void {
    this.intent.close();
    this.#ledger.close();
    this.copies.close();
    this.lower.close();
  }

  get chunks(): number {
    return this.#states.length;
  }

  state(chunk: number): number {
    return this.#states[chunk] as number;
  }

  /** In memory; {@link touch} where it has to be put on record. */
  change(chunk: number, state: number): void {
    const before = this.state(chunk);
    const { layout } = this.copies;
    const active = layout.active(chunk);
    this.staleCopies += (COUNT[state & active] as number) - (COUNT[before & active] as number);
    this.dueCopies += (COUNT[layout.due(chunk, state)] as number) - (COUNT[layout.due(chunk, before)] as number);
    this.unsyncedChunks += (state >> 7) - (before >> 7);
    if ((before & ~state & INHERITED) !== 0 && this.isToAbsorb(chunk)) this.absorbing--;
    this.#states[chunk] = state;
  }

  /** Whether the layer does not hold the chunk, so that the one below shows through. */
  isInherited(chunk: number): boolean {
    return (this.state(chunk) & INHERITED) !== 0;
  }

  /** Whether nothing was ever written to the chunk: all its copies are holes. */
  isBlank(chunk: number): boolean {
    return !this.intent.isTouched(chunk * CHUNK_BYTES) && !this.isInherited(chunk);
  }

  /** Whether the chunk lies in a layer that is to go. */
  isToAbsorb(chunk: number): boolean {
    if (this.session.absorb === 0) return false;
    const owner = this.lower.owner(chunk);
    return owner >= 0 && owner < this.session.absorb;
  }

  isStale(chunk: number, slot: Slot): boolean {
    return (this.state(chunk) & BIT[slot]) !== 0;
  }

  /**
   * To be followed by {@link record} before anything that relies on it. Never takes the last good copy away: a change that
   * reached no copy fails, and the chunk comes back with its device.
   */
  markStale(chunk: number, slot: Slot): void {
    if (this.isStale(chunk, slot)) return;
    if (this.isLast(chunk, slot)) throw noGoodCopy(chunk);
    this.change(chunk, this.state(chunk) | BIT[slot]);
    this.copies.drop(chunk, slot);
    this.touch(chunk);
  }

  /**
   * Mask of the slots that a change is to be made on: good copies on healthy devices, in retired slots only where they are
   * needed. When no healthy device has a good copy, those on failed devices are the only hope; but none that is away is given up
   * for them. To be followed by {@link keep}: until it is known who has taken the change, every good copy has all that was
   * acknowledged.
   */
  targets(chunk: number): number {
    const good = ~this.state(chunk) & ALL_SLOTS;
    const healthy = good & this.#healthy(chunk);
    if (healthy !== 0) return this.needsRetired(chunk) ? healthy : healthy & this.copies.layout.active(chunk);
    if (good === 0 || SLOTS.some((slot) => (good & BIT[slot]) !== 0 && !this.copies.reachable(chunk, slot)))
      throw noGoodCopy(chunk);
    return good;
  }

  /**
   * Whether the copies in a chunk's retired slots may not go yet: one that is to be kept is still being made, or rests and the other is
   * alone meanwhile, or there is none.
   */
  needsRetired(chunk: number): boolean {
    const { layout } = this.copies;
    const kept = this.#healthy(chunk) & layout.active(chunk);
    return (
      kept === 0 ||
      (kept & this.state(chunk)) !== 0 ||
      (COUNT[kept] === 1 &&
        (layout.resting(chunk) & layout.active(chunk)) !== 0 &&
        (this.#healthy(chunk) & layout.retired(chunk)) !== 0)
    );
  }

  /**
   * Mask of the copies that are to be made good before the chunk is changed: it has one that can be had, and one that rests and is going
   * to miss the change.
   */
  standIns(chunk: number): number {
    const { layout } = this.copies;
    if (layout.resting(chunk) === 0) return 0;
    const healthy = this.#healthy(chunk) & layout.active(chunk);
    return COUNT[healthy & ~this.state(chunk)] === 1 ? healthy & this.state(chunk) : 0;
  }

  /**
   * The copies in these slots have taken a change, and are equal: all others are stale, which {@link record} has to put on record before
   * the change is acknowledged. If none has, each that was good stays so, holds old, new or something of both, and is to be compared.
   */
  keep(chunk: number, held: number): void {
    const state = this.state(chunk);
    if (held === (~state & ALL_SLOTS)) return;
    if (held === 0) this.change(chunk, state | UNSYNCED);
    else for (const slot of SLOTS) if ((held & BIT[slot]) === 0) this.markStale(chunk, slot);
  }

  /** To be followed by {@link record}, which is tried again until it succeeds: the chunk's state has changed. */
  touch(chunk: number): void {
    const { first, last } = this.#unrecorded ?? { first: chunk, last: chunk };
    this.#unrecorded = { first: Math.min(first, chunk), last: Math.max(last, chunk) };
  }

  /** Whether the chunk's state may be ahead of its record, which could not be written. */
  isUnrecorded(chunk: number): boolean {
    return this.#unrecorded !== undefined && this.#unrecorded.first <= chunk && chunk <= this.#unrecorded.last;
  }

  /** Makes durable what is known of the copies: stale marks, and that something was lost of which a flush has to tell. */
  record(): void {
    this.intent.save();
    if (this.#unrecorded === undefined) return;
    this.#ledger.persist(this.#unrecorded.first, this.#unrecorded.last);
    this.#unrecorded = undefined;
  }

  /** Whether a region of the write-intent record has chunks whose copies have not been compared. */
  regionUnsynced(region: number): boolean {
    const perRegion = this.intent.regionBytes / CHUNK_BYTES;
    for (let chunk = region * perRegion; chunk < Math.min((region + 1) * perRegion, this.#states.length); chunk++) {
      if ((this.state(chunk) & UNSYNCED) !== 0) return true;
    }
    return false;
  }

  /** How many good copies of the chunk are on devices that work. */
  goodCopies(chunk: number): number {
    return COUNT[~this.state(chunk) & this.#healthy(chunk)] as number;
  }

  /** Chunks with fewer than two good copies, of which another one can be made now. */
  countDegraded(): number {
    let degraded = 0;
    for (let chunk = 0; chunk < this.#states.length; chunk++) {
      const due = this.copies.layout.due(chunk, this.state(chunk));
      if (due === 0 || this.isInherited(chunk) || this.goodCopies(chunk) >= 2) continue;
      const isWithinReach = (slot: Slot) => !this.isStale(chunk, slot) && this.copies.reachable(chunk, slot);
      if ((due & this.#healthy(chunk)) !== 0 && (this.isBlank(chunk) || SLOTS.some(isWithinReach))) degraded++;
    }
    return degraded;
  }

  /** Whether all other copies of the chunk are stale. */
  isLast(chunk: number, slot: Slot): boolean {
    return (this.state(chunk) & ALL_SLOTS) === (ALL_SLOTS & ~BIT[slot]);
  }

  /** Mask of the slots whose devices work. */
  #healthy(chunk: number): number {
    let healthy = 0;
    for (let slot = 0; slot < 3; slot++) if (this.copies.healthy(chunk, slot as Slot)) healthy |= 1 << slot;
    return healthy;
  }

  /** Counts anew: at the beginning, and when the map has changed. */
  #count(): void {
    this.staleCopies = 0;
    this.dueCopies = 0;
    this.unsyncedChunks = 0;
    this.absorbing = 0;
    const { layout } = this.copies;
    for (let chunk = 0; chunk < this.#states.length; chunk++) {
      if (this.isInherited(chunk) && this.isToAbsorb(chunk)) this.absorbing++;
      this.staleCopies += COUNT[this.state(chunk) & layout.active(chunk)] as number;
      this.dueCopies += COUNT[layout.due(chunk, this.state(chunk))] as number;
      this.unsyncedChunks += this.state(chunk) >> 7;
    }
  }

  /** The volume has grown: its new chunks are zeros. */
  #grow(first: number, chunks: number): void {
    const { layout } = this.copies;
    this.#ledger.grow(first, chunks, (chunk) => layout.untouched(chunk, (device) => this.copies.hasFile(device)));
    this.#states = this.#ledger.states;
  }

  /**
   * A device whose file was missing gets an empty one: none of its copies is good, and that is on record before the file
   * exists. Here a chunk may lose its last good copy; it then answers errors for ever, never zeros.
   */
  #adoptNewFiles(): void {
    for (const device of this.copies.newFiles()) {
      for (let chunk = 0; chunk < this.#states.length; chunk++) {
        for (const slot of SLOTS) {
          if (this.copies.deviceOf(chunk, slot) === device) this.change(chunk, this.state(chunk) | BIT[slot]);
        }
      }
      this.#ledger.persist(0, this.#states.length - 1);
      this.copies.adopt(device);
    }
  }

  /**
   * A device that has lost its checksums alone gets new ones, by what it and the others hold: that this has to be compared is on record
   * before the empty file exists. A frozen layer is read by others meanwhile, who know of stale copies only: there all copies of the
   * device are made anew, or it is left as it is while it has the last one of something, to be read where nothing else can be.
   */
  #adoptNewSums(): void {
    const devices = this.copies.lackingSums();
    if (devices.length === 0) return;
    const lacking: { chunk: number; slot: Slot }[] = [];
    for (let chunk = 0; chunk < this.chunks; chunk++) {
      if (this.isInherited(chunk) || this.isBlank(chunk)) continue;
      for (const slot of SLOTS)
        if (!this.isStale(chunk, slot) && devices.includes(this.copies.deviceOf(chunk, slot)))
          lacking.push({ chunk, slot });
    }
    if (this.session.frozen === true) {
      if (lacking.some(({ chunk }) => this.goodCopies(chunk) === 0)) return;
      for (const { chunk, slot } of lacking) this.markStale(chunk, slot);
      this.record();
    } else if (lacking.length > 0) {
      this.intent.coverTouched();
      for (const { chunk } of lacking) this.change(chunk, this.state(chunk) | UNSYNCED);
    }
    for (const device of devices) this.copies.adoptSums(device);
  }
}

export function noGoodCopy(chunk: number): SimError {
  return new SimError("unavailable", `chunk ${chunk} has no good copy within reach: start the SDS that holds it again`);
}
