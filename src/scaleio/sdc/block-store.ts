import { SimError } from "../../lib/errors.ts";
import { CHUNK_BYTES } from "../model.ts";
import { Copies } from "./copies.ts";
import type { Files } from "./files.ts";
import { Intent } from "./intent.ts";
import { ALL_SLOTS, BIT, COUNT, INHERITED, SLOTS, type Slot } from "./layout.ts";
import { Ledger } from "./ledger.ts";
import { LowerLayers } from "./lower-layers.ts";
import type { EngineStatus, LowerLayer, Session } from "./session.ts";
import { BLOCK_BYTES } from "./sums.ts";

/** In memory only: the chunk's region was being written when the engine stopped, so its copies may differ. */
const UNSYNCED = 0x80;
const ZEROS = Buffer.alloc(CHUNK_BYTES);
/** Copies are compared and written over in pieces of this many bytes. */
const PIECE_BYTES = 64 * 1024;
/** Shorter ranges are zeroed by writing; punching costs a process. */
const PUNCH_FROM_BYTES = 64 * 1024;

/**
 * One volume's storage logic: reads, writes, flushes and zeroes bytes over the two copies of each chunk, and keeps the
 * invariants of design.md 3. A chunk that the volume has in common with its snapshots is copied up at the first write to it.
 * Synchronous, single-threaded, owns no clock and no disk of its own; the engine's thread is
 * its lock. Offsets and lengths are bytes of any alignment inside the volume.
 *
 * Every chunk has a state byte: the bits of ledger.ts say which slots hold no good copy and whether the chunk is INHERITED,
 * UNSYNCED says that the copies must be compared before one is used.
 */
export class BlockStore {
  readonly #now: () => number;
  readonly #files: Files;
  readonly #ledger: Ledger;
  #intent: Intent;
  readonly #copies: Copies;
  #lower: LowerLayers;
  #session: Session;
  #states: Uint8Array;
  readonly #source = Buffer.alloc(CHUNK_BYTES);
  readonly #target = Buffer.alloc(CHUNK_BYTES);
  readonly #short = Buffer.alloc(PUNCH_FROM_BYTES);
  /** Counted as states change, so that a report costs nothing. */
  #staleCopies = 0;
  #unsyncedChunks = 0;
  #absorbing = 0;
  #fixedBlocks = 0;
  /** Chunks with a retired slot, whose copy there has to be given up and its space returned. */
  #garbage = new Set<number>();
  /** Chunks whose stale bits are ahead of the ledger. */
  #unrecorded: { first: number; last: number } | undefined;

  /**
   * Opens the volume; after an unclean stop the regions of the write-intent record are compared on first use or by
   * {@link work}. Throws state_corrupt, state_newer and errno errors of the record files.
   */
  constructor(files: Files, session: Session, now: () => number) {
    this.#now = now;
    this.#files = files;
    this.#session = session;
    const chunks = session.sizeBytes / CHUNK_BYTES;
    for (const [index, layer] of session.lower.entries()) settleFrozen(files, session, layer, index, now);
    this.#lower = new LowerLayers(files, session);
    this.#ledger = new Ledger(files, session.recordDir, session.layerId, chunks);
    this.#states = this.#ledger.states;
    this.#intent = new Intent(files, session.recordDir, session.sizeBytes);
    this.#copies = new Copies(files, session);
    if (this.#ledger.recorded < chunks) this.#grow(this.#ledger.recorded, chunks);

    this.#count();
    const perRegion = this.#intent.regionBytes / CHUNK_BYTES;
    for (const region of this.#intent.activeRegions()) {
      const end = Math.min((region + 1) * perRegion, chunks);
      for (let chunk = region * perRegion; chunk < end; chunk++) this.#change(chunk, this.#state(chunk) | UNSYNCED);
    }
    this.#adoptNewFiles();
    this.#followMap();
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
    this.#intent.settle(
      this.#now(),
      (region) => this.#regionUnsynced(region),
      () => this.#syncSums(),
    );
  }

