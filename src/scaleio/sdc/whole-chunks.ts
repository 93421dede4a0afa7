import { SimError } from "../../lib/errors.ts";
import { CHUNK_BYTES } from "../model.ts";
import type { Comparison } from "./comparison.ts";
import type { Copies } from "./copies.ts";
import type { Durability } from "./durability.ts";
import { ALL_SLOTS, BIT, INHERITED, SLOTS, type Slot } from "./layout.ts";
import { noGoodCopy, type OpenLayer, UNSYNCED } from "./open-layer.ts";
import { type WholeCopies, ZEROS } from "./whole-copies.ts";

/** So long (ms) after work has begun nothing more is begun if anything was done: applications and orders wait meanwhile. */
const WORK_MS = 250;
/** What a chunk of which the layer holds nothing counts beside one that has to be copied: only the ledger has to be changed. */
const BLANK = 1 / 64;

/**
 * What is done with a chunk as a whole rather than with the bytes of a request: its copies are made good again, and given up where
 * the map has another place for them; a chunk of a lower layer is copied up.
 */
export class WholeChunks {
  readonly #layer: OpenLayer;
  readonly #durability: Durability;
  readonly #copies: Copies;
  readonly #now: () => number;
  readonly #whole: WholeCopies;
  readonly #comparison: Comparison;
  /** Chunks with a retired slot, whose copy there has to be given up and its space returned. */
  readonly #garbage = new Set<number>();
  /** When the work that is under way has to end. */
  #workEnds = 0;

  constructor(layer: OpenLayer, durability: Durability, whole: WholeCopies, comparison: Comparison, now: () => number) {
    this.#layer = layer;
    this.#durability = durability;
    this.#copies = layer.copies;
    this.#whole = whole;
    this.#comparison = comparison;
    this.#now = now;
  }

  /** How many chunks there are with something to give up. */
  get garbage(): number {
    return this.#garbage.size;
  }

