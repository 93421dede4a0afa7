import { SimError } from "../../lib/errors.ts";
import { CHUNK_BYTES } from "../model.ts";
import type { Copies } from "./copies.ts";
import type { Durability } from "./durability.ts";
import { ALL_SLOTS, BIT, INHERITED, SLOTS, type Slot } from "./layout.ts";
import { noGoodCopy, type OpenLayer, UNSYNCED } from "./open-layer.ts";
import { BLOCK_BYTES } from "./sums.ts";

const ZEROS = Buffer.alloc(CHUNK_BYTES);
/** Copies are compared and written over in pieces of this many bytes. */
const PIECE_BYTES = 64 * 1024;
/** So long (ms) after work has begun nothing more is begun if anything was done: applications and orders wait meanwhile. */
const WORK_MS = 250;
/** What a chunk of which the layer holds nothing counts beside one that has to be copied: only the ledger has to be changed. */
const BLANK = 1 / 64;

/**
 * What is done with a chunk as a whole rather than with the bytes of a request: its copies are compared after an unclean stop,
 * made good again, searched for silent corruption, given up where the map has another place for them; a chunk of a lower layer
 * is copied up.
 */
export class WholeChunks {
  readonly #layer: OpenLayer;
  readonly #durability: Durability;
  readonly #copies: Copies;
  readonly #now: () => number;
  readonly #source = Buffer.alloc(CHUNK_BYTES);
  readonly #target = Buffer.alloc(CHUNK_BYTES);
  /** Chunks with a retired slot, whose copy there has to be given up and its space returned. */
  readonly #garbage = new Set<number>();
  /** When the work that is under way has to end. */
  #workEnds = 0;
  /** Blocks of copies that held other content than was written, and were put right. */
  fixedBlocks = 0;

  constructor(layer: OpenLayer, durability: Durability, now: () => number) {
    this.#layer = layer;
    this.#durability = durability;
    this.#copies = layer.copies;
    this.#now = now;
  }

  /** How many chunks there are with something to give up. */
  get garbage(): number {
    return this.#garbage.size;
  }

