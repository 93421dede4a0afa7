import { SimError } from "../../lib/errors.ts";
import { CHUNK_BYTES } from "../model.ts";
import { Copies } from "./copies.ts";
import type { Files } from "./files.ts";
import { Intent } from "./intent.ts";
import type { Slot } from "./layout.ts";
import { Ledger, SLOT_STALE } from "./ledger.ts";
import type { EngineStatus, Session } from "./session.ts";

/** In memory only: the chunk's region was being written when the engine stopped, so its copies may differ. */
const UNSYNCED = 0x80;
const STALE_MASK = SLOT_STALE[0] | SLOT_STALE[1];
/** How many copies the stale bits of a state stand for. */
const STALE_COPIES = [0, 1, 1, 2] as const;
const SLOTS: readonly Slot[] = [0, 1];
/** Shorter ranges are zeroed by writing; punching costs a process. */
const PUNCH_FROM_BYTES = 64 * 1024;

/**
 * One volume's storage logic: reads, writes, flushes and zeroes bytes over the two copies of each chunk, and keeps the
 * invariants of design.md 3. Synchronous, single-threaded, owns no clock and no disk of its own; the engine's thread is
 * its lock. Offsets and lengths are bytes of any alignment inside the volume.
 *
 * Every chunk has a state byte. Zero, the common case, means that both copies are good; the bits of ledger.ts say which
 * copy is stale; UNSYNCED says that the copies must be compared before either is used.
 */
export class BlockStore {
  readonly #now: () => number;
  readonly #ledger: Ledger;
  readonly #intent: Intent;
  readonly #copies: Copies;
  readonly #states: Uint8Array;
  readonly #scratch = [Buffer.alloc(CHUNK_BYTES), Buffer.alloc(CHUNK_BYTES)] as const;
  readonly #short = Buffer.alloc(PUNCH_FROM_BYTES);
  /** Counted as states change, so that a report costs nothing. */
  #staleCopies = 0;
  #unsyncedChunks = 0;
  /** Chunks whose stale bits are ahead of the ledger. */
  #unrecorded: { first: number; last: number } | undefined;

