import { DeviceFile, type Trouble } from "./device-file.ts";
import type { Files } from "./files.ts";
import type { Layout, Slot } from "./layout.ts";
import { type EngineStatus, layoutOf, type Session } from "./session.ts";

/** What a device may have lost that could not be synced: `sums` are its checksums alone, `unknown` is that of one that is away. */
export type Loss = "data" | "sums" | "unknown";

/** A device that could not be synced, for Durability.distrust. */
export interface Unsynced {
  readonly device: number;
  readonly loss: Loss;
}

/**
 * A layer's files on the devices: finds the one that has a copy of a chunk, and goes through all of them. As device-file.ts says,
 * nothing here throws for a device's errors.
 */
export class Copies {
  readonly #files: Files;
  #session: Session;
  #layout: Layout;
  #devices: DeviceFile[];
  readonly #trouble: Trouble = { count: 0 };

  constructor(files: Files, session: Session) {
    this.#files = files;
    this.#session = session;
    this.#layout = layoutOf(session);
    this.#devices = session.devices.map((device) => this.#fileOn(device));
    for (const [index, { state }] of session.devices.entries()) this.#devices[index]?.begin(state);
  }

  get layout(): Layout {
    return this.#layout;
  }

  /** Rises with every device error and with every bad block. */
  get failures(): number {
    return this.#trouble.count;
  }

  /** Whether the pool has checksums: then all writes are of whole blocks. */
  get checksum(): boolean {
    return this.#session.checksum;
  }

  /** Index of the device that has a copy; -1: there is none. */
  deviceOf(chunk: number, slot: Slot): number {
    return this.#layout.device(chunk, slot);
  }