  /** See BlockStore.work. */
  work(budget: number): number {
    if (this.#layer.dueCopies + this.#layer.unsyncedChunks + this.#garbage.size + this.#layer.absorbing === 0) return 0;
    this.#workEnds = this.#now() + WORK_MS;
    let touched = this.#rebuild(0, budget, (good) => good < 2);
    touched = this.#rebuild(touched, budget, () => true);
    if (this.#layer.absorbing > 0) touched = this.#absorb(touched, budget);
    for (const chunk of this.#layer.session.giveUp ? this.#garbage : []) {
      if (!this.#mayGoOn(touched, budget)) break;
      touched += this.#giveUp(chunk);
    }
    return touched;
  }

  #mayGoOn(touched: number, budget: number): boolean {
    return touched < budget && (touched === 0 || this.#now() < this.#workEnds);
  }

  /**
   * Gives the layer a chunk of its own, changed as told. All of it is on disk before the ledger says that it is there: until
   * then the layer below has the data.
   */
  copyUp(chunk: number, change: (content: Buffer) => void): void {
    if (this.#copies.layout.rests) this.standIn(chunk);
    this.#layer.lower.read(chunk, this.#whole.source, 0, chunk * CHUNK_BYTES, CHUNK_BYTES);
    change(this.#whole.source);
    this.#layer.intent.touch(chunk * CHUNK_BYTES);
    const targets = this.#layer.targets(chunk);
    let held = 0;
    for (const slot of SLOTS)
      if ((targets & BIT[slot]) !== 0 && this.#whole.mirror(chunk, slot, true)) held |= BIT[slot];
    for (const { device, loss } of this.#durability.settleDropped()) {
      this.#durability.distrust(device, loss);
      for (const slot of SLOTS) if (this.#copies.deviceOf(chunk, slot) === device) held &= ~BIT[slot];
    }
    if (held === 0) {
      // What the sync has shown of other chunks.
      this.#layer.record();
      throw noGoodCopy(chunk);
    }
    this.#layer.keep(chunk, held);
    this.#layer.change(chunk, this.#layer.state(chunk) & ~INHERITED);
    this.#layer.touch(chunk);
    this.#layer.record();
  }

  /**
   * The chunk is about to be changed, and the device of one of its copies rests: the one that stands in for it is made good first. Where
   * that cannot be done, the chunk goes on with what it has. To be followed by OpenLayer.record: with what the change itself has to put there.
   */
  standIn(chunk: number): void {
    const mask = this.#layer.standIns(chunk);
    if (mask === 0) return;
    const made = SLOTS.filter((slot) => (mask & BIT[slot]) !== 0 && this.#rebuildCopy(chunk, slot));
    if (made.length > 0) this.#durability.declareGood(made.map((slot) => ({ chunk, slot })));
  }

  /** The part of [offset, offset + length) in an inherited chunk becomes zeros; what is zeros already stays where it is. */
  zeroInherited(chunk: number, offset: number, length: number): void {
    const from = Math.max(offset, chunk * CHUNK_BYTES);
    const end = Math.min(offset + length, (chunk + 1) * CHUNK_BYTES);
    if (this.#layer.lower.isZero(chunk, this.#whole.target, from, end - from)) return;
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

  /** One pass over the chunks whose number of good copies is as wanted. Answers what has been touched by then. */
  #rebuild(before: number, budget: number, wanted: (goodCopies: number) => boolean): number {
    const rebuilt: { chunk: number; slot: Slot }[] = [];
    let touched = before;
    for (let chunk = 0; chunk < this.#layer.chunks && this.#mayGoOn(touched, budget); chunk++) {
      const state = this.#layer.state(chunk);
      const stale = this.#copies.layout.due(chunk, state);
      if (stale === 0 && (state & UNSYNCED) === 0) continue;
      if ((state & UNSYNCED) === 0 && !wanted(this.#layer.goodCopies(chunk))) continue;
      if ((state & UNSYNCED) !== 0) {
        if (!this.#comparison.settle(chunk)) continue;
        touched++;
      }
      const { length } = rebuilt;
      for (const slot of SLOTS)
        if ((stale & BIT[slot]) !== 0 && this.#rebuildCopy(chunk, slot)) rebuilt.push({ chunk, slot });
      if (rebuilt.length > length) touched += this.#costOf(chunk);
    }
    if (rebuilt.length > 0) {
      this.#durability.declareGood(rebuilt);
      this.#layer.record();
    }
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
    const loaded = this.#whole.loadGood(chunk);
    return loaded && this.#whole.mirror(chunk, target);
  }

  /** To be followed by OpenLayer.record. Whether a chunk's retired slots hold nothing that counts any more. */
  #relinquish(chunk: number): boolean {
    const retired = this.#copies.layout.retired(chunk);
    if ((this.#layer.state(chunk) & retired) === retired) return true;
    if ((this.#layer.state(chunk) & UNSYNCED) !== 0 && !this.#comparison.settle(chunk)) return false;
    if (this.#layer.needsRetired(chunk)) return false;
    // What is kept may be in memory only: as it was put right a moment ago, or as it was written and not flushed.
    this.#durability.syncDropped();
    if (this.#layer.intent.isActive(chunk * CHUNK_BYTES)) this.#durability.sync();
    if (this.#layer.needsRetired(chunk)) return false;
    for (const slot of SLOTS) if ((retired & BIT[slot]) !== 0) this.#layer.markStale(chunk, slot);
    return true;
  }

  /** Returns the space of what lies in a chunk's retired slots. Answers what that counts; 0: it was not given up. */
  #giveUp(chunk: number): number {
    const given = this.#relinquish(chunk);
    this.#layer.record();
    if (!given) return 0;
    let cost = BLANK;
    const retired = this.#layer.isBlank(chunk) ? 0 : this.#copies.layout.retired(chunk);
    for (const slot of SLOTS) {
      if ((retired & BIT[slot]) === 0 || !this.#copies.healthy(chunk, slot)) continue;
      // Holes need no punching, which costs a process.
      if (this.#whole.load(chunk, slot, this.#whole.target) && this.#whole.target.equals(ZEROS)) continue;
      this.#whole.punch(chunk, slot);
      cost = 1;
    }
    this.#garbage.delete(chunk);
    return cost;
  }
}
