import { truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { AttachedDevice, CreateRequest, DriverVolume, StorageDriver } from "../../src/drivers/driver.ts";
import { attachLoop, detachLoop, growLoop, loopOf } from "../../src/host/loop.ts";
import { SimError } from "../../src/lib/errors.ts";
import { waitFor } from "../helpers/wait.ts";

/** A storage driver of sparse files on loop devices: real block devices, no cluster. It outlives the service, as one does. */
export class LoopDriver implements StorageDriver {
  readonly name = "loop";
  readonly host = "here";
  readonly isCurrent = true;
  /** Calls of attach that made a device. */
  attachments = 0;
  readonly #dir: string;
  readonly #volumes = new Map<string, DriverVolume>();
  readonly #dead = new Set<string>();
  #next = 1;

  constructor(dir: string) {
    this.#dir = dir;
  }

  checkCurrent(): void {}

  list(): DriverVolume[] {
    return [...this.#volumes.values()];
  }

  find(name: string): DriverVolume | undefined {
    return this.list().find((volume) => volume.name === name);
  }

  async create({ name, sizeBytes, fsType, iops }: CreateRequest): Promise<DriverVolume> {
    const id = `v${this.#next++}`;
    writeFileSync(this.file(id), "");
    truncateSync(this.file(id), sizeBytes);
    const createdAt = new Date().toISOString();
    const fields = { health: "ok" };
    const volume: DriverVolume = {
      ...{ id, name, sizeBytes, fsType, iops, createdAt, fields },
      ...{ type: "pool", availabilityZone: "domain", attachedTo: null },
    };
    this.#volumes.set(id, volume);
    return volume;
  }

  async remove(id: string): Promise<void> {
    if (loopOf(this.file(id)) !== undefined) throw new SimError("in_use", `${id} is attached`);
    this.#volumes.delete(id);
  }

  async snapshot(): Promise<DriverVolume[]> {
    throw new SimError("unavailable", "plain files have no snapshots");
  }

  async overwrite(): Promise<void> {
    throw new SimError("unavailable", "plain files have no snapshots");
  }

  async resize(id: string, sizeBytes: number): Promise<DriverVolume> {
    truncateSync(this.file(id), sizeBytes);
    this.#volumes.set(id, { ...this.#volume(id), sizeBytes });
    const device = await this.device(id);
    if (device !== undefined) await growLoop(device);
    return this.#volume(id);
  }

  async attach(id: string): Promise<AttachedDevice> {
    const { attachedTo } = this.#volume(id);
    if (attachedTo !== null && attachedTo !== this.host) throw new SimError("in_use", `${id} is on host ${attachedTo}`);
    const device = await this.device(id);
    if (device !== undefined) return { device, blank: false };
    if (!(await this.detach(id)).released) throw new SimError("in_use", `${id} is still held`);
    this.attachments++;
    this.give(id, this.host);
    return { device: await attachLoop(this.file(id)), blank: false };
  }

  async device(id: string): Promise<string | undefined> {
    return this.#dead.has(id) ? undefined : loopOf(this.file(id));
  }

  async detach(id: string): Promise<{ released: boolean }> {
    const device = loopOf(this.file(id));
    if (device !== undefined) {
      await detachLoop(device);
      const gone = async () => loopOf(this.file(id)) === undefined;
      const released = await waitFor(gone, { what: "the device to go", deadline: 1000 }).catch(() => false);
      if (!released) return { released: false };
    }
    this.#dead.delete(id);
    if (this.#volume(id).attachedTo === this.host) this.give(id, null);
    return { released: true };
  }

  /** What served the volume is dead: its device does not count any more, its mounts are still in the table. */
  die(id: string): void {
    this.#dead.add(id);
  }

  /** Another host takes it, or none has it. */
  give(id: string, host: string | null): void {
    this.#volumes.set(id, { ...this.#volume(id), attachedTo: host });
  }

  file(id: string): string {
    return path.join(this.#dir, `${id}.img`);
  }

  #volume(id: string): DriverVolume {
    const volume = this.#volumes.get(id);
    if (volume === undefined) throw new SimError("not_found", `no volume ${id}`);
    return volume;
  }
}
