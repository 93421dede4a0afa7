import { CHUNK_BYTES } from "../model.ts";
import type { Loss, Unsynced } from "./copies.ts";
import { BIT, SLOTS, type Slot } from "./layout.ts";
import { type OpenLayer, UNSYNCED } from "./open-layer.ts";
import type { Session } from "./session.ts";

/**
 * What of a layer is on its disks: puts it there, decides which copies do not count when that fails, and keeps in mind what the next
 * flush has to say about it.
 */
export class Durability {
  readonly #layer: OpenLayer;
  #owesFailure: boolean;
  /** Devices of which a flush has said so. */
  readonly #told = new Set<number>();

  constructor(layer: OpenLayer) {
    this.#layer = layer;
    this.#owesFailure = layer.intent.owesFailure;
    this.#syncToCompare();
    this.#refreshDoubtful();
  }

  /**
   * A sync has failed and lost what nothing else has: the next flush must say so, though the device be well again by then. To be followed
   * by OpenLayer.record: an engine that is killed leaves it to the next one.
   */
  oweFailure(): void {
    this.#owesFailure = true;
    this.#layer.intent.owesFailure = true;
  }

  /** The layer follows a changed session, see BlockStore.reload. */
  follow(session: Session): void {
    // Noted at once: whatever fails below, nobody will say so again.
    for (const { device, loss } of this.#layer.takeDevices(session)) this.distrust(device, loss);
    this.#layer.record();
    this.#layer.takeOver(session);
    const lost = this.#layer.copies.lost();
    for (const device of this.#told) if (!lost.includes(device)) this.#told.delete(device);
    this.#syncToCompare();
  }

  /** Puts on disk what is known of the copies, and what they took. False when some of it could not be and is nowhere else. */
  sync(): boolean {
    const { copies } = this.#layer;
    this.#layer.record();
    const unsynced = copies.syncAll();
    const lost = unsynced.filter((device) => !this.distrust(device, copies.hasFile(device) ? "data" : "unknown"));
    this.#layer.record();
    return lost.length === 0;
  }

  /** {@link sync} for who waits for it: false also when something has been lost since it was last called. */
  flush(): boolean {
    // The answer that said so has come to somebody, who asks again.
    this.forgetTold();
    const isSynced = this.sync() && !this.#owesFailure;
    if (!isSynced) for (const device of this.#layer.copies.lost()) this.#told.add(device);
    this.#owesFailure = false;
    return isSynced;
  }

  /** What a flush has said need not be said again. To be followed by OpenLayer.record. */
  forgetTold(): void {
    if (!this.#owesFailure) this.#layer.intent.owesFailure = false;
  }

  /**
   * Copies that did not count and have been made equal to good ones (whole-chunks.ts) are on disk when it returns, with their
   * checksums. Answers the devices on which that failed, to be followed by {@link distrust}.
   */
  settleDropped(): Unsynced[] {
    const { copies } = this.#layer;
    const unsynced = copies.settleDropped();
    const sums = copies.checksum ? copies.syncSums().filter((device) => !unsynced.includes(device)) : [];
    return [
      ...unsynced.map((device) => ({ device, loss: "data" as const })),
      ...sums.map((device) => ({ device, loss: "sums" as const })),
    ];
  }

  /** {@link settleDropped}, and what does not get there does not count. To be followed by OpenLayer.record. */
  syncDropped(): void {
    for (const { device, loss } of this.settleDropped()) this.distrust(device, loss);
  }

  /** Copies that have been made equal to good ones are good from now on, if they are on disk. To be followed by OpenLayer.record. */
  declareGood(copies: readonly { chunk: number; slot: Slot }[]): void {
    const unsynced = this.settleDropped();
    const distrusted = new Set(unsynced.map(({ device }) => device));
    for (const { chunk, slot } of copies) {
      // A device that has failed since was not settled.
      if (distrusted.has(this.#layer.copies.deviceOf(chunk, slot)) || !this.#layer.copies.healthy(chunk, slot))
        continue;
      this.#layer.change(chunk, this.#layer.state(chunk) & ~BIT[slot]);
      this.#layer.touch(chunk);
    }
    // Afterwards: what was copied from a device that cannot be synced is good now, and that device's copy is not.
    for (const { device, loss } of unsynced) this.distrust(device, loss);
  }

  /** Puts the checksums on disk; true when all are that the write-intent record stands for. */
  syncSums(): boolean {
    const { copies } = this.#layer;
    if (!copies.checksum) return true;
    return ![...copies.syncSums(), ...copies.withoutSums()].some((device) => this.#counts(device));
  }

  /** Whether a device has a good copy of anything that is on the write-intent record. */
  #counts(device: number): boolean {
    const layer = this.#layer;
    for (let chunk = 0; chunk < layer.chunks; chunk++) {
      if (layer.isInherited(chunk) || !layer.intent.isActive(chunk * CHUNK_BYTES)) continue;
      if (SLOTS.some((slot) => layer.copies.deviceOf(chunk, slot) === device && !layer.isStale(chunk, slot)))
        return true;
    }
    return false;
  }

  /**
   * A device could not be synced: nothing it took since the last flush counts (the write-intent record says where), as far as
   * there is another good copy of it that may be had. False when there is none of some chunk: such a copy stays good, since it
   * is the last hope, and no flush succeeds before the device is declared well. What is away (`unknown`) may well have all of
   * it: its copies give way to those on devices that work only. To be followed by OpenLayer.record.
   */
  distrust(device: number, loss: Loss): boolean {
    const layer = this.#layer;
    let elsewhere = true;
    for (let chunk = 0; chunk < layer.chunks; chunk++) {
      if (layer.isInherited(chunk) || !layer.intent.isActive(chunk * CHUNK_BYTES)) continue;
      for (const slot of SLOTS) {
        if (layer.copies.deviceOf(chunk, slot) !== device || layer.isStale(chunk, slot)) continue;
        if (this.#isElsewhere(chunk, device, loss)) layer.markStale(chunk, slot);
        else {
          elsewhere = false;
          // It may differ from the others, and its checksums may not be those of what it holds.
          if (loss !== "unknown" || layer.isLast(chunk, slot)) layer.change(chunk, layer.state(chunk) | UNSYNCED);
        }
      }
    }
    if (elsewhere) {
      layer.copies.disown(device);
      this.#told.delete(device);
    } else if (loss === "data" && !this.#told.has(device)) this.oweFailure();
    return elsewhere;
  }

  /**
   * Whether a good copy of the chunk is on another device that is not known to have failed; which must work where the data may
   * well be there.
   */
  #isElsewhere(chunk: number, device: number, loss: Loss): boolean {
    const { copies } = this.#layer;
    return SLOTS.some((slot) => {
      const other = copies.deviceOf(chunk, slot);
      if (other === device || this.#layer.isStale(chunk, slot)) return false;
      return loss === "data" ? copies.isPromising(other) : copies.isHealthy(other);
    });
  }

  /**
   * A device that has lost what it took is no match for the others: that must be known before copies are compared. Of one that is
   * away it will be when it is back.
   */
  #syncToCompare(): void {
    const { copies, unsyncedChunks } = this.#layer;
    if (unsyncedChunks === 0) return;
    for (const device of copies.syncAll()) if (copies.hasFile(device)) this.distrust(device, "data");
    this.#layer.record();
  }

  /**
   * Copies that are going to be compared are as their disks have them, not as memory has kept them of a sync that failed: stale ones
   * may be so since their device failed, and of unsynced ones an engine may have died before it had put a failure on record.
   */
  #refreshDoubtful(): void {
    const layer = this.#layer;
    if (layer.staleCopies + layer.unsyncedChunks === 0) return;
    const devices = new Set<number>();
    for (let chunk = 0; chunk < layer.chunks; chunk++) {
      const unsynced = (layer.state(chunk) & UNSYNCED) !== 0;
      for (const slot of SLOTS)
        if (unsynced || layer.isStale(chunk, slot)) devices.add(layer.copies.deviceOf(chunk, slot));
    }
    for (const device of devices) if (device >= 0) layer.copies.refresh(device);
  }
}
