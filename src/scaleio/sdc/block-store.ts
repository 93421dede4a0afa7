import { SimError } from "../../lib/errors.ts";
import { CHUNK_BYTES } from "../model.ts";
import { Comparison } from "./comparison.ts";
import type { Copies } from "./copies.ts";
import { Durability } from "./durability.ts";
import type { Files } from "./files.ts";
import { BIT, SLOTS, type Slot } from "./layout.ts";
import { Ledger } from "./ledger.ts";
import { noGoodCopy, OpenLayer, UNSYNCED } from "./open-layer.ts";
import type { EngineStatus, Session } from "./session.ts";
import { BLOCK_BYTES } from "./sums.ts";
import { UnsettledLayers } from "./unsettled-layers.ts";
import { WholeChunks } from "./whole-chunks.ts";
import { WholeCopies } from "./whole-copies.ts";

/** Shorter ranges are zeroed by writing; punching costs a process. */
const PUNCH_FROM_BYTES = 64 * 1024;

/**
 * One volume's storage logic: reads, writes, flushes and zeroes bytes over the two copies of each chunk, and keeps the
 * invariants of design.md 3. A chunk that the volume has in common with its snapshots is copied up at the first write to it.
 * Synchronous, single-threaded, owns no clock and no disk of its own; the engine's thread is
 * its lock. Offsets and lengths are bytes of any alignment inside the volume.
 *
 * This file is the way of a request; what is known of the chunks is in open-layer.ts, what of them is on disk in durability.ts. What
 * is done to chunks as a whole, by the way or in the background, is in whole-chunks.ts, where copies differ in comparison.ts.
 */
export class BlockStore {
  readonly #now: () => number;
  readonly #layer: OpenLayer;
  readonly #durability: Durability;
  readonly #copies: Copies;
  readonly #whole: WholeCopies;
  readonly #comparison: Comparison;
  readonly #chunks: WholeChunks;
  readonly #unsettled: UnsettledLayers;
  /** Failures of the layers below that this one has taken note of. */
  #heeded = 0;
  readonly #short = Buffer.alloc(PUNCH_FROM_BYTES);
  readonly #blocks: Buffer;