  healthy(chunk: number, slot: Slot): boolean {
    return this.isHealthy(this.#layout.device(chunk, slot));
  }

  /** Whether the device has the file, and no request to it has failed. */
  isHealthy(device: number): boolean {
    return device >= 0 && (this.#devices[device] as DeviceFile).isHealthy;
  }

  /** Whether its copies can be had, or may be once it is back: nothing is known against the device. */
  isPromising(device: number): boolean {
    return (
      device >= 0 && this.#session.devices[device]?.state !== "failed" && this.#devices[device]?.isPromising === true
    );
  }

  /** Whether the layer's file on the device is open: no zeros are believed to be in one that may be missing. */
  hasFile(device: number): boolean {
    return this.#devices[device]?.isOpen ?? false;
  }

  /** Whether the copy can be tried at all. */
  reachable(chunk: number, slot: Slot): boolean {
    const file = this.#fileOf(chunk, slot);
    return file?.isOpen === true && (file.isHealthy || file.isFailed);
  }

  /** See DeviceFile.read. */
  read(
    chunk: number,
    slot: Slot,
    failedOnes: boolean,
    into: Buffer,
    at: number,
    offset: number,
    length: number,
  ): boolean {
    return this.#fileOf(chunk, slot)?.read(failedOnes, into, at, offset, length) ?? false;
  }

  /** See DeviceFile.peek. */
  peek(chunk: number, slot: Slot, failedOnes: boolean, into: Buffer, offset: number, length: number): boolean {
    return this.#fileOf(chunk, slot)?.peek(failedOnes, into, 0, offset, length) ?? false;
  }

  /** See DeviceFile.standingOf. */
  standingOf(chunk: number, slot: Slot, content: Buffer, at: number, offset: number): number {
    return this.#fileOf(chunk, slot)?.standingOf(content, at, offset) ?? 0;
  }

  /** See DeviceFile.sum. */
  sum(chunk: number, slot: Slot, content: Buffer, offset: number, length: number): boolean {
    return this.#fileOf(chunk, slot)?.sum(content, 0, offset, length) ?? true;
  }

  write(chunk: number, slot: Slot, from: Buffer, at: number, offset: number, length: number): boolean {
    return this.#fileOf(chunk, slot)?.write(from, at, offset, length) ?? false;
  }

  /** Puts a range of a copy on disk, and nothing else that waits. */
  syncRange(chunk: number, slot: Slot, offset: number, length: number): boolean {
    return this.#fileOf(chunk, slot)?.syncRange(offset, length) ?? false;
  }

  /** Punches the range out of the layer's file on one device. */
  punch(device: number, offset: number, length: number): boolean {
    return (this.#devices[device] as DeviceFile).punch(offset, length);
  }

  /** Syncs every device that was written to; answers those that could not be (DeviceFile.sync). */
  syncAll(): number[] {
    return this.#without((file) => !file.isDirty || file.sync());
  }

  /** Devices that could not be synced, or of which nobody knows. */
  lost(): number[] {
    return this.#without((file) => !file.isLost);
  }

  /** Sees to it that copies that do not count are on the disks of healthy devices as they are in memory; answers where they cannot be. */
  settleDropped(): number[] {
    return this.#without((file) => !file.isUnsure || !file.isHealthy || file.sync());
  }

  /** Puts the checksums on disk; answers the devices on which that failed. */
  syncSums(): number[] {
    return this.#without((file) => file.syncSums());
  }

  /** See DeviceFile.disown. */
  disown(device: number): void {
    this.#devices[device]?.disown();
  }

  /** See DeviceFile.drop. */
  drop(chunk: number, slot: Slot): void {
    this.#fileOf(chunk, slot)?.drop();
  }

  /** Applies a new session; answers the devices of which what they took, or its checksums, could not be synced before. */
  reload(session: Session): Unsynced[] {
    const before = this.#session.devices;
    const isSame = (index: number) => before[index]?.file === session.devices[index]?.file;
    const isNews = (index: number) => !isSame(index) || before[index]?.state !== session.devices[index]?.state;
    // A flush that comes later must not pass over what a device took that is leaving now. Of one that was away nothing new is known.
    const unsynced: Unsynced[] = [];
    for (const [device, file] of this.#devices.entries()) {
      if (!isNews(device) || !file.isOpen) continue;
      const isSynced = !file.isDirty || file.sync();
      // Its copies are good when it comes back, so their checksums must be right.
      const hasSums = file.syncSums();
      if (!isSynced || !hasSums) unsynced.push({ device, loss: isSynced ? "sums" : "data" });
    }
    this.#session = session;
    this.#layout = layoutOf(session);
    for (const [index, device] of session.devices.entries()) {
      let file = this.#devices[index];
      if (file === undefined || !isSame(index)) {
        file?.close();
        file = this.#fileOn(device);
        this.#devices[index] = file;
      }
      file.setFaults(device);
      // A state that the map repeats tells nothing new: what the engine found out itself stands.
      if (!isNews(index)) continue;
      if (device.state === "up") {
        file.open();
        file.refresh();
      } else if (device.state === "failed" && isSame(index)) {
        // Its node may have been away: what nothing else has can be read there now.
        if (!file.isOpen) file.open();
        file.takeOut();
      } else file.close();
    }
    return unsynced;
  }

  /** Devices that have failed for other files of theirs. */
  takeOut(failed: EngineStatus["failedDevices"]): void {
    for (const { name, ...failure } of failed)
      this.#devices[this.#session.devices.findIndex((device) => device.name === name)]?.takeOut(failure);
  }

  /** See DeviceFile.refresh. */
  refresh(device: number): void {
    this.#devices[device]?.refresh();
  }

  /** Devices that work and have no file of the layer yet: none of their copies is good. {@link adopt} makes the file. */
  newFiles(): number[] {
    return this.#without((file, device) => !file.isNew || !this.#isUp(device));
  }

  /** Devices that work and have lost the file's checksums. {@link adoptSums} makes new ones, to be filled by comparing the copies. */
  lackingSums(): number[] {
    return this.#without((file, device) => !file.lacksSums || !this.#isUp(device));
  }

  /** Devices that have the file and no checksums of it. */
  withoutSums(): number[] {
    return this.#without((file) => !file.lacksSums || !file.isOpen);
  }

  /** Opens files that were not there, or not whole, when that was tried: another process may have made them since. */
  openNewFiles(): void {
    for (const device of [...this.newFiles(), ...this.lackingSums()]) this.#devices[device]?.open();
  }

  /** See DeviceFile.adopt. */
  adopt(device: number): void {
    this.#devices[device]?.adopt(this.#session.sizeBytes);
  }

  /** See DeviceFile.adoptSums. */
  adoptSums(device: number): void {
    this.#devices[device]?.adoptSums();
  }

  /** Whether it is certain that nothing was ever written: every device is there, and none holds a single block. */
  blank(): boolean {
    try {
      return this.#devices.every(
        (file, device) => this.#session.devices[device]?.file === "" || (file.isHealthy && file.allocated() === 0),
      );
    } catch {
      return false;
    }
  }

  /** A bad block of this copy was put right from another copy. */
  fixed(chunk: number, slot: Slot): void {
    (this.#fileOf(chunk, slot) as DeviceFile).bad.fixed++;
  }

  /** Bad blocks that were found, by device. */
  bad(): EngineStatus["badBlocks"] {
    return this.#session.devices.flatMap(({ name }, index) => {
      const { count, fixed } = (this.#devices[index] as DeviceFile).bad;
      return count > 0 ? [{ name, count, fixed }] : [];
    });
  }

  failed(): EngineStatus["failedDevices"] {
    return this.#session.devices.flatMap(({ name }, index) => {
      const { isFaulty, failure } = this.#devices[index] as DeviceFile;
      return isFaulty ? [{ name, ...failure }] : [];
    });
  }

  close(): void {
    for (const file of this.#devices) file.close();
  }

  /** By what the session says. */
  #isUp(device: number): boolean {
    return this.#session.devices[device]?.state === "up";
  }

  #fileOn(device: Session["devices"][number]): DeviceFile {
    return new DeviceFile(this.#files, device, this.#session.checksum, this.#trouble);
  }

  #fileOf(chunk: number, slot: Slot): DeviceFile | undefined {
    const device = this.#layout.device(chunk, slot);
    return device < 0 ? undefined : this.#devices[device];
  }

  /** Indexes of the devices where it does not work. */
  #without(works: (file: DeviceFile, device: number) => boolean): number[] {
    return [...this.#devices.keys()].filter((device) => !works(this.#devices[device] as DeviceFile, device));
  }
}
