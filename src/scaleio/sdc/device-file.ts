import path from "node:path";
import { faulty } from "../faults/types.ts";
import { CHUNK_BYTES } from "../model.ts";
import type { Files } from "./files.ts";
import type { EngineStatus, Session } from "./session.ts";
import { BLOCK_BYTES, blockAt, Sums, sumFile, sumOf } from "./sums.ts";

/** DOWN: not touched. FAILED: an I/O error came; read only where nothing else has the data. HEALTHY: read and written. */
const DOWN = 0;
const FAILED = 1;
const HEALTHY = 2;

/**
 * What is known of the writes: bits. DIRTY: some are not synced. LOST: some could not be. UNSURE: copies that do not count may be
 * in memory other than on the disk. UNKNOWN: it was away when the engine began, and what a former one has left there is not synced.
 */
const DIRTY = 1;
const LOST = 2;
const UNSURE = 4;
const UNKNOWN = 8;

type Device = Session["devices"][number];
type Failure = Omit<EngineStatus["failedDevices"][number], "name">;
type BadBlocks = { -readonly [K in "count" | "fixed"]: EngineStatus["badBlocks"][number][K] };

/** Rises with every device error and with every bad block: cheap to look at between requests. */
export interface Trouble {
  count: number;
}

/** The name of the file by which a device directory is known to be one (sds/device-label.ts). */
const LABEL = "device.json";

/** For reads of parts of blocks; made when it is first needed. */
let blocks = Buffer.alloc(0);

/**
 * A layer's file on one device, with its checksums if the pool has any: transfers bytes of it, and remembers what mode the device is
 * in and what of the file is not synced. A device error never throws: it takes the device out and answers false, and the block
 * store decides what that means for the data. Offsets are bytes of the file.
 */
export class DeviceFile {
  readonly #plain: Files;
  /** The file layer as the device has it: with its faults, if it has any. */
  #files: Files;
  readonly #path: string;
  readonly #checksum: boolean;
  readonly #trouble: Trouble;
  #fd = -1;
  #mode = DOWN;
  #dirty = 0;
  #sums: Sums | undefined;
  /** Why it is FAILED; undefined: it was when the engine began. */
  #failure: Failure | undefined;
  /** The device is there, and has no such file yet. */
  isNew = false;
  /** The file is there and its checksums are gone: it is read as one that has failed, until there are new ones. */
  lacksSums = false;
  /** New ones could not be made: what there is of their file holds nothing. */
  #areSumsUnmade = false;
  /** Blocks that did not hold what had been written, as often as that was found. */
  readonly bad: BadBlocks = { count: 0, fixed: 0 };

  constructor(files: Files, { file, faults = [] }: Device, checksum: boolean, trouble: Trouble) {
    this.#plain = files;
    this.#files = faulty(files, faults);
    this.#path = file;
    this.#checksum = checksum;
    this.#trouble = trouble;
  }

  /** As it is when the engine begins. */
  begin(state: Device["state"]): void {
    // What a former engine that was killed has left there nobody can sync now.
    if (state === "stopped") this.#dirty = this.#path === "" ? 0 : UNKNOWN;
    else this.open();
    if (state === "failed") this.takeOut();
  }

  setFaults({ faults = [] }: Device): void {
    this.#files = faulty(this.#plain, faults);
  }

  /** The device is there, and no request to it has failed. */
  get isHealthy(): boolean {
    return this.#mode === HEALTHY;
  }

  /** It has failed, and may be asked for what nothing else has. */
  get isFailed(): boolean {
    return this.#mode === FAILED;
  }

  get isOpen(): boolean {
    return this.#fd >= 0;
  }