  /** See BlockStore.work. */
  work(budget: number): number {
    if (this.#layer.staleCopies + this.#layer.unsyncedChunks + this.#garbage.size + this.#layer.absorbing === 0)
      return 0;
    this.#workEnds = this.#now() + WORK_MS;
    let touched = this.#rebuild(0, budget, (good) => good < 2);
    touched = this.#rebuild(touched, budget, () => true);
    if (this.#layer.absorbing > 0) touched = this.#absorb(touched, budget);
    for (const chunk of this.#layer.session.giveUp ? this.#garbage : []) {
      if (!this.#mayGoOn(touched, budget)) break;
      if (this.#giveUp(chunk)) touched += this.#costOf(chunk);
    }
    return touched;
  }

  #mayGoOn(touched: number, budget: number): boolean {
    return touched < budget && (touched === 0 || this.#now() < this.#workEnds);
  }

  /** See BlockStore.scan. */
  scan(first: number, chunks: number): number {
    const end = Math.min(first + chunks, this.#layer.chunks);
    for (let chunk = first; chunk < end; chunk++) this.#scanChunk(chunk);
    return Math.max(0, end - first) * 2 * CHUNK_BYTES;
  }

  /**
   * Makes the good copies of an unsynced chunk equal, or marks some of them stale. True when that has been settled; none is given up for
   * one on a device that has failed.
   */
  settle(chunk: number): boolean {
    if ((this.#layer.state(chunk) & UNSYNCED) === 0) return false;
    const good = SLOTS.filter((slot) => !this.#layer.isStale(chunk, slot));
    if ((good.length > 1 || (good.length > 0 && this.#copies.checksum)) && !this.#layer.isInherited(chunk)) {
      const isHealthy = (slot: Slot) => this.#copies.healthy(chunk, slot);
      if (good.length > 1 && !good.some(isHealthy)) return false;
      const source = this.#loadFirst(chunk, good);
      if (source === undefined) return false;
      if (this.#copies.checksum) this.#mendSource(chunk, source, good);
      this.#layer.intent.cover(chunk * CHUNK_BYTES, CHUNK_BYTES, this.#now());
      // The source last: it is what the others are made of.
      const near = good.filter((slot) => slot !== source && isHealthy(slot));
      const held = [...near, source].filter((slot) => this.#mirror(chunk, slot));
      if (held.length === 0 && good.length > 1) return false;
      if (held.length > 0) for (const slot of good) if (!held.includes(slot)) this.#layer.markStale(chunk, slot);
      this.#layer.record();
      // What is left on a device that has failed is what there is, not what it should have become: its checksums are to say so.
      if (this.#copies.checksum && held.length === 0)
        if (!this.#load(chunk, source, this.#source) || !this.#sumSource(chunk, source)) return false;
    }
    this.#layer.change(chunk, this.#layer.state(chunk) & ~UNSYNCED);
    return true;
  }

  /** Some copy of these blocks was bad: good content is written over it. */
  fix(chunk: number, offset: number, length: number): void {
    const first = Math.floor(offset / BLOCK_BYTES) * BLOCK_BYTES;
    const end = Math.ceil((offset + length) / BLOCK_BYTES) * BLOCK_BYTES;
    for (let block = first; block < end; block += BLOCK_BYTES) {
      const bad = SLOTS.filter((slot) => !this.#layer.isStale(chunk, slot) && this.#copies.healthy(chunk, slot)).filter(
        (slot) => !this.#copies.read(chunk, slot, false, this.#target, 0, block, BLOCK_BYTES),
      );
      if (bad.length === 0 || !this.readAny(chunk, false, this.#target, 0, block, BLOCK_BYTES)) continue;
      for (const slot of bad) {
        if (!this.#copies.healthy(chunk, slot)) continue;
        if (
          this.#copies.write(chunk, slot, this.#target, 0, block, BLOCK_BYTES) &&
          this.#copies.syncRange(chunk, slot, block, BLOCK_BYTES)
        ) {
          this.fixedBlocks++;
          this.#copies.fixed(chunk, slot);
        } else this.#layer.markStale(chunk, slot);
      }
      // It counts as good from now on: the copy that it comes from may be lost before the next flush.
      this.#sync();
    }
    this.#layer.record();
  }

  /**
   * Gives the layer a chunk of its own, changed as told. All of it is on disk before the ledger says that it is there: until
   * then the layer below has the data.
   */
  copyUp(chunk: number, change: (content: Buffer) => void): void {
    this.#layer.lower.read(chunk, this.#source, 0, chunk * CHUNK_BYTES, CHUNK_BYTES);
    change(this.#source);
    this.#layer.intent.touch(chunk * CHUNK_BYTES);
    const targets = this.#layer.targets(chunk);
    let held = 0;
    for (const slot of SLOTS) if ((targets & BIT[slot]) !== 0 && this.#mirror(chunk, slot, true)) held |= BIT[slot];
    for (const { device, loss } of this.#durability.settleDropped()) {
      this.#durability.distrust(device, loss);
      for (const slot of SLOTS) if (this.#copies.deviceOf(chunk, slot) === device) held &= ~BIT[slot];
    }
    if (held === 0) throw noGoodCopy(chunk);
    this.#layer.keep(chunk, held);
    this.#layer.change(chunk, this.#layer.state(chunk) & ~INHERITED);
    this.#layer.touch(chunk);
    this.#layer.record();
  }

  /** The part of [offset, offset + length) in an inherited chunk becomes zeros; what is zeros already stays where it is. */
  zeroInherited(chunk: number, offset: number, length: number): void {
    const from = Math.max(offset, chunk * CHUNK_BYTES);
    const end = Math.min(offset + length, (chunk + 1) * CHUNK_BYTES);
    if (this.#layer.lower.isZero(chunk, this.#target, from, end - from)) return;
    this.copyUp(chunk, (content) => content.fill(0, from - chunk * CHUNK_BYTES, end - chunk * CHUNK_BYTES));
  }

  /**
   * The map may have changed since the ledger was written. A slot without a device holds nothing: that is on record before
   * somebody puts another device there. A copy in a retired slot is given up where it is not needed any more.
   */
  followMap(): void {
    const { layout } = this.#copies;
    this.#garbage.clear();
    for (let chunk = 0; chunk < this.#layer.chunks; chunk++) {
      const retired = layout.retired(chunk);
      const empty = ALL_SLOTS & ~layout.active(chunk) & ~retired;
      if ((this.#layer.state(chunk) & empty) !== empty) {
        this.#layer.change(chunk, this.#layer.state(chunk) | empty);
        this.#layer.touch(chunk);
      }
      if (retired === 0) continue;
      this.#garbage.add(chunk);
      this.#relinquish(chunk);
    }
    this.#layer.record();
  }

  /** Fills into[at, at + length) from a copy that is good; `failed`: on a device that has failed before. */
  readAny(chunk: number, failed: boolean, into: Buffer, at: number, offset: number, length: number): boolean {
    for (let slot: Slot = 0; slot < 3; slot++) {
      if (this.#layer.isStale(chunk, slot as Slot)) continue;
      if (this.#copies.read(chunk, slot as Slot, failed, into, at, offset, length)) return true;
    }
    return false;
  }

  /** Copies up chunks that lie in layers that are to go. Answers what has been touched by then. */
  #absorb(before: number, budget: number): number {
    let touched = before;
    for (let chunk = 0; chunk < this.#layer.chunks && this.#mayGoOn(touched, budget); chunk++) {
      if (!this.#layer.isInherited(chunk) || !this.#layer.isToAbsorb(chunk)) continue;
      try {
        this.copyUp(chunk, () => undefined);
        touched++;
      } catch (error) {
        // What has no good copy within reach waits; the rest goes on.
        if (!(error instanceof SimError && error.code === "unavailable")) throw error;
      }
    }
    return touched;
  }

  /** Looks at all good copies of a chunk, and puts right what is bad. Without checksums the copies are compared. */
  #scanChunk(chunk: number): void {
    if (this.#layer.isInherited(chunk)) return;
    if (!this.settle(chunk) && (this.#layer.state(chunk) & UNSYNCED) !== 0) return;
    if (this.#copies.checksum) {
      this.fix(chunk, chunk * CHUNK_BYTES, CHUNK_BYTES);
      return;
    }
    const good = SLOTS.filter((slot) => !this.#layer.isStale(chunk, slot) && this.#copies.healthy(chunk, slot));
    const source = good.find((slot) => this.#load(chunk, slot, this.#source));
    if (source === undefined) return;
    for (const slot of good) {
      if (slot === source || !this.#load(chunk, slot, this.#target) || this.#source.equals(this.#target)) continue;
      this.fixedBlocks++;
      // Stale until it has been copied over, so that whoever reads the layer beside this process has nothing to compare.
      this.#layer.markStale(chunk, slot);
      this.#layer.record();
      if (this.#mirror(chunk, slot)) this.#declareGood([{ chunk, slot }]);
    }
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

  /** One pass over the chunks whose number of good copies is as wanted. Answers what has been touched by then. */
  #rebuild(before: number, budget: number, wanted: (goodCopies: number) => boolean): number {
    const rebuilt: { chunk: number; slot: Slot }[] = [];
    let touched = before;
    for (let chunk = 0; chunk < this.#layer.chunks && this.#mayGoOn(touched, budget); chunk++) {
      const state = this.#layer.state(chunk);
      const stale = state & this.#copies.layout.active(chunk);
      if (stale === 0 && (state & UNSYNCED) === 0) continue;
      if ((state & UNSYNCED) === 0 && !wanted(this.#layer.goodCopies(chunk))) continue;
      if ((state & UNSYNCED) !== 0) {
        if (!this.settle(chunk)) continue;
        touched++;
      }
      const { length } = rebuilt;
      for (const slot of SLOTS)
        if ((stale & BIT[slot]) !== 0 && this.#rebuildCopy(chunk, slot)) rebuilt.push({ chunk, slot });
      if (rebuilt.length > length) touched += this.#costOf(chunk);
    }
    if (rebuilt.length > 0) this.#declareGood(rebuilt);
    return touched;
  }

  #costOf(chunk: number): number {
    return this.#layer.isBlank(chunk) || this.#layer.isInherited(chunk) ? BLANK : 1;
  }

  /** Copies a good copy of a chunk over a stale one. The bit stays until the copy has been synced. */
  #rebuildCopy(chunk: number, target: Slot): boolean {
    if (!this.#copies.healthy(chunk, target)) return false;
    // What the layer does not hold need not be copied, nor what is a hole in all copies.
    if (this.#layer.isInherited(chunk) || this.#layer.isBlank(chunk)) return true;
    const loaded = this.#loadGood(chunk);
    return loaded && this.#mirror(chunk, target);
  }

  #declareGood(copies: readonly { chunk: number; slot: Slot }[]): void {
    const unsynced = this.#durability.settleDropped();
    const distrusted = new Set(unsynced.map(({ device }) => device));
    for (const { chunk, slot } of copies) {
      // A device that has failed since was not settled.
      if (!distrusted.has(this.#copies.deviceOf(chunk, slot)) && this.#copies.healthy(chunk, slot))
        this.#layer.change(chunk, this.#layer.state(chunk) & ~BIT[slot]);
    }
    // Afterwards: what was copied from a device that cannot be synced is good now, and that device's copy is not.
    for (const { device, loss } of unsynced) this.#durability.distrust(device, loss);
    const chunks = copies.map(({ chunk }) => chunk);
    this.#layer.persist(Math.min(...chunks), Math.max(...chunks));
    this.#layer.record();
  }

  /** To be followed by OpenLayer.record. Whether a chunk's retired slots hold nothing that counts any more. */
  #relinquish(chunk: number): boolean {
    const retired = this.#copies.layout.retired(chunk);
    if ((this.#layer.state(chunk) & retired) === retired) return true;
    if ((this.#layer.state(chunk) & UNSYNCED) !== 0 && !this.settle(chunk)) return false;
    if (this.#layer.needsRetired(chunk)) return false;
    // What is kept may be in memory only: as it was put right a moment ago, or as it was written and not flushed.
    this.#sync();
    if (this.#layer.intent.isActive(chunk * CHUNK_BYTES)) this.#durability.sync();
    if (this.#layer.needsRetired(chunk)) return false;
    for (const slot of SLOTS) if ((retired & BIT[slot]) !== 0) this.#layer.markStale(chunk, slot);
    return true;
  }

  /** Returns the space of what lies in a chunk's retired slots. True when it was given up. */
  #giveUp(chunk: number): boolean {
    const given = this.#relinquish(chunk);
    this.#layer.record();
    if (!given) return false;
    const retired = this.#layer.isBlank(chunk) ? 0 : this.#copies.layout.retired(chunk);
    for (const slot of SLOTS) {
      if ((retired & BIT[slot]) === 0 || !this.#copies.healthy(chunk, slot)) continue;
      // Holes need no punching, which costs a process.
      if (this.#load(chunk, slot, this.#target) && this.#target.equals(ZEROS)) continue;
      this.#punch(chunk, slot);
    }
    return this.#garbage.delete(chunk);
  }

  #punch(chunk: number, slot: Slot): boolean {
    return this.#copies.punch(this.#copies.deviceOf(chunk, slot), chunk * CHUNK_BYTES, CHUNK_BYTES);
  }

  #sumSource(chunk: number, slot: Slot): boolean {
    return this.#copies.sum(chunk, slot, this.#source, chunk * CHUNK_BYTES, CHUNK_BYTES);
  }

  /** Loads the first of these copies that can be read, one on a device that works rather than on one that has failed. */
  #loadFirst(chunk: number, slots: readonly Slot[]): Slot | undefined {
    const load = (lastResort: boolean) =>
      slots.find((slot) => this.#copies.peek(chunk, slot, lastResort, this.#source, chunk * CHUNK_BYTES, CHUNK_BYTES));
    return load(false) ?? load(true);
  }

  #sync(): void {
    for (const { device, loss } of this.#durability.settleDropped()) this.#durability.distrust(device, loss);
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
      if (this.readAny(chunk, lastResort, this.#source, 0, at, CHUNK_BYTES)) return true;
    if (!this.#copies.checksum) return false;
    for (let done = 0; done < CHUNK_BYTES; done += BLOCK_BYTES) {
      const good =
        this.readAny(chunk, false, this.#source, done, at + done, BLOCK_BYTES) ||
        this.readAny(chunk, true, this.#source, done, at + done, BLOCK_BYTES);
      if (!good) return false;
    }
    return true;
  }

  /**
   * Writes the loaded source over a copy where they differ: comparing keeps holes holes. What was discarded meanwhile becomes one.
   * False when the device has failed: one that cannot be read is no place for a copy. `anew`: that memory has it does not
   * mean that the disk has.
   */
  #mirror(chunk: number, slot: Slot, anew = false): boolean {
    const start = chunk * CHUNK_BYTES;
    if (!this.#copies.peek(chunk, slot, false, this.#target, start, CHUNK_BYTES)) return false;
    if (this.#source.equals(ZEROS)) {
      // By punching as a whole only: it costs a process.
      if (!this.#target.equals(ZEROS)) return this.#punch(chunk, slot);
      return this.#sumSource(chunk, slot);
    }
    // What has been written and is not on disk yet begins here.
    let from = 0;
    const putOnDisk = (to: number) => to === from || this.#copies.syncRange(chunk, slot, start + from, to - from);
    for (let at = 0; at < CHUNK_BYTES; at += PIECE_BYTES) {
      const end = at + PIECE_BYTES;
      const isThere = this.#source.compare(this.#target, at, end, at, end) === 0;
      if (isThere && (!anew || this.#source.compare(ZEROS, at, end, at, end) === 0)) {
        if (!putOnDisk(at)) return false;
        from = end;
      } else if (!this.#copies.write(chunk, slot, this.#source, at, start + at, PIECE_BYTES)) return false;
    }
    return putOnDisk(CHUNK_BYTES) && this.#sumSource(chunk, slot);
  }
}
