import { CHUNK_BYTES } from "../model.ts";
import type { Copies } from "./copies.ts";
import type { Slot } from "./layout.ts";
import type { OpenLayer } from "./open-layer.ts";
import { BLOCK_BYTES } from "./sums.ts";

export const ZEROS = Buffer.alloc(CHUNK_BYTES);
/** Copies are compared and written over in pieces of this many bytes. */
const PIECE_BYTES = 64 * 1024;

/** Reads copies of chunks as a whole, and writes them over. It decides nothing: who does is in comparison.ts and whole-chunks.ts. */
export class WholeCopies {
  readonly #layer: OpenLayer;
  readonly #copies: Copies;
  /** What a chunk is to hold. */
  readonly source = Buffer.alloc(CHUNK_BYTES);
  /** What a copy holds. */
  readonly target = Buffer.alloc(CHUNK_BYTES);

  constructor(layer: OpenLayer) {
    this.#layer = layer;
    this.#copies = layer.copies;
  }

  /** Fills into[at, at + length) from a copy that is good; `failed`: on a device that has failed before. */
  readAny(chunk: number, failed: boolean, into: Buffer, at: number, offset: number, length: number): boolean {
    for (let slot: Slot = 0; slot < 3; slot++) {
      if (this.#layer.isStale(chunk, slot as Slot)) continue;
      if (this.#copies.read(chunk, slot as Slot, failed, into, at, offset, length)) return true;
    }
    return false;
  }

  /** Reads a whole copy, whatever its checksums say. */
  load(chunk: number, slot: Slot, into: Buffer): boolean {
    for (const lastResort of [false, true]) {
      if (this.#copies.peek(chunk, slot, lastResort, into, chunk * CHUNK_BYTES, CHUNK_BYTES)) return true;
    }
    return false;
  }

  /** Loads the first of these copies that can be read, one on a device that works rather than on one that has failed. */
  loadFirst(chunk: number, slots: readonly Slot[]): Slot | undefined {
    const load = (lastResort: boolean) =>
      slots.find((slot) => this.#copies.peek(chunk, slot, lastResort, this.source, chunk * CHUNK_BYTES, CHUNK_BYTES));
    return load(false) ?? load(true);
  }

  /** Reads a whole chunk, and blocks that are bad in one copy from another one. */
  loadGood(chunk: number): boolean {
    const at = chunk * CHUNK_BYTES;
    for (const lastResort of [false, true])
      if (this.readAny(chunk, lastResort, this.source, 0, at, CHUNK_BYTES)) return true;
    if (!this.#copies.checksum) return false;
    for (let done = 0; done < CHUNK_BYTES; done += BLOCK_BYTES) {
      const good =
        this.readAny(chunk, false, this.source, done, at + done, BLOCK_BYTES) ||
        this.readAny(chunk, true, this.source, done, at + done, BLOCK_BYTES);
      if (!good) return false;
    }
    return true;
  }

  /**
   * Writes the loaded source over a copy where they differ: comparing keeps holes holes. What was discarded meanwhile becomes one.
   * False when the device has failed: one that cannot be read is no place for a copy. `anew`: that memory has it does not
   * mean that the disk has.
   */
  mirror(chunk: number, slot: Slot, anew = false): boolean {
    const start = chunk * CHUNK_BYTES;
    if (!this.#copies.peek(chunk, slot, false, this.target, start, CHUNK_BYTES)) return false;
    if (this.source.equals(ZEROS)) {
      // By punching as a whole only: it costs a process.
      if (!this.target.equals(ZEROS)) return this.punch(chunk, slot);
      return this.sumSource(chunk, slot);
    }
    // What has been written and is not on disk yet begins here.
    let from = 0;
    const putOnDisk = (to: number) => to === from || this.#copies.syncRange(chunk, slot, start + from, to - from);
    for (let at = 0; at < CHUNK_BYTES; at += PIECE_BYTES) {
      const end = at + PIECE_BYTES;
      const isThere = this.source.compare(this.target, at, end, at, end) === 0;
      if (isThere && (!anew || this.source.compare(ZEROS, at, end, at, end) === 0)) {
        if (!putOnDisk(at)) return false;
        from = end;
      } else if (!this.#copies.write(chunk, slot, this.source, at, start + at, PIECE_BYTES)) return false;
    }
    return putOnDisk(CHUNK_BYTES) && this.sumSource(chunk, slot);
  }

  /** Makes the chunk a hole in one copy. False when the device has failed. */
  punch(chunk: number, slot: Slot): boolean {
    return this.#copies.punch(this.#copies.deviceOf(chunk, slot), chunk * CHUNK_BYTES, CHUNK_BYTES);
  }

  /** The loaded source is the right content of a copy from now on. See DeviceFile.sum. */
  sumSource(chunk: number, slot: Slot): boolean {
    return this.#copies.sum(chunk, slot, this.source, chunk * CHUNK_BYTES, CHUNK_BYTES);
  }
}