  /** Some of what it took is not synced, or could not be. */
  get isDirty(): boolean {
    return (this.#dirty & (DIRTY | LOST | UNKNOWN)) !== 0;
  }

  /** Some of what it took could not be synced, or nobody knows. */
  get isLost(): boolean {
    return (this.#dirty & (LOST | UNKNOWN)) !== 0;
  }

  /** Its copies can be had, or may be once it is back. */
  get isPromising(): boolean {
    return this.#mode === HEALTHY || (this.#mode === DOWN && !this.isNew && (this.#dirty & LOST) === 0);
  }

  /** Copies that do not count may be in memory other than on the disk. */
  get isUnsure(): boolean {
    return (this.#dirty & UNSURE) !== 0;
  }

  /** Whether the device has failed, which is more than that a file is missing there. */
  get isFaulty(): boolean {
    return this.isFailed && !(this.lacksSums && this.#failure === undefined);
  }

  /** Why it has failed. */
  get failure(): Failure {
    return this.#failure ?? { reason: "failed before", code: "" };
  }

  /**
   * `failedOnes`: only if the device has failed before (the last resort), else only if it has not. False also when the checksum
   * of a block is not that of its content; {@link Trouble} has risen then.
   */
  read(failedOnes: boolean, into: Buffer, at: number, offset: number, length: number): boolean {
    if (this.#sums === undefined) return this.peek(failedOnes, into, at, offset, length);
    if (!this.#serves(failedOnes)) return false;
    return this.#readVerified(this.#sums, into, at, offset, length);
  }

  /** As {@link read}, whatever the checksums say: they are not known to be right after an unclean stop. */
  peek(failedOnes: boolean, into: Buffer, at: number, offset: number, length: number): boolean {
    if (!this.#serves(failedOnes)) return false;
    try {
      this.#files.read(this.#fd, into, at, length, offset);
      return true;
    } catch (error) {
      return this.#fail("read", error);
    }
  }

  /**
   * How much the checksum says for the block that a buffer has at `at`: 3 that it is right, 2 that it is zeros and was never written
   * (or its checksum is gone), 1 nothing, 0 that it is not what was written.
   */
  standingOf(content: Buffer, at: number, offset: number): 0 | 1 | 2 | 3 {
    try {
      if (this.#sums === undefined) return 1;
      const [known, sum] = [this.#sums.get(offset / BLOCK_BYTES), sumOf(blockAt(content, at))];
      if (known === 0) return sum === 0 ? 2 : 1;
      return known === sum ? 3 : 0;
    } catch (error) {
      this.#fail("read the checksums of", error);
      return 0;
    }
  }

  /**
   * Takes what the buffer holds from `at` on for the right content. Before the blocks are written: a write that fails leaves the
   * copy stale, or its chunk to be settled (block-store.ts).
   */
  sum(from: Buffer, at: number, offset: number, length: number): boolean {
    const sums = this.#sums;
    if (sums === undefined) return true;
    try {
      for (let done = 0; done < length; done += BLOCK_BYTES)
        sums.set((offset + done) / BLOCK_BYTES, sumOf(blockAt(from, at + done)));
      return true;
    } catch (error) {
      return this.#fail("read the checksums of", error);
    }
  }

  write(from: Buffer, at: number, offset: number, length: number): boolean {
    if (!this.sum(from, at, offset, length)) return false;
    try {
      this.#dirty |= DIRTY;
      this.#files.write(this.#fd, from, at, length, offset);
      return true;
    } catch (error) {
      return this.#fail("write", error);
    }
  }

  punch(offset: number, length: number): boolean {
    try {
      this.#dirty |= DIRTY | UNSURE;
      // A file without a single block is a hole already: discarding a new volume costs nothing.
      if (this.allocated() > 0) {
        this.#files.punch(this.#fd, offset, length);
        this.#sums?.zero(offset / BLOCK_BYTES, (offset + length) / BLOCK_BYTES);
      }
      return true;
    } catch (error) {
      return this.#fail("discard", error);
    }
  }

  /**
   * False once it could not be, until the device is declared well or the writes are {@link disown}ed: after an fsync that
   * failed, Linux calls the next one good.
   */
  sync(): boolean {
    if (this.isLost) return false;
    try {
      this.#files.datasync(this.#fd);
      this.#dirty = 0;
      return true;
    } catch (error) {
      this.#dirty = LOST;
      return this.#fail("sync", error);
    }
  }

  /** Puts a range on disk, and nothing else that waits. */
  syncRange(offset: number, length: number): boolean {
    try {
      this.#files.syncRange(this.#fd, offset, length);
      return true;
    } catch (error) {
      return this.#fail("sync", error);
    }
  }

  syncSums(): boolean {
    try {
      this.#sums?.flush();
      return true;
    } catch (error) {
      return this.#fail("sync the checksums of", error);
    }
  }

  /** Nothing depends on what it took since it was last synced. */
  disown(): void {
    this.#dirty &= UNSURE;
  }

  /** A copy does not count any more: what it took last may be in memory only. */
  drop(): void {
    this.#dirty |= UNSURE;
  }

  /** Opens the file anew. On a device that is one it {@link isNew} where there is none, and may {@link lacksSums lack its checksums}. */
  open(): void {
    this.close();
    this.isNew = false;
    this.lacksSums = false;
    try {
      this.#fd = this.#files.open(this.#path);
      this.#failure = undefined;
      // A former engine that was killed may have left writes that only the page cache has: the next flush answers for them.
      this.#dirty = DIRTY | UNSURE;
      if (this.#checksum) this.#sums = this.#openSums();
      this.#mode = this.lacksSums ? FAILED : HEALTHY;
    } catch (error) {
      const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
      this.isNew = missing && !this.isOpen && this.#isDevice();
      if (this.isNew) return;
      this.#dirty = LOST;
      this.#fail("open", error);
    }
  }

  /** Creates the empty file, once it is on record that its copies are stale. */
  adopt(sizeBytes: number): void {
    this.isNew = false;
    try {
      this.#fd = this.#plain.open(this.#path, { create: true });
      this.#plain.resize(this.#fd, sizeBytes);
      if (this.#checksum) {
        this.#plain.close(this.#plain.open(sumFile(this.#path), { create: true }));
        this.#sums = new Sums(this.#plain, this.#path);
      }
      // A copy that is declared good must not go with its name.
      this.#plain.syncDirectory(path.dirname(this.#path));
      this.#dirty = DIRTY;
      this.#mode = HEALTHY;
    } catch (error) {
      this.#fail("create", error);
    }
  }

  /** Creates the file of checksums, once it is on record which copies do not count, and of which it has to be made. */
  adoptSums(): void {
    try {
      this.#areSumsUnmade = true;
      this.#plain.close(this.#plain.open(sumFile(this.#path), { create: true }));
      this.#plain.syncDirectory(path.dirname(this.#path));
      this.#sums = new Sums(this.#files, this.#path);
      this.#areSumsUnmade = false;
      this.lacksSums = false;
      this.#mode = HEALTHY;
    } catch (error) {
      this.#fail("create the checksums of", error);
    }
    this.refresh();
  }

  /** What is read from now on is on the disk: a sync may have failed before. */
  refresh(): void {
    if (this.#mode !== HEALTHY) return;
    try {
      this.#plain.refresh(this.#fd);
    } catch (error) {
      this.#fail("read", error);
    }
  }

  /** Others say that the device has failed, and perhaps why. */
  takeOut(failure?: Failure): void {
    if (this.isHealthy) this.#failure = failure;
    this.#mode = Math.min(this.#mode, FAILED);
  }

  /** Bytes that the file occupies. Throws errno errors. */
  allocated(): number {
    return this.#plain.allocated(this.#fd);
  }

  close(): void {
    const fd = this.#fd;
    this.#mode = DOWN;
    this.#fd = -1;
    this.#sums?.close();
    this.#sums = undefined;
    if (fd >= 0) this.#plain.close(fd);
  }

  #isDevice(): boolean {
    return this.#plain.exists(path.join(path.dirname(this.#path), LABEL));
  }

  /** Undefined: the device {@link lacksSums}. */
  #openSums(): Sums | undefined {
    this.lacksSums = this.#areSumsUnmade;
    if (!this.lacksSums) {
      try {
        return new Sums(this.#files, this.#path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT" || !this.#isDevice()) throw error;
        this.lacksSums = true;
      }
    }
    return undefined;
  }

  #serves(failedOnes: boolean): boolean {
    return this.#mode === (failedOnes ? FAILED : HEALTHY) && this.#fd >= 0;
  }

  #readVerified(sums: Sums, into: Buffer, at: number, offset: number, length: number): boolean {
    const first = Math.floor(offset / BLOCK_BYTES) * BLOCK_BYTES;
    const end = Math.ceil((offset + length) / BLOCK_BYTES) * BLOCK_BYTES;
    const whole = first === offset && end === offset + length;
    if (!whole && blocks.length === 0) blocks = Buffer.alloc(CHUNK_BYTES);
    const [buffer, start] = whole ? [into, at] : [blocks, 0];
    try {
      this.#files.read(this.#fd, buffer, start, end - first, first);
      for (let done = 0; done < end - first; done += BLOCK_BYTES) {
        const block = (first + done) / BLOCK_BYTES;
        const sum = sumOf(blockAt(buffer, start + done));
        if (sum === sums.get(block) || sum === sums.getAgain(block)) continue;
        this.#trouble.count++;
        this.bad.count++;
        return false;
      }
    } catch (error) {
      return this.#fail("read", error);
    }
    if (!whole) blocks.copy(into, at, offset - first, offset - first + length);
    return true;
  }

  #fail(what: string, error: unknown): false {
    this.#trouble.count++;
    this.#mode = FAILED;
    const words = error instanceof Error ? error.message : String(error);
    const { code = "" } = error as NodeJS.ErrnoException;
    this.#failure = { reason: `cannot ${what} ${this.#path}: ${words}`, code };
    return false;
  }
}
