import path from "node:path";

import { faulty } from "../faults/types.ts";
import { CHUNK_BYTES } from "../model.ts";
import type { Files } from "./files.ts";
import { Layout, type Slot } from "./layout.ts";
import type { EngineStatus, Session } from "./session.ts";
import { BLOCK_BYTES, blockAt, Sums, sumFile, sumOf } from "./sums.ts";

/** DOWN: not touched. FAILED: an I/O error came; read only where nothing else has the data. HEALTHY: read and written. */
const DOWN = 0;
const FAILED = 1;
const HEALTHY = 2;

/**
 * What is known of a device's writes: bits. DIRTY: some are not synced. LOST: some could not be. UNSURE: copies that do not
 * count may be in memory other than on the disk.
 */
const DIRTY = 1;
const LOST = 2;
const UNSURE = 4;

type Failure = Omit<EngineStatus["failedDevices"][number], "name">;
type BadBlocks = { -readonly [K in "count" | "fixed"]: EngineStatus["badBlocks"][number][K] };

/** The name of the file by which a device directory is known to be one (sds/device-label.ts). */
const LABEL = "device.json";

/**
 * A volume's files on the devices: opens them, transfers one copy of one chunk, remembers which device is in what mode
 * and which has writes that are not synced. A device error never throws: it takes the device out and answers false,
 * and the block store decides what that means for the data.
 */
export class Copies {
  readonly #files: Files;
  /** The file layer of each device: with its faults, if it has any. */
  #filesOf: Files[];
  #layout: Layout;
  readonly #sizeBytes: number;
  #fds: Int32Array;
  #modes: Uint8Array;
  #dirty: Uint8Array;
  /** Why a device is FAILED; undefined: it was when the engine began. */
  readonly #failures: (Failure | undefined)[];
  readonly #newFiles = new Set<number>();
  /** Checksums of every device's file; undefined where the pool has none or the device is out of reach. */
  #sums: (Sums | undefined)[];
  readonly #badBlocks: BadBlocks[];
  /** Rises with every device error and with every bad block. */
  failures = 0;
  #session: Session;
  /** For reads of parts of blocks. */
  readonly #blocks: Buffer;