  /**
   * Opens the volume; after an unclean stop the regions of the write-intent record are compared on first use or by
   * {@link work}. Throws state_corrupt, state_newer and errno errors of the record files, unavailable when the session's map
   * is older than one that the layer was served by. `settles`: so are the frozen layers beneath.
   */
  constructor(files: Files, session: Session, now: () => number, { settles = true } = {}) {
    this.#now = now;
    if (session.lower.length > 0) checkMap(files, session);
    this.#unsettled = new UnsettledLayers(files, settles ? session : { ...session, lower: [] }, (frozen) => {
      return new BlockStore(files, frozen, now, { settles: false });
    });
    this.#unsettled.settle(session);
    this.#layer = new OpenLayer(files, session);
    try {
      this.#copies = this.#layer.copies;
      this.#durability = new Durability(this.#layer);
      if (this.#unsettled.owesFailure) this.#durability.oweFailure();
      this.#whole = new WholeCopies(this.#layer);
      this.#comparison = new Comparison(this.#layer, this.#durability, this.#whole, now);
      this.#chunks = new WholeChunks(this.#layer, this.#durability, this.#whole, this.#comparison, now);
      this.#blocks = Buffer.alloc(session.checksum ? CHUNK_BYTES : 0);
      this.#chunks.followMap();
      this.#unsettled.handedOver();
    } catch (error) {
      this.#layer.close();
      throw error;
    }
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
    this.#layer.intent.cover(offset, length, this.#now());
    for (let done = 0; done < length; ) {
      const chunk = Math.floor((offset + done) / CHUNK_BYTES);
      const n = Math.min(length - done, (chunk + 1) * CHUNK_BYTES - offset - done);
      this.#writePiece(chunk, from, at + done, offset + done, n);
      done += n;
    }
  }

  /** When it returns, everything acknowledged before survives power loss. Throws unavailable when something does not. */
  flush(): void {
    this.#heedLower();
    if (!this.#unsettled.areSynced) this.#settleLower();
    if (!this.#durability.flush() || !this.#unsettled.areSynced)
      throw new SimError(
        "unavailable",
        "the only good copy of what was written is on a device that cannot be synced: start the SDS of the other copy again, or mend the device",
      );
    this.#layer.intent.settle(
      this.#now(),
      (region) => this.#layer.regionUnsynced(region),
      () => this.#durability.syncSums(),
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
    const first = Math.floor(offset / CHUNK_BYTES);
    const last = Math.floor((offset + length - 1) / CHUNK_BYTES);
    // What was never written is zeros already. A new volume is discarded as a whole by who makes a file system on it.
    if (this.#layer.isBlank(first) || this.#layer.isBlank(last)) {
      this.#zeroWritten(first, last, offset, length);
      return;
    }
    this.#layer.intent.cover(offset, length, this.#now());
    const devices = new Set<number>();
    const targets = new Map<number, number>();
    for (let chunk = first; chunk <= last; chunk++) {
      this.#settle(chunk);
      if (this.#layer.isInherited(chunk)) {
        this.#chunks.zeroInherited(chunk, offset, length);
        continue;
      }
      // What becomes zeros as a whole is copied afterwards, which costs less.
      if (chunk * CHUNK_BYTES < offset || (chunk + 1) * CHUNK_BYTES > offset + length) this.#standIn(chunk);
      const mask = this.#layer.targets(chunk);
      targets.set(chunk, mask);
      for (const slot of SLOTS) if ((mask & BIT[slot]) !== 0) devices.add(this.#copies.deviceOf(chunk, slot));
    }
    // One punch over the whole range does all chunks of a device's file; what others lie there will not be good ones.
    for (const device of devices) if (!this.#copies.punch(device, offset, length)) devices.delete(device);
    let failed: number | undefined;
    for (const [chunk, mask] of targets) {
      let held = 0;
      for (const slot of SLOTS) if (devices.has(this.#copies.deviceOf(chunk, slot))) held |= mask & BIT[slot];
      // Copying another chunk up may have shown since that a device has lost what it took.
      held &= ~this.#layer.state(chunk);
      this.#layer.keep(chunk, held);
      if (held === 0) failed = chunk;
    }
    this.#layer.record();
    if (failed !== undefined) throw noGoodCopy(failed);
  }

  /**
   * Takes over a changed session of the same layer: device states, map version, size, the layers below. What goes down is
   * synced first, so that flushes stay honest. A volume never shrinks: a smaller size is one that was not granted. Throws
   * unavailable, and goes on as before, when the session's map is older than the present one.
   */
  reload(session: Session): void {
    this.#durability.follow(session);
    this.#chunks.followMap();
    this.#unsettled.failed.clear();
    this.#settleLower();
  }

  /**
   * Makes up to `budget` chunks good again: compares unsynced ones, copies stale ones, those with a single good copy first,
   * gives up what lies in retired slots, and copies up what lies in layers that are to go. Fewer, where they take long. Answers how many
   * it touched; 0 means that nothing is left to do, or that what is left needs a device that is down.
   */
  work(budget: number): number {
    this.#heedLower();
    return this.#chunks.work(budget);
  }

  /** Looks for silent corruption in some chunks and puts it right; answers how many bytes of copies it looked at. */
  scan(first: number, chunks: number): number {
    return this.#comparison.scan(first, chunks);
  }

  /** Before the layer is frozen: as {@link close}, with all copies compared if they can be. */
  seal(): boolean {
    try {
      this.settleAll();
    } catch (error) {
      this.#layer.close();
      throw error;
    }
    return this.close();
  }

  /** All copies are compared that can be, and what they took is on disk. */
  settleAll(): void {
    for (let chunk = 0; chunk < this.#layer.chunks && this.#layer.unsyncedChunks > 0; chunk++)
      this.#comparison.settle(chunk);
    this.#durability.sync();
  }

  /**
   * Clean end: everything synced, the write-intent record emptied as far as the copies are known to be equal. True when all good
   * copies are, and on disk.
   */
  close(): boolean {
    try {
      this.#durability.forgetTold();
      const isSynced = this.#durability.sync();
      if (isSynced) {
        this.#layer.intent.clear(
          (region) => this.#layer.regionUnsynced(region),
          () => this.#durability.syncSums(),
        );
      }
      return isSynced && this.#layer.unsyncedChunks === 0;
    } finally {
      this.#layer.close();
    }
  }

  /** How many devices have failed so far: cheap, to be looked at between requests. */
  get failures(): number {
    return this.#copies.failures + this.#layer.lower.failures + this.#unsettled.failures;
  }

  status(): Omit<EngineStatus, "pid" | "supervisorPid" | "ack" | "worked" | "mapVersion" | "resend"> {
    return {
      degradedChunks: this.#layer.dueCopies === 0 ? 0 : this.#layer.countDegraded(),
      staleCopies: this.#layer.dueCopies,
      unsyncedChunks: this.#layer.unsyncedChunks,
      garbage: this.#chunks.garbage,
      absorbing: this.#layer.absorbing,
      absorbed:
        this.#layer.absorbing > 0
          ? []
          : this.#layer.session.lower.slice(0, this.#layer.session.absorb).map(({ id }) => id),
      layerId: this.#layer.session.layerId,
      badBlocks: this.#copies.bad(),
      fixedBlocks: this.#comparison.fixedBlocks,
      failedDevices: [
        ...this.#copies.failed(),
        ...this.#layer.lower.failed(),
        ...[...this.#unsettled.failed.values()].flat(),
      ],
      blank: this.#layer.session.lower.length === 0 && this.#copies.blank(),
    };
  }

  /** What could not be settled of the frozen layers may be now. */
  #settleLower(): void {
    if (this.#unsettled.isEmpty) return;
    try {
      this.#unsettled.settle(this.#layer.session);
    } finally {
      if (this.#unsettled.owesFailure) this.#durability.oweFailure();
    }
    this.#layer.record();
    this.#unsettled.handedOver();
    this.#layer.lower.lookAgain();
  }

  /**
   * Copies that have to be compared are, before anything is done with one. And what is known of the chunk is on record: an engine that
   * comes after this one must not find less than has been answered.
   */
  #settle(chunk: number): void {
    this.#heedLower();
    if (this.#layer.isUnrecorded(chunk)) this.#layer.record();
    this.#compare(chunk);
  }

  #compare(chunk: number): void {
    if ((this.#layer.state(chunk) & UNSYNCED) !== 0 && !this.#comparison.settle(chunk)) throw noGoodCopy(chunk);
  }

  /** A device that has failed a layer below may take this one's writes and syncs still: no copy is given up for its. */
  #heedLower(): void {
    const { lower } = this.#layer;
    if (lower.failures === this.#heeded) return;
    this.#heeded = lower.failures;
    this.#copies.takeOut(lower.failed());
  }

  /** What is written while a device rests has two copies all the same. */
  #standIn(chunk: number): void {
    if (!this.#copies.layout.rests) return;
    this.#chunks.standIn(chunk);
    this.#compare(chunk);
  }

  #readPiece(chunk: number, into: Buffer, at: number, offset: number, length: number): void {
    this.#settle(chunk);
    if (this.#layer.isInherited(chunk)) {
      this.#layer.lower.read(chunk, into, at, offset, length);
      return;
    }
    const { failures } = this.#copies;
    let good = this.#readCopies(chunk, into, at, offset, length);
    if (this.#copies.failures !== failures && this.#copies.checksum) {
      this.#comparison.fix(chunk, offset, length);
      // Each copy may have had a bad block, and all of them together none.
      good ||= this.#readCopies(chunk, into, at, offset, length);
    }
    if (!good) throw noGoodCopy(chunk);
  }

  /** A device that failed is asked only when nothing else has the data. */
  #readCopies(chunk: number, into: Buffer, at: number, offset: number, length: number): boolean {
    return (
      this.#whole.readAny(chunk, false, into, at, offset, length) ||
      this.#whole.readAny(chunk, true, into, at, offset, length)
    );
  }

  #writePiece(chunk: number, from: Buffer, at: number, offset: number, length: number): void {
    this.#settle(chunk);
    if (this.#layer.isInherited(chunk)) {
      this.#chunks.copyUp(chunk, (content) => from.copy(content, offset - chunk * CHUNK_BYTES, at, at + length));
      return;
    }
    if (this.#copies.checksum && ((offset | length) & (BLOCK_BYTES - 1)) !== 0) {
      this.#writeBlocks(chunk, from, at, offset, length);
      return;
    }
    this.#standIn(chunk);
    const targets = this.#layer.targets(chunk);
    let held = 0;
    for (let slot = 0; slot < 3; slot++) {
      if ((targets & (1 << slot)) !== 0 && this.#copies.write(chunk, slot as Slot, from, at, offset, length))
        held |= 1 << slot;
    }
    this.#layer.keep(chunk, held);
    if (held === 0) throw noGoodCopy(chunk);
    this.#layer.record();
  }

  /** A write of parts of blocks, as one of whole blocks: their checksums are of all they hold. */
  #writeBlocks(chunk: number, from: Buffer, at: number, offset: number, length: number): void {
    const first = Math.floor(offset / BLOCK_BYTES) * BLOCK_BYTES;
    const end = Math.ceil((offset + length) / BLOCK_BYTES) * BLOCK_BYTES;
    this.#readPiece(chunk, this.#blocks, 0, first, end - first);
    from.copy(this.#blocks, offset - first, at, at + length);
    this.#writePiece(chunk, this.#blocks, 0, first, end - first);
  }

  /** The range from the first chunk in it that is not blank to the last one. */
  #zeroWritten(first: number, last: number, offset: number, length: number): void {
    let [from, to] = [first, last];
    while (from <= to && this.#layer.isBlank(from)) from++;
    while (to > from && this.#layer.isBlank(to)) to--;
    const start = Math.max(offset, from * CHUNK_BYTES);
    const end = Math.min(offset + length, (to + 1) * CHUNK_BYTES);
    if (end > start) this.zero(start, end - start);
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
}

/** Before anything is done by the session's map. Throws as Ledger.follow. */
function checkMap(files: Files, { recordDir, layerId, sizeBytes, mapVersion }: Session): void {
  const ledger = new Ledger(files, recordDir, layerId, sizeBytes / CHUNK_BYTES, { mend: false });
  ledger.close();
  ledger.checkMap(mapVersion);
}