  /** Makes the range read as zeros and gives its space back: discard and write-zeroes are the same here. */
  zero(offset: number, length: number): void {
    if (length < PUNCH_FROM_BYTES) {
      this.#zeroByWriting(offset, length);
      return;
    }
    const before = this.#copies.checksum ? -offset & (BLOCK_BYTES - 1) : 0;
    const after = this.#copies.checksum ? (offset + length) & (BLOCK_BYTES - 1) : 0;
    if (before + after > 0) {
      if (before > 0) this.#zeroByWriting(offset, before);
      if (after > 0) this.#zeroByWriting(offset + length - after, after);
      this.zero(offset + before, length - before - after);
      return;
    }
    this.#intent.cover(offset, length, this.#now());
    const first = Math.floor(offset / CHUNK_BYTES);
    const last = Math.floor((offset + length - 1) / CHUNK_BYTES);
    const devices = new Set<number>();
    for (let chunk = first; chunk <= last; chunk++) {
      this.#settleChunk(chunk);
      if (this.#isInherited(chunk)) {
        this.#zeroInherited(chunk, offset, length);
        continue;
      }
      const targets = this.#targets(chunk);
      for (const slot of SLOTS) if ((targets & BIT[slot]) !== 0) devices.add(this.#copies.deviceOf(chunk, slot));
    }
    this.#record();
    // One punch over the whole range does all chunks of a device's file; what others lie there are not good ones.
    for (const device of devices) {
      if (this.#copies.punch(device, offset, length)) continue;
      for (let chunk = first; chunk <= last; chunk++) if (!this.#isInherited(chunk)) this.#markDevice(chunk, device);
    }
    this.#record();
  }

  /**
   * Takes over a changed session of the same layer: device states, map version, size, the layers below. What goes down is
   * synced first, so that flushes stay honest. A volume never shrinks: a smaller size is one that was not granted.
   */
  reload(session: Session): void {
    const unsynced = this.#copies.reload(session);
    const lower = new LowerLayers(this.#files, session);
    this.#lower.close();
    this.#lower = lower;
    this.#session = session;
    const chunks = session.sizeBytes / CHUNK_BYTES;
    if (chunks > this.#states.length) {
      this.#intent.close();
      this.#intent = new Intent(this.#files, session.recordDir, session.sizeBytes);
      this.#grow(this.#states.length, chunks);
    }
    this.#count();
    for (const device of unsynced) this.#distrust(device);
    this.#adoptNewFiles();
    this.#followMap();
  }

  /**
   * Makes up to `budget` chunks good again: compares unsynced ones, copies stale ones, those with a single good copy first,
   * gives up what lies in retired slots, and copies up what lies in layers that are to go. Answers how many it touched; 0
   * means that nothing is left to do, or that what is left needs a device that is down.
   */
  work(budget: number): number {
    if (this.#staleCopies + this.#unsyncedChunks + this.#garbage.size + this.#absorbing === 0) return 0;
    let touched = this.#rebuild(budget, (good) => good < 2);
    if (touched < budget) touched += this.#rebuild(budget - touched, () => true);
    if (touched < budget && this.#absorbing > 0) touched += this.#absorb(budget - touched);
    for (const chunk of this.#session.giveUp ? this.#garbage : []) {
      if (touched >= budget) break;
      if (this.#giveUp(chunk)) touched++;
    }
    return touched;
  }

  /** Looks for silent corruption in some chunks and puts it right; answers how many bytes of copies it looked at. */
  scan(first: number, chunks: number): number {
    const end = Math.min(first + chunks, this.#states.length);
    for (let chunk = first; chunk < end; chunk++) this.#scanChunk(chunk);
    return Math.max(0, end - first) * 2 * CHUNK_BYTES;
  }

  /** Before the layer is frozen: its copies are all compared and synced, and its record of intents says so. */
  seal(): void {
    for (let chunk = 0; chunk < this.#states.length && this.#unsyncedChunks > 0; chunk++) this.#settleChunk(chunk);
    this.close();
  }

  /** Clean end: everything synced, the write-intent record emptied as far as the copies are known to be equal. */
  close(): void {
    for (const device of this.#copies.syncAll()) this.#distrust(device);
    this.#intent.clear(
      (region) => this.#regionUnsynced(region),
      () => this.#syncSums(),
    );
    this.#intent.close();
    this.#ledger.close();
    this.#copies.close();
    this.#lower.close();
  }

  /** How many devices have failed so far: cheap, to be looked at between requests. */
  get failures(): number {
    return this.#copies.failures + this.#lower.failures;
  }

  status(): Omit<EngineStatus, "pid" | "supervisorPid" | "ack" | "mapVersion" | "resend" | "requests" | "bytes"> {
    return {
      degradedChunks: this.#staleCopies === 0 ? 0 : this.#countDegraded(),
      staleCopies: this.#staleCopies,
      unsyncedChunks: this.#unsyncedChunks,
      garbage: this.#garbage.size,
      absorbing: this.#absorbing,
      absorbed: this.#absorbing > 0 ? [] : this.#session.lower.slice(0, this.#session.absorb).map(({ id }) => id),
      layerId: this.#session.layerId,
      badBlocks: this.#copies.bad(),
      fixedBlocks: this.#fixedBlocks,
      failedDevices: [...this.#copies.failed(), ...this.#lower.failed()],
      blank: this.#session.lower.length === 0 && this.#copies.blank(),
    };
  }

  #state(chunk: number): number {
    return this.#states[chunk] as number;
  }

  #change(chunk: number, state: number): void {
    const before = this.#state(chunk);
    const active = this.#copies.layout.active(chunk);
    this.#staleCopies += (COUNT[state & active] as number) - (COUNT[before & active] as number);
    this.#unsyncedChunks += (state >> 7) - (before >> 7);
    if ((before & ~state & INHERITED) !== 0 && this.#isToAbsorb(chunk)) this.#absorbing--;
    this.#states[chunk] = state;
  }

  /** Counts anew: at the beginning, and when the map has changed. */
  #count(): void {
    this.#staleCopies = 0;
    this.#unsyncedChunks = 0;
    this.#absorbing = 0;
    for (let chunk = 0; chunk < this.#states.length; chunk++) {
      if (this.#isInherited(chunk) && this.#isToAbsorb(chunk)) this.#absorbing++;
      this.#staleCopies += COUNT[this.#state(chunk) & this.#copies.layout.active(chunk)] as number;
      this.#unsyncedChunks += this.#state(chunk) >> 7;
    }
  }

  #countDegraded(): number {
    let degraded = 0;
    for (let chunk = 0; chunk < this.#states.length; chunk++) {
      const good = 3 - (COUNT[this.#state(chunk) & ALL_SLOTS] as number);
      if (good < 2 && !this.#isInherited(chunk)) degraded++;
    }
    return degraded;
  }

  #readPiece(chunk: number, into: Buffer, at: number, offset: number, length: number): void {
    if ((this.#state(chunk) & UNSYNCED) !== 0) this.#settleChunk(chunk);
    if (this.#isInherited(chunk)) {
      this.#lower.read(chunk, into, at, offset, length);
      return;
    }
    const { failures } = this.#copies;
    // A device that failed is asked only when nothing else has the data.
    const good =
      this.#readAny(chunk, false, into, at, offset, length) || this.#readAny(chunk, true, into, at, offset, length);
    if (!good) throw noGoodCopy(chunk);
    if (this.#copies.failures !== failures && this.#copies.checksum) this.#fix(chunk, offset, length);
  }

  /** Some copy of these blocks was bad: good content is written over it. */
  #fix(chunk: number, offset: number, length: number): void {
    const first = Math.floor(offset / BLOCK_BYTES) * BLOCK_BYTES;
    const end = Math.ceil((offset + length) / BLOCK_BYTES) * BLOCK_BYTES;
    for (let block = first; block < end; block += BLOCK_BYTES) {
      const bad = SLOTS.filter((slot) => !this.#isStale(chunk, slot) && this.#copies.healthy(chunk, slot)).filter(
        (slot) => !this.#copies.read(chunk, slot, false, this.#target, 0, block, BLOCK_BYTES),
      );
      if (bad.length === 0 || !this.#readAny(chunk, false, this.#target, 0, block, BLOCK_BYTES)) continue;
      for (const slot of bad) {
        if (!this.#copies.healthy(chunk, slot)) continue;
        if (this.#copies.write(chunk, slot, this.#target, 0, block, BLOCK_BYTES)) this.#fixedBlocks++;
        else this.#markStale(chunk, slot);
      }
    }
    this.#record();
  }

  /** Looks at all good copies of a chunk, and puts right what is bad. Without checksums the copies are compared. */
  #scanChunk(chunk: number): void {
    if (this.#isInherited(chunk)) return;
    if (!this.#settleChunk(chunk) && (this.#state(chunk) & UNSYNCED) !== 0) return;
    if (this.#copies.checksum) {
      this.#fix(chunk, chunk * CHUNK_BYTES, CHUNK_BYTES);
      return;
    }
    const good = SLOTS.filter((slot) => !this.#isStale(chunk, slot) && this.#copies.healthy(chunk, slot));
    const source = good.find((slot) => this.#load(chunk, slot, this.#source));
    for (const slot of good) {
      if (slot === source || !this.#load(chunk, slot, this.#target) || this.#source.equals(this.#target)) continue;
      this.#intent.cover(chunk * CHUNK_BYTES, CHUNK_BYTES, this.#now());
      this.#fixedBlocks++;
      if (!this.#mirror(chunk, slot)) this.#markStale(chunk, slot);
    }
    this.#record();
  }

  #readAny(chunk: number, failed: boolean, into: Buffer, at: number, offset: number, length: number): boolean {
    for (let slot: Slot = 0; slot < 3; slot++) {
      if (this.#isStale(chunk, slot as Slot)) continue;
      if (this.#copies.read(chunk, slot as Slot, failed, into, at, offset, length)) return true;
    }
    return false;
  }

  #writePiece(chunk: number, from: Buffer, at: number, offset: number, length: number): void {
    if ((this.#state(chunk) & UNSYNCED) !== 0) this.#settleChunk(chunk);
    if (this.#isInherited(chunk)) {
      this.#copyUp(chunk, (content) => from.copy(content, offset - chunk * CHUNK_BYTES, at, at + length));
      return;
    }
    if (this.#copies.checksum && ((offset | length) & (BLOCK_BYTES - 1)) !== 0) {
      this.#writeBlocks(chunk, from, at, offset, length);
      return;
    }
    const targets = this.#targets(chunk);
    this.#record();
    for (let slot = 0; slot < 3; slot++) {
      if ((targets & (1 << slot)) === 0) continue;
      if (!this.#copies.write(chunk, slot as Slot, from, at, offset, length)) this.#markStale(chunk, slot as Slot);
    }
    this.#record();
  }

  /** A write of parts of blocks, as one of whole blocks: their checksums are of all they hold. */
  #writeBlocks(chunk: number, from: Buffer, at: number, offset: number, length: number): void {
    const first = Math.floor(offset / BLOCK_BYTES) * BLOCK_BYTES;
    const end = Math.ceil((offset + length) / BLOCK_BYTES) * BLOCK_BYTES;
    this.#readPiece(chunk, this.#source, 0, first, end - first);
    from.copy(this.#source, offset - first, at, at + length);
    this.#writePiece(chunk, this.#source, 0, first, end - first);
  }

  /**
   * Mask of the slots that a change must reach: good copies on healthy devices, in retired slots only if there are no
   * others. Good copies elsewhere are marked stale, to be recorded before the change. When no healthy device has a good copy,
   * one on a failed device is the only hope.
   */
  #targets(chunk: number): number {
    const good = ~this.#state(chunk) & ALL_SLOTS;
    let healthy = 0;
    for (let slot = 0; slot < 3; slot++) {
      if ((good & (1 << slot)) !== 0 && this.#copies.healthy(chunk, slot as Slot)) healthy |= 1 << slot;
    }
    let targets = healthy & ~this.#copies.layout.retired(chunk) || healthy;
    if (targets === good) return targets;
    if (targets === 0) {
      const last = SLOTS.find((slot) => (good & BIT[slot]) !== 0 && this.#copies.reachable(chunk, slot));
      if (last === undefined) throw noGoodCopy(chunk);
      targets = BIT[last];
    }
    for (const slot of SLOTS) if ((good & ~targets & BIT[slot]) !== 0) this.#markStale(chunk, slot);
    return targets;
  }

  /**
   * Gives the layer a chunk of its own, changed as told. All of it is on disk before the ledger says that it is there: until
   * then the layer below has the data.
   */
  #copyUp(chunk: number, change: (content: Buffer) => void): void {
    this.#lower.read(chunk, this.#source, 0, chunk * CHUNK_BYTES, CHUNK_BYTES);
    change(this.#source);
    const targets = this.#targets(chunk);
    this.#record();
    for (const slot of SLOTS)
      if ((targets & BIT[slot]) !== 0 && !this.#mirror(chunk, slot)) this.#markStale(chunk, slot);
    for (const device of this.#syncEverything()) {
      this.#distrust(device);
      this.#markDevice(chunk, device);
    }
    this.#change(chunk, this.#state(chunk) & ~INHERITED);
    this.#unrecordedFrom(chunk);
    this.#record();
  }

  /** Copies up chunks that lie in layers that are to go. */
  #absorb(budget: number): number {
    let touched = 0;
    for (let chunk = 0; chunk < this.#states.length && touched < budget; chunk++) {
      if (!this.#isInherited(chunk) || !this.#isToAbsorb(chunk)) continue;
      this.#copyUp(chunk, () => undefined);
      touched++;
    }
    return touched;
  }

  /** The part of [offset, offset + length) in an inherited chunk becomes zeros; what is zeros already stays where it is. */
  #zeroInherited(chunk: number, offset: number, length: number): void {
    const from = Math.max(offset, chunk * CHUNK_BYTES);
    const end = Math.min(offset + length, (chunk + 1) * CHUNK_BYTES);
    if (this.#lower.isZero(chunk, this.#target, from, end - from)) return;
    this.#copyUp(chunk, (content) => content.fill(0, from - chunk * CHUNK_BYTES, end - chunk * CHUNK_BYTES));
  }

  /** The volume has grown: its new chunks are zeros, and good wherever the map has a place for them. */
  #grow(first: number, chunks: number): void {
    this.#ledger.grow(first, chunks, (chunk) => ALL_SLOTS & ~this.#copies.layout.active(chunk));
    this.#states = this.#ledger.states;
  }

  #isInherited(chunk: number): boolean {
    return (this.#state(chunk) & INHERITED) !== 0;
  }

  #isToAbsorb(chunk: number): boolean {
    if (this.#session.absorb === 0) return false;
    const owner = this.#lower.owner(chunk);
    return owner >= 0 && owner < this.#session.absorb;
  }

  #isStale(chunk: number, slot: Slot): boolean {
    return (this.#state(chunk) & BIT[slot]) !== 0;
  }

  /**
   * To be followed by {@link #record} before anything that relies on it. Never takes the last good copy away: a change that
   * reached no copy fails, and the chunk comes back with its device.
   */
  #markStale(chunk: number, slot: Slot): void {
    if (this.#isStale(chunk, slot)) return;
    if ((this.#state(chunk) & ALL_SLOTS) === (ALL_SLOTS & ~BIT[slot])) throw noGoodCopy(chunk);
    this.#change(chunk, this.#state(chunk) | BIT[slot]);
    this.#unrecordedFrom(chunk);
  }

  #unrecordedFrom(chunk: number): void {
    const { first, last } = this.#unrecorded ?? { first: chunk, last: chunk };
    this.#unrecorded = { first: Math.min(first, chunk), last: Math.max(last, chunk) };
  }

  #markDevice(chunk: number, device: number): void {
    for (const slot of SLOTS) if (this.#copies.deviceOf(chunk, slot) === device) this.#markStale(chunk, slot);
  }

  /** Makes stale marks durable. */
  #record(): void {
    if (this.#unrecorded === undefined) return;
    this.#ledger.persist(this.#unrecorded.first, this.#unrecorded.last);
    this.#unrecorded = undefined;
  }

  /** Makes the good copies of an unsynced chunk equal, or marks some of them stale. True when that has been settled. */
  #settleChunk(chunk: number): boolean {
    if ((this.#state(chunk) & UNSYNCED) === 0) return false;
    const good = SLOTS.filter((slot) => !this.#isStale(chunk, slot));
    if ((good.length > 1 || this.#copies.checksum) && !this.#isInherited(chunk)) {
      const source = good.find((slot) => this.#load(chunk, slot, this.#source));
      if (source === undefined) return false;
      if (this.#copies.checksum) this.#mendSource(chunk, source, good);
      this.#intent.cover(chunk * CHUNK_BYTES, CHUNK_BYTES, this.#now());
      for (const slot of good) if (!this.#mirror(chunk, slot)) this.#markStale(chunk, slot);
      this.#record();
    }
    this.#change(chunk, this.#state(chunk) & ~UNSYNCED);
    return true;
  }

  /**
   * After an unclean stop the checksums on disk are those of some time before. Where the copies differ, a block that has its
   * checksum is what was there then, and may be taken: what was acknowledged since is on both. One that has not may be rotten.
   */
  #mendSource(chunk: number, source: Slot, good: readonly Slot[]): void {
    const at = chunk * CHUNK_BYTES;
    for (const slot of good) {
      if (slot === source || !this.#load(chunk, slot, this.#target)) continue;
      for (let done = 0; done < CHUNK_BYTES; done += BLOCK_BYTES) {
        const end = done + BLOCK_BYTES;
        if (this.#source.compare(this.#target, done, end, done, end) === 0) continue;
        if (this.#copies.matches(chunk, source, this.#source, done, at + done)) continue;
        if (this.#copies.matches(chunk, slot, this.#target, done, at + done))
          this.#target.copy(this.#source, done, done, end);
      }
    }
  }

  /** One pass over the chunks whose number of good copies is as wanted. Answers how many it touched. */
  #rebuild(budget: number, wanted: (goodCopies: number) => boolean): number {
    const rebuilt: { chunk: number; slot: Slot }[] = [];
    let touched = 0;
    for (let chunk = 0; chunk < this.#states.length && touched < budget; chunk++) {
      const state = this.#state(chunk);
      const stale = state & this.#copies.layout.active(chunk);
      if (stale === 0 && (state & UNSYNCED) === 0) continue;
      if (!wanted(3 - (COUNT[state & ALL_SLOTS] as number)) && (state & UNSYNCED) === 0) continue;
      if ((state & UNSYNCED) !== 0) {
        if (!this.#settleChunk(chunk)) continue;
        touched++;
      }
      const before = rebuilt.length;
      for (const slot of SLOTS)
        if ((stale & BIT[slot]) !== 0 && this.#rebuildCopy(chunk, slot)) rebuilt.push({ chunk, slot });
      if (rebuilt.length > before) touched++;
    }
    if (rebuilt.length > 0) this.#declareGood(rebuilt);
    return touched;
  }

  /** Copies a good copy of a chunk over a stale one. The bit stays until the copy has been synced. */
  #rebuildCopy(chunk: number, target: Slot): boolean {
    if (!this.#copies.healthy(chunk, target)) return false;
    // What the layer does not hold need not be copied.
    if (this.#isInherited(chunk)) return true;
    const loaded = this.#loadGood(chunk);
    return loaded && this.#mirror(chunk, target);
  }

  #declareGood(copies: readonly { chunk: number; slot: Slot }[]): void {
    const distrusted = new Set(this.#syncEverything());
    for (const device of distrusted) this.#distrust(device);
    for (const { chunk, slot } of copies) {
      if (!distrusted.has(this.#copies.deviceOf(chunk, slot))) this.#change(chunk, this.#state(chunk) & ~BIT[slot]);
    }
    const chunks = copies.map(({ chunk }) => chunk);
    this.#ledger.persist(Math.min(...chunks), Math.max(...chunks));
  }

  /**
   * The map may have changed since the ledger was written. A slot without a device holds nothing: that is on record before
   * somebody puts another device there. A copy in a retired slot is given up where a healthy device has another good one.
   */
  #followMap(): void {
    const { layout } = this.#copies;
    this.#garbage.clear();
    for (let chunk = 0; chunk < this.#states.length; chunk++) {
      const retired = layout.retired(chunk);
      const empty = ALL_SLOTS & ~layout.active(chunk) & ~retired;
      if ((this.#state(chunk) & empty) !== empty) {
        this.#change(chunk, this.#state(chunk) | empty);
        this.#unrecordedFrom(chunk);
      }
      if (retired === 0) continue;
      this.#garbage.add(chunk);
      this.#relinquish(chunk);
    }
    this.#record();
  }

  /** To be followed by {@link #record}. Whether a chunk's retired slots hold nothing that counts any more. */
  #relinquish(chunk: number): boolean {
    const retired = this.#copies.layout.retired(chunk);
    if ((this.#state(chunk) & retired) === retired) return true;
    if ((this.#state(chunk) & UNSYNCED) !== 0 && !this.#settleChunk(chunk)) return false;
    const kept = SLOTS.some(
      (slot) => (retired & BIT[slot]) === 0 && !this.#isStale(chunk, slot) && this.#copies.healthy(chunk, slot),
    );
    if (!kept) return false;
    for (const slot of SLOTS) if ((retired & BIT[slot]) !== 0) this.#markStale(chunk, slot);
    return true;
  }

  /** Returns the space of what lies in a chunk's retired slots. True when it was given up. */
  #giveUp(chunk: number): boolean {
    const given = this.#relinquish(chunk);
    this.#record();
    if (!given) return false;
    const retired = this.#copies.layout.retired(chunk);
    for (const slot of SLOTS) {
      if ((retired & BIT[slot]) === 0 || !this.#copies.healthy(chunk, slot)) continue;
      // Holes need no punching, which costs a process.
      if (this.#load(chunk, slot, this.#target) && this.#target.equals(ZEROS)) continue;
      this.#copies.punch(this.#copies.deviceOf(chunk, slot), chunk * CHUNK_BYTES, CHUNK_BYTES);
    }
    return this.#garbage.delete(chunk);
  }

  /** Reads a whole copy, whatever its checksums say. */
  #load(chunk: number, slot: Slot, into: Buffer): boolean {
    for (const lastResort of [false, true]) {
      if (this.#copies.peek(chunk, slot, lastResort, into, chunk * CHUNK_BYTES, CHUNK_BYTES)) return true;
    }
    return false;
  }

  /** Reads a whole chunk, and blocks that are bad in one copy from another one. */
  #loadGood(chunk: number): boolean {
    const at = chunk * CHUNK_BYTES;
    for (const lastResort of [false, true])
      if (this.#readAny(chunk, lastResort, this.#source, 0, at, CHUNK_BYTES)) return true;
    if (!this.#copies.checksum) return false;
    for (let done = 0; done < CHUNK_BYTES; done += BLOCK_BYTES) {
      const good =
        this.#readAny(chunk, false, this.#source, done, at + done, BLOCK_BYTES) ||
        this.#readAny(chunk, true, this.#source, done, at + done, BLOCK_BYTES);
      if (!good) return false;
    }
    return true;
  }

  /** Data and checksums; answers the devices on which that failed. */
  #syncEverything(): number[] {
    const unsynced = this.#copies.syncAll();
    return this.#copies.checksum ? [...new Set([...unsynced, ...this.#copies.syncSums()])] : unsynced;
  }

  #syncSums(): boolean {
    return !this.#copies.checksum || this.#copies.syncSums().length === 0;
  }

  /** Writes the loaded source over a copy where they differ: comparing keeps holes holes. */
  #mirror(chunk: number, slot: Slot): boolean {
    if (!this.#copies.healthy(chunk, slot)) return false;
    const loaded = this.#load(chunk, slot, this.#target);
    for (let at = 0; at < CHUNK_BYTES; at += PIECE_BYTES) {
      const end = at + PIECE_BYTES;
      if (loaded && this.#source.compare(this.#target, at, end, at, end) === 0) continue;
      if (!this.#copies.write(chunk, slot, this.#source, at, chunk * CHUNK_BYTES + at, PIECE_BYTES)) return false;
    }
    return this.#copies.sum(chunk, slot, this.#source, chunk * CHUNK_BYTES, CHUNK_BYTES);
  }

  /** A device could not be synced: nothing it took since the last flush counts (the write-intent record says where). */
  #distrust(device: number): void {
    for (let chunk = 0; chunk < this.#states.length; chunk++) {
      if (this.#intent.isActive(chunk * CHUNK_BYTES)) this.#markDevice(chunk, device);
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
          if (this.#copies.deviceOf(chunk, slot) === device) this.#change(chunk, this.#state(chunk) | BIT[slot]);
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

/**
 * A layer that was frozen by an engine which died before it had compared what it had in flight. Nobody else knows the layer
 * yet: snapshots of it are made only when its record is clean.
 */
function settleFrozen(files: Files, session: Session, layer: LowerLayer, index: number, now: () => number): void {
  const intent = new Intent(files, layer.recordDir, layer.sizeBytes);
  const clean = intent.activeRegions().length === 0;
  intent.close();
  if (clean) return;
  const devices = session.devices.map((device, place) => ({ ...device, file: layer.files[place] as string }));
  const { id: layerId, sizeBytes, recordDir } = layer;
  const lower = session.lower.slice(index + 1);
  new BlockStore(files, { ...session, layerId, sizeBytes, recordDir, devices, lower, absorb: 0 }, now).seal();
}

function noGoodCopy(chunk: number): SimError {
  return new SimError("unavailable", `chunk ${chunk} has no good copy within reach: start the SDS that holds it again`);
}
