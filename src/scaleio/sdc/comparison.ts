import { CHUNK_BYTES } from "../model.ts";
import type { Copies } from "./copies.ts";
import type { Durability } from "./durability.ts";
import { SLOTS, type Slot } from "./layout.ts";
import { type OpenLayer, UNSYNCED } from "./open-layer.ts";
import { BLOCK_BYTES } from "./sums.ts";
import type { WholeCopies } from "./whole-copies.ts";

/**
 * Puts right what copies should have in common and have not: they are compared after an unclean stop, and searched for silent
 * corruption.
 */
export class Comparison {
  readonly #layer: OpenLayer;
  readonly #durability: Durability;
  readonly #copies: Copies;
  readonly #whole: WholeCopies;
  readonly #now: () => number;
  /** Blocks of copies that held other content than was written, and were put right. */
  fixedBlocks = 0;

  constructor(layer: OpenLayer, durability: Durability, whole: WholeCopies, now: () => number) {
    this.#layer = layer;
    this.#durability = durability;
    this.#copies = layer.copies;
    this.#whole = whole;
    this.#now = now;
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
      const source = this.#whole.loadFirst(chunk, good);
      if (source === undefined) return false;
      if (this.#copies.checksum) this.#mendSource(chunk, source, good);
      this.#layer.intent.cover(chunk * CHUNK_BYTES, CHUNK_BYTES, this.#now());
      // The source last: it is what the others are made of.
      const near = good.filter((slot) => slot !== source && isHealthy(slot));
      const held = [...near, source].filter((slot) => this.#whole.mirror(chunk, slot));
      if (held.length === 0 && good.length > 1) return false;
      if (held.length > 0) for (const slot of good) if (!held.includes(slot)) this.#layer.markStale(chunk, slot);
      this.#layer.record();
      // What is left on a device that has failed is what there is, not what it should have become: its checksums are to say so.
      if (this.#copies.checksum && held.length === 0)
        if (!this.#whole.load(chunk, source, this.#whole.source) || !this.#whole.sumSource(chunk, source)) return false;
    }
    this.#layer.change(chunk, this.#layer.state(chunk) & ~UNSYNCED);
    return true;
  }

  /** See BlockStore.scan. */
  scan(first: number, chunks: number): number {
    const end = Math.min(first + chunks, this.#layer.chunks);
    for (let chunk = first; chunk < end; chunk++) this.#scanChunk(chunk);
    return Math.max(0, end - first) * 2 * CHUNK_BYTES;
  }

  /** Some copy of these blocks was bad: good content is written over it. */
  fix(chunk: number, offset: number, length: number): void {
    const { target } = this.#whole;
    const first = Math.floor(offset / BLOCK_BYTES) * BLOCK_BYTES;
    const end = Math.ceil((offset + length) / BLOCK_BYTES) * BLOCK_BYTES;
    for (let block = first; block < end; block += BLOCK_BYTES) {
      const bad = SLOTS.filter((slot) => !this.#layer.isStale(chunk, slot) && this.#copies.healthy(chunk, slot)).filter(
        (slot) => !this.#copies.read(chunk, slot, false, target, 0, block, BLOCK_BYTES),
      );
      if (bad.length === 0 || !this.#whole.readAny(chunk, false, target, 0, block, BLOCK_BYTES)) continue;
      for (const slot of bad) {
        if (!this.#copies.healthy(chunk, slot)) continue;
        if (
          this.#copies.write(chunk, slot, target, 0, block, BLOCK_BYTES) &&
          this.#copies.syncRange(chunk, slot, block, BLOCK_BYTES)
        ) {
          this.fixedBlocks++;
          this.#copies.fixed(chunk, slot);
        } else this.#layer.markStale(chunk, slot);
      }
      // It counts as good from now on: the copy that it comes from may be lost before the next flush.
      this.#durability.syncDropped();
    }
    this.#layer.record();
  }

  /** Looks at all good copies of a chunk, and puts right what is bad. Without checksums the copies are compared. */
  #scanChunk(chunk: number): void {
    if (this.#layer.isInherited(chunk)) return;
    if (!this.settle(chunk) && (this.#layer.state(chunk) & UNSYNCED) !== 0) return;
    if (this.#copies.checksum) {
      this.fix(chunk, chunk * CHUNK_BYTES, CHUNK_BYTES);
      return;
    }
    const { source, target } = this.#whole;
    const good = SLOTS.filter((slot) => !this.#layer.isStale(chunk, slot) && this.#copies.healthy(chunk, slot));
    const first = good.find((slot) => this.#whole.load(chunk, slot, source));
    if (first === undefined) return;
    for (const slot of good) {
      if (slot === first || !this.#whole.load(chunk, slot, target) || source.equals(target)) continue;
      this.fixedBlocks++;
      // Stale until it has been copied over, so that whoever reads the layer beside this process has nothing to compare.
      this.#layer.markStale(chunk, slot);
      this.#layer.record();
      if (!this.#whole.mirror(chunk, slot)) continue;
      this.#durability.declareGood([{ chunk, slot }]);
      this.#layer.record();
    }
  }

  /**
   * After an unclean stop the checksums on disk are those of some time before. Where the copies differ, a block that has its
   * checksum is what was there then, and may be taken: what was acknowledged since is on both. One that has not may be rotten. Of one
   * without a checksum nothing is known: that may have been lost.
   */
  #mendSource(chunk: number, from: Slot, good: readonly Slot[]): void {
    const { source, target } = this.#whole;
    const at = chunk * CHUNK_BYTES;
    /** Of the source's blocks, where they have been compared. */
    const standings = new Map<number, number>();
    for (const slot of good) {
      if (slot === from || !this.#whole.load(chunk, slot, target)) continue;
      for (let done = 0; done < CHUNK_BYTES; done += BLOCK_BYTES) {
        const end = done + BLOCK_BYTES;
        if (source.compare(target, done, end, done, end) === 0) continue;
        const standing = standings.get(done) ?? this.#copies.standingOf(chunk, from, source, done, at + done);
        const other = this.#copies.standingOf(chunk, slot, target, done, at + done);
        standings.set(done, Math.max(standing, other));
        if (other > standing) target.copy(source, done, done, end);
      }
    }
  }
}