  constructor(files: Files, session: Session) {
    const devices = session.devices.length;
    this.#files = files;
    this.#blocks = Buffer.alloc(session.checksum ? CHUNK_BYTES : 0);
    this.#session = session;
    this.#sizeBytes = session.sizeBytes;
    this.#layout = new Layout(session, session.groups);
    this.#fds = new Int32Array(devices).fill(-1);
    this.#modes = new Uint8Array(devices);
    this.#dirty = new Uint8Array(devices);
    this.#failures = session.devices.map(() => undefined);
    this.#filesOf = session.devices.map(({ faults = [] }) => faulty(files, faults));
    this.#sums = session.devices.map(() => undefined);
    this.#badBlocks = session.devices.map(() => ({ count: 0, fixed: 0 }));
    session.devices.forEach((device, index) => {
      // What a former engine that was killed has left there nobody can sync now.
      if (device.state === "stopped") this.#dirty[index] = device.file === "" ? 0 : LOST;
      else this.#open(index);
      if (device.state === "failed" && this.#modes[index] === HEALTHY) this.#modes[index] = FAILED;
    });
  }

  get layout(): Layout {
    return this.#layout;
  }

  deviceOf(chunk: number, slot: Slot): number {
    return this.#layout.device(chunk, slot);
  }

  healthy(chunk: number, slot: Slot): boolean {
    return this.isHealthy(this.#layout.device(chunk, slot));
  }

  /** Whether the device has the file, and no request to it has failed. -1: there is no device. */
  isHealthy(device: number): boolean {
    return device >= 0 && this.#modes[device] === HEALTHY;
  }

  /** Whether the layer's file on the device is open: no zeros are believed to be in one that may be missing. */
  hasFile(device: number): boolean {
    return (this.#fds[device] ?? -1) >= 0;
  }

  /** Whether the copy can be tried at all. */
  reachable(chunk: number, slot: Slot): boolean {
    const device = this.#layout.device(chunk, slot);
    return device >= 0 && this.#modes[device] !== DOWN && (this.#fds[device] as number) >= 0;
  }

  /** Whether the pool has checksums: then all writes are of whole blocks. */
  get checksum(): boolean {
    return this.#session.checksum;
  }

  /**
   * `failedOnes`: ask the device only if it has failed before (the last resort), else only if it has not. False also when the
   * checksum of a block is not that of its content; {@link failures} has risen then.
   */
  read(
    chunk: number,
    slot: Slot,
    failedOnes: boolean,
    into: Buffer,
    at: number,
    offset: number,
    length: number,
  ): boolean {
    const device = this.#layout.device(chunk, slot);
    if (device < 0) return false;
    const fd = this.#fds[device] as number;
    if (this.#modes[device] !== (failedOnes ? FAILED : HEALTHY) || fd < 0) return false;
    if (this.#sums[device] !== undefined) return this.#readVerified(device, into, at, offset, length);
    try {
      (this.#filesOf[device] as Files).read(fd, into, at, length, offset);
      return true;
    } catch (error) {
      this.#fail(device, "read", error);
      return false;
    }
  }

  /** As {@link read}, whatever the checksums say: they are not known to be right after an unclean stop. */
  peek(chunk: number, slot: Slot, failedOnes: boolean, into: Buffer, offset: number, length: number): boolean {
    const device = this.#layout.device(chunk, slot);
    if (device < 0) return false;
    const fd = this.#fds[device] as number;
    if (this.#modes[device] !== (failedOnes ? FAILED : HEALTHY) || fd < 0) return false;
    try {
      (this.#filesOf[device] as Files).read(fd, into, 0, length, offset);
      return true;
    } catch (error) {
      this.#fail(device, "read", error);
      return false;
    }
  }

  /** Whether the block that a buffer has at `at` is the one that the copy's checksum is of. */
  matches(chunk: number, slot: Slot, content: Buffer, at: number, offset: number): boolean {
    const sums = this.#sums[this.#layout.device(chunk, slot)];
    return sums !== undefined && sums.get(offset / BLOCK_BYTES) === sumOf(blockAt(content, at));
  }

  /** Takes what the buffer's beginning holds for the right content of the copy's blocks. */
  sum(chunk: number, slot: Slot, content: Buffer, offset: number, length: number): boolean {
    return this.#setSums(this.#layout.device(chunk, slot), content, 0, offset, length);
  }

  write(chunk: number, slot: Slot, from: Buffer, at: number, offset: number, length: number): boolean {
    const device = this.#layout.device(chunk, slot);
    if (!this.#setSums(device, from, at, offset, length)) return false;
    try {
      this.#dirty[device] = (this.#dirty[device] as number) | DIRTY;
      (this.#filesOf[device] as Files).write(this.#fds[device] as number, from, at, length, offset);
      return true;
    } catch (error) {
      this.#fail(device, "write", error);
      return false;
    }
  }

  /** Punches the range out of the volume's file on one device. */
  punch(device: number, offset: number, length: number): boolean {
    const fd = this.#fds[device] as number;
    try {
      this.#dirty[device] = (this.#dirty[device] as number) | DIRTY | UNSURE;
      // A file without a single block is a hole already: discarding a new volume costs nothing.
      if (this.#files.allocated(fd) > 0) {
        (this.#filesOf[device] as Files).punch(fd, offset, length);
        this.#sums[device]?.zero(offset / BLOCK_BYTES, (offset + length) / BLOCK_BYTES);
      }
      return true;
    } catch (error) {
      this.#fail(device, "discard", error);
      return false;
    }
  }

  /**
   * Syncs every device that was written to; answers those that could not be. Such a device is answered every time until it is
   * declared well, or its writes are {@link disown}ed: after an fsync that failed, Linux calls the next one good.
   */
  syncAll(): number[] {
    const unsynced: number[] = [];
    for (let device = 0; device < this.#dirty.length; device++) {
      if (((this.#dirty[device] as number) & (DIRTY | LOST)) !== 0 && !this.#sync(device)) unsynced.push(device);
    }
    return unsynced;
  }

  /** Nothing depends on what the device took since it was last synced. */
  disown(device: number): void {
    this.#dirty[device] = (this.#dirty[device] as number) & UNSURE;
  }

  /** A copy on the device does not count any more: what it took last may be in memory only. */
  drop(device: number): void {
    if (device >= 0) this.#dirty[device] = (this.#dirty[device] as number) | UNSURE;
  }

  /** Puts a range of a copy on disk, and nothing else that waits. */
  syncRange(chunk: number, slot: Slot, offset: number, length: number): boolean {
    const device = this.#layout.device(chunk, slot);
    try {
      (this.#filesOf[device] as Files).syncRange(this.#fds[device] as number, offset, length);
      return true;
    } catch (error) {
      this.#fail(device, "sync", error);
      return false;
    }
  }

  /** Sees to it that copies that do not count are on the disks of healthy devices as they are in memory; answers where they cannot be. */
  settleDropped(): number[] {
    const unsynced: number[] = [];
    for (let device = 0; device < this.#dirty.length; device++) {
      if (((this.#dirty[device] as number) & UNSURE) === 0 || !this.isHealthy(device)) continue;
      if (!this.#sync(device)) unsynced.push(device);
    }
    return unsynced;
  }

  /** Puts the checksums on disk; answers the devices on which that failed. */
  syncSums(): number[] {
    return [...this.#sums.keys()].filter((device) => !this.#syncSums(device));
  }

  /** Applies a new session; answers the devices that went down without their writes being synced. */
  reload(session: Session): number[] {
    const before = this.#session;
    const unsynced: number[] = [];
    // A flush that comes later must not pass over what a device took that is leaving now.
    session.devices.forEach((device, index) => {
      const old = before.devices[index];
      const changed = old !== undefined && (old.state !== device.state || old.file !== device.file);
      if (!changed) return;
      const synced = ((this.#dirty[index] as number) & (DIRTY | LOST)) === 0 || this.#sync(index);
      // Its copies are good when it comes back, so their checksums must be right.
      if (!this.#syncSums(index) || !synced) unsynced.push(index);
    });
    this.#session = session;
    this.#layout = new Layout(session, session.groups);
    this.#filesOf = session.devices.map(({ faults = [] }) => faulty(this.#files, faults));
    const count = session.devices.length;
    if (count > this.#fds.length) {
      this.#fds = grown(this.#fds, new Int32Array(count).fill(-1));
      this.#modes = grown(this.#modes, new Uint8Array(count));
      this.#dirty = grown(this.#dirty, new Uint8Array(count));
    }
    session.devices.forEach((device, index) => {
      const old = before.devices[index];
      const same = old?.file === device.file;
      // A state that the map repeats tells nothing new: what the engine found out itself stands.
      if (same && old?.state === device.state) return;
      if (!same) {
        this.#failures[index] = undefined;
        this.#badBlocks[index] = { count: 0, fixed: 0 };
        this.#dirty[index] = 0;
      }
      if (device.state === "up") {
        this.#open(index);
        this.refresh(index);
      } else if (device.state === "failed" && same) this.#modes[index] = Math.min(this.#modes[index] as number, FAILED);
      else this.#close(index);
    });
    return unsynced;
  }

  /** What is read of the device's file is on its disk from now on: it may have failed before. */
  refresh(device: number): void {
    if (this.#modes[device] !== HEALTHY) return;
    try {
      this.#files.refresh(this.#fds[device] as number);
    } catch (error) {
      this.#fail(device, "read", error);
    }
  }

  /** Devices on which the volume has no file yet: none of their copies is good. {@link adopt} makes the file. */
  takeNewFiles(): number[] {
    const devices = [...this.#newFiles];
    this.#newFiles.clear();
    return devices;
  }

  /** Creates the empty file, once it is on record that its copies are stale. */
  adopt(device: number): void {
    try {
      const fd = this.#files.open(this.#file(device), { create: true });
      this.#files.resize(fd, this.#sizeBytes);
      if (this.checksum) {
        this.#files.close(this.#files.open(sumFile(this.#file(device)), { create: true }));
        this.#sums[device] = new Sums(this.#files, this.#file(device));
      }
      // A copy that is declared good must not go with its name.
      this.#files.syncDirectory(path.dirname(this.#file(device)));
      this.#fds[device] = fd;
      this.#dirty[device] = DIRTY;
      this.#modes[device] = HEALTHY;
    } catch (error) {
      this.#fail(device, "create", error);
    }
  }

  /** Whether it is certain that nothing was ever written: every device is there, and none holds a single block. */
  blank(): boolean {
    try {
      return this.#session.devices.every(
        ({ file }, device) =>
          file === "" || (this.#modes[device] === HEALTHY && this.#files.allocated(this.#fds[device] as number) === 0),
      );
    } catch {
      return false;
    }
  }

  /** A bad block of this copy was put right from another copy. */
  fixed(chunk: number, slot: Slot): void {
    (this.#badBlocks[this.#layout.device(chunk, slot)] as BadBlocks).fixed++;
  }

  /** Bad blocks that were found, by device. */
  bad(): EngineStatus["badBlocks"] {
    return this.#session.devices.flatMap(({ name }, index) => {
      const { count, fixed } = this.#badBlocks[index] as BadBlocks;
      return count > 0 ? [{ name, count, fixed }] : [];
    });
  }

  failed(): EngineStatus["failedDevices"] {
    return this.#session.devices.flatMap(({ name }, index) =>
      this.#modes[index] === FAILED
        ? [{ name, ...(this.#failures[index] ?? { reason: "failed before", code: "" }) }]
        : [],
    );
  }

  close(): void {
    for (let device = 0; device < this.#fds.length; device++) this.#close(device);
  }

  #file(device: number): string {
    return (this.#session.devices[device] as Session["devices"][number]).file;
  }

  #open(device: number): void {
    this.#close(device);
    const file = this.#file(device);
    try {
      const fd = (this.#filesOf[device] as Files).open(file);
      this.#fds[device] = fd;
      if (this.checksum) this.#sums[device] = new Sums(this.#filesOf[device] as Files, file);
      this.#modes[device] = HEALTHY;
      this.#failures[device] = undefined;
      // A former engine that was killed may have left writes that only the page cache has: the next flush answers for them.
      this.#dirty[device] = DIRTY | UNSURE;
    } catch (error) {
      const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
      if (missing && this.#files.exists(path.join(path.dirname(file), LABEL))) this.#newFiles.add(device);
      else {
        this.#dirty[device] = LOST;
        this.#fail(device, "open", error);
      }
    }
  }

  #close(device: number): void {
    const fd = this.#fds[device] as number;
    this.#modes[device] = DOWN;
    this.#fds[device] = -1;
    this.#sums[device]?.close();
    this.#sums[device] = undefined;
    if (fd >= 0) this.#files.close(fd);
  }

  #readVerified(device: number, into: Buffer, at: number, offset: number, length: number): boolean {
    const first = Math.floor(offset / BLOCK_BYTES) * BLOCK_BYTES;
    const end = Math.ceil((offset + length) / BLOCK_BYTES) * BLOCK_BYTES;
    const whole = first === offset && end === offset + length;
    const [buffer, start] = whole ? [into, at] : [this.#blocks, 0];
    const sums = this.#sums[device] as Sums;
    try {
      (this.#filesOf[device] as Files).read(this.#fds[device] as number, buffer, start, end - first, first);
      for (let done = 0; done < end - first; done += BLOCK_BYTES) {
        const block = (first + done) / BLOCK_BYTES;
        const sum = sumOf(blockAt(buffer, start + done));
        if (sum === sums.get(block) || sum === sums.getAgain(block)) continue;
        this.failures++;
        (this.#badBlocks[device] as BadBlocks).count++;
        return false;
      }
    } catch (error) {
      this.#fail(device, "read", error);
      return false;
    }
    if (!whole) this.#blocks.copy(into, at, offset - first, offset - first + length);
    return true;
  }

  /** Before the blocks are written: a write that fails leaves the copy stale, or its chunk to be settled (block-store.ts). */
  #setSums(device: number, from: Buffer, at: number, offset: number, length: number): boolean {
    const sums = this.#sums[device];
    if (sums === undefined) return true;
    try {
      for (let done = 0; done < length; done += BLOCK_BYTES)
        sums.set((offset + done) / BLOCK_BYTES, sumOf(blockAt(from, at + done)));
      return true;
    } catch (error) {
      this.#fail(device, "read the checksums of", error);
      return false;
    }
  }

  #syncSums(device: number): boolean {
    try {
      this.#sums[device]?.flush();
      return true;
    } catch (error) {
      this.#fail(device, "sync the checksums of", error);
      return false;
    }
  }

  #sync(device: number): boolean {
    if (((this.#dirty[device] as number) & LOST) !== 0) return false;
    try {
      (this.#filesOf[device] as Files).datasync(this.#fds[device] as number);
      this.#dirty[device] = 0;
      return true;
    } catch (error) {
      this.#dirty[device] = LOST;
      this.#fail(device, "sync", error);
      return false;
    }
  }

  #fail(device: number, what: string, error: unknown): void {
    this.failures++;
    this.#modes[device] = FAILED;
    const words = error instanceof Error ? error.message : String(error);
    const { code = "" } = error as NodeJS.ErrnoException;
    this.#failures[device] = { reason: `cannot ${what} ${this.#file(device)}: ${words}`, code };
  }
}

function grown<T extends Int32Array | Uint8Array>(old: T, larger: T): T {
  larger.set(old);
  return larger;
}