  /**
   * Opens the volume; after an unclean stop the regions of the write-intent record are compared on first use or by
   * {@link work}. Throws state_corrupt, state_newer and errno errors of the record files.
   */
  constructor(files: Files, session: Session, now: () => number) {
    this.#now = now;
    const chunks = session.sizeBytes / CHUNK_BYTES;
    this.#ledger = new Ledger(files, session.recordDir, session.volumeId, chunks);
    this.#states = this.#ledger.states;
    this.#intent = new Intent(files, session.recordDir, session.sizeBytes);
    this.#copies = new Copies(files, session);

    for (const state of this.#states) this.#staleCopies += STALE_COPIES[state] as number;
    const perRegion = this.#intent.regionBytes / CHUNK_BYTES;
    for (const region of this.#intent.activeRegions()) {
      const end = Math.min((region + 1) * perRegion, chunks);
      for (let chunk = region * perRegion; chunk < end; chunk++) this.#change(chunk, this.#state(chunk) | UNSYNCED);
    }
    this.#adoptNewFiles();
  }

  /** Fills into[at, at + length). Throws when some chunk has no good copy that can be read. */
  read(into: Buffer, at: number, offset: number, length: number): void {
    for (let done = 0; done < length; ) {
      const chunk = Math.floor((offset + done) / CHUNK_BYTES);
      const n = Math.min(length - done, (chunk + 1) * CHUNK_BYTES - offset - done);
      this.#readPiece(chunk, into, at + done, offset + done, n);
      done += n;
    }
  }

  /** Writes from[at, at + length) to every good copy. When it returns, each copy has it or is durably known to be stale. */
  write(from: Buffer, at: number, offset: number, length: number): void {
    this.#intent.cover(offset, length, this.#now());
    for (let done = 0; done < length; ) {
      const chunk = Math.floor((offset + done) / CHUNK_BYTES);
      const n = Math.min(length - done, (chunk + 1) * CHUNK_BYTES - offset - done);
      this.#writePiece(chunk, from, at + done, offset + done, n);
      done += n;
    }
  }

  /** When it returns, everything acknowledged before survives power loss. */
  flush(): void {
    for (const device of this.#copies.syncAll()) this.#distrust(device);
    this.#intent.settle(this.#now(), (region) => this.#regionUnsynced(region));
  }

  /** Makes the range read as zeros and gives its space back: discard and write-zeroes are the same here. */
  zero(offset: number, length: number): void {
    if (length < PUNCH_FROM_BYTES) {
      this.#zeroByWriting(offset, length);
      return;
    }
    this.#intent.cover(offset, length, this.#now());
    const first = Math.floor(offset / CHUNK_BYTES);
    const last = Math.floor((offset + length - 1) / CHUNK_BYTES);
    const devices = new Set<number>();
    for (let chunk = first; chunk <= last; chunk++) {
      this.#settleChunk(chunk);
      for (const slot of this.#targets(chunk)) devices.add(this.#copies.deviceOf(chunk, slot));
    }
    this.#record();
    // A device's file holds only its own chunks: one punch over the whole range does them all.
    for (const device of devices) {
      if (this.#copies.punch(device, offset, length)) continue;
      for (let chunk = first; chunk <= last; chunk++) {
        for (const slot of SLOTS) if (this.#copies.deviceOf(chunk, slot) === device) this.#markStale(chunk, slot);
      }
    }
    this.#record();
  }

  /** Takes over a changed session: device states, map version. What goes down is synced first, so that flushes stay honest. */
  reload(session: Session): void {
    for (const device of this.#copies.reload(session)) this.#distrust(device);
    this.#adoptNewFiles();
  }

  /**
   * Makes up to `budget` chunks good again: compares unsynced ones, copies stale ones. Answers how many it touched; 0 means
   * that nothing is left to do, or that what is left needs a device that is down.
   */
  work(budget: number): number {
    if (this.#staleCopies + this.#unsyncedChunks === 0) return 0;
    const rebuilt: number[] = [];
    let touched = 0;
    for (let chunk = 0; chunk < this.#states.length && touched < budget; chunk++) {
      const state = this.#state(chunk);
      if (state === 0) continue;
      if ((state & UNSYNCED) !== 0 && this.#settleChunk(chunk)) touched++;
      if (this.#rebuildCopy(chunk)) {
        rebuilt.push(chunk);
        touched++;
      }
    }
    if (rebuilt.length > 0) this.#declareGood(rebuilt);
    return touched;
  }

  /** Clean end: everything synced, the write-intent record emptied as far as the copies are known to be equal. */
  close(): void {
    for (const device of this.#copies.syncAll()) this.#distrust(device);
    this.#intent.clear((region) => this.#regionUnsynced(region));
    this.#intent.close();
    this.#ledger.close();
    this.#copies.close();
  }

  /** How many devices have failed so far: cheap, to be looked at between requests. */
  get failures(): number {
    return this.#copies.failures;
  }

  status(): Pick<EngineStatus, "staleCopies" | "unsyncedChunks" | "failedDevices" | "blank"> {
    return {
      staleCopies: this.#staleCopies,
      unsyncedChunks: this.#unsyncedChunks,
      failedDevices: this.#copies.failed(),
      blank: this.#copies.blank(),
    };
  }

  #state(chunk: number): number {
    return this.#states[chunk] as number;
  }

  #change(chunk: number, state: number): void {
    const before = this.#state(chunk);
    this.#staleCopies += (STALE_COPIES[state & STALE_MASK] as number) - (STALE_COPIES[before & STALE_MASK] as number);
    this.#unsyncedChunks += (state >> 7) - (before >> 7);
    this.#states[chunk] = state;
  }

  #readPiece(chunk: number, into: Buffer, at: number, offset: number, length: number): void {
    if (this.#states[chunk] !== 0) this.#settleChunk(chunk);
    if (this.#readSlot(chunk, 0, false, into, at, offset, length)) return;
    if (this.#readSlot(chunk, 1, false, into, at, offset, length)) return;
    // A device that failed is asked only when nothing else has the data.
    if (this.#readSlot(chunk, 0, true, into, at, offset, length)) return;
    if (this.#readSlot(chunk, 1, true, into, at, offset, length)) return;
    throw noGoodCopy(chunk);
  }

  #readSlot(
    chunk: number,
    slot: Slot,
    failed: boolean,
    into: Buffer,
    at: number,
    offset: number,
    length: number,
  ): boolean {
    return !this.#isStale(chunk, slot) && this.#copies.read(chunk, slot, failed, into, at, offset, length);
  }

  #writePiece(chunk: number, from: Buffer, at: number, offset: number, length: number): void {
    if (this.#states[chunk] !== 0) this.#settleChunk(chunk);
    const targets = this.#targets(chunk);
    this.#record();
    for (let i = 0; i < targets.length; i++) {
      const slot = targets[i] as Slot;
      if (!this.#copies.write(chunk, slot, from, at, offset, length)) this.#markStale(chunk, slot);
    }
    this.#record();
  }

  /**
   * The slots that a change must reach: good copies on healthy devices. Good copies elsewhere are marked stale, to be
   * recorded before the change. When no healthy device has a good copy, one on a failed device is the only hope.
   */
  #targets(chunk: number): readonly Slot[] {
    if (this.#states[chunk] === 0 && this.#copies.healthy(chunk, 0) && this.#copies.healthy(chunk, 1)) return SLOTS;
    const good = SLOTS.filter((slot) => !this.#isStale(chunk, slot));
    const healthy = good.filter((slot) => this.#copies.healthy(chunk, slot));
    const targets =
      healthy.length > 0 ? healthy : good.filter((slot) => this.#copies.reachable(chunk, slot)).slice(0, 1);
    if (targets.length === 0) throw noGoodCopy(chunk);
    for (const slot of good) if (!targets.includes(slot)) this.#markStale(chunk, slot);
    return targets;
  }

  #isStale(chunk: number, slot: Slot): boolean {
    return (this.#state(chunk) & SLOT_STALE[slot]) !== 0;
  }

  /**
   * To be followed by {@link #record} before anything that relies on it. Never takes the last good copy away: a change that
   * reached no copy fails, and the chunk comes back with its device.
   */
  #markStale(chunk: number, slot: Slot): void {
    if (this.#isStale(chunk, slot)) return;
    if (this.#isStale(chunk, slot === 0 ? 1 : 0)) throw noGoodCopy(chunk);
    this.#change(chunk, this.#state(chunk) | SLOT_STALE[slot]);
    const { first, last } = this.#unrecorded ?? { first: chunk, last: chunk };
    this.#unrecorded = { first: Math.min(first, chunk), last: Math.max(last, chunk) };
  }

  /** Makes stale marks durable. */
  #record(): void {
    if (this.#unrecorded === undefined) return;
    this.#ledger.persist(this.#unrecorded.first, this.#unrecorded.last);
    this.#unrecorded = undefined;
  }

  /** Makes the two copies of an unsynced chunk equal, or marks one of them stale. True when that has been settled. */
  #settleChunk(chunk: number): boolean {
    const state = this.#state(chunk);
    if ((state & UNSYNCED) === 0) return false;
    if ((state & ~UNSYNCED) === 0) {
      if (!this.#copies.reachable(chunk, 0) && !this.#copies.reachable(chunk, 1)) return false;
      const source: Slot = this.#load(chunk, 0) ? 0 : 1;
      const target: Slot = source === 0 ? 1 : 0;
      if (source === 1 && !this.#load(chunk, 1)) return false;
      this.#intent.cover(chunk * CHUNK_BYTES, CHUNK_BYTES, this.#now());
      if (!this.#mirror(chunk, source, target)) this.#markStale(chunk, target);
      this.#record();
    }
    this.#change(chunk, this.#state(chunk) & ~UNSYNCED);
    return true;
  }

  /** Copies the good copy of a chunk over its stale one. The bit stays until the copy has been synced. */
  #rebuildCopy(chunk: number): boolean {
    const state = this.#state(chunk);
    if ((state & UNSYNCED) !== 0) return false;
    const target = SLOTS.find((slot) => (state & SLOT_STALE[slot]) !== 0);
    if (target === undefined) return false;
    const source: Slot = target === 0 ? 1 : 0;
    if (this.#isStale(chunk, source) || !this.#copies.healthy(chunk, target)) return false;
    return this.#load(chunk, source) && this.#mirror(chunk, source, target);
  }

  #declareGood(chunks: readonly number[]): void {
    const distrusted = new Set(this.#copies.syncAll());
    for (const device of distrusted) this.#distrust(device);
    for (const chunk of chunks) {
      for (const slot of SLOTS) {
        if (this.#isStale(chunk, slot) && !distrusted.has(this.#copies.deviceOf(chunk, slot))) {
          this.#change(chunk, this.#state(chunk) & ~SLOT_STALE[slot]);
        }
      }
    }
    this.#ledger.persist(Math.min(...chunks), Math.max(...chunks));
  }

  /** Reads a whole copy into its scratch buffer. */
  #load(chunk: number, slot: Slot): boolean {
    const into = this.#scratch[slot];
    for (const lastResort of [false, true]) {
      if (this.#copies.read(chunk, slot, lastResort, into, 0, chunk * CHUNK_BYTES, CHUNK_BYTES)) return true;
    }
    return false;
  }

  /** Writes the loaded source over the target where they differ: comparing keeps holes holes. */
  #mirror(chunk: number, source: Slot, target: Slot): boolean {
    if (!this.#copies.healthy(chunk, target)) return false;
    if (this.#load(chunk, target) && this.#scratch[0].equals(this.#scratch[1])) return true;
    return this.#copies.write(chunk, target, this.#scratch[source], 0, chunk * CHUNK_BYTES, CHUNK_BYTES);
  }

  /** A device could not be synced: nothing it took since the last flush counts (the write-intent record says where). */
  #distrust(device: number): void {
    for (let chunk = 0; chunk < this.#states.length; chunk++) {
      if (!this.#intent.isActive(chunk * CHUNK_BYTES)) continue;
      for (const slot of SLOTS) if (this.#copies.deviceOf(chunk, slot) === device) this.#markStale(chunk, slot);
    }
    this.#record();
  }

  /**
   * A device whose file was missing gets an empty one: none of its copies is good, and that is on record before the file
   * exists. Here a chunk may lose its last good copy; it then answers errors for ever, never zeros.
   */
  #adoptNewFiles(): void {
    for (const device of this.#copies.takeNewFiles()) {
      for (let chunk = 0; chunk < this.#states.length; chunk++) {
        for (const slot of SLOTS) {
          if (this.#copies.deviceOf(chunk, slot) === device) this.#change(chunk, this.#state(chunk) | SLOT_STALE[slot]);
        }
      }
      this.#ledger.persist(0, this.#states.length - 1);
      this.#copies.adopt(device);
    }
  }

  #zeroByWriting(offset: number, length: number): void {
    this.read(this.#short, 0, offset, length);
    // Zeros stay holes where they are holes already.
    for (let i = 0; i < length; i++) {
      if (this.#short[i] !== 0) {
        this.write(this.#short.fill(0, 0, length), 0, offset, length);
        return;
      }
    }
  }

  #regionUnsynced(region: number): boolean {
    const perRegion = this.#intent.regionBytes / CHUNK_BYTES;
    for (let chunk = region * perRegion; chunk < Math.min((region + 1) * perRegion, this.#states.length); chunk++) {
      if ((this.#state(chunk) & UNSYNCED) !== 0) return true;
    }
    return false;
  }
}

function noGoodCopy(chunk: number): SimError {
  return new SimError("unavailable", `chunk ${chunk} has no good copy within reach: start the SDS that holds it again`);
}
