import { rmdir } from "node:fs/promises";
import path from "node:path";
import type { DriverVolume, StorageDriver } from "../drivers/driver.ts";
import type { FsType } from "../host/filesystem.ts";
import { SimError } from "../lib/errors.ts";
import type { FileSystems } from "./file-systems.ts";

export interface MountSettings {
  /** Directory of the mount points, one a volume. */
  readonly mountPath: string;
  /** What is added to a mount point for the answer: keeps lost+found out of sight. "" or "/": nothing. */
  readonly rootPath: string;
  /** Mode of that directory when it is made. */
  readonly fileMode: number;
}

export interface MountRequest {
  readonly preempt: boolean;
  /** A former mkfs did not end: the device's content is nobody's. */
  readonly formatting: boolean;
  /** Keeps on disk that mkfs has begun, or has ended. */
  readonly remember: (begun: boolean) => Promise<void>;
  readonly signal?: AbortSignal;
}

/** Brings a volume from the driver to a mounted file system and back. Counts nothing. */
export class Mounter {
  readonly #driver: StorageDriver;
  readonly #fileSystems: FileSystems;
  readonly #settings: MountSettings;

  constructor(driver: StorageDriver, fileSystems: FileSystems, settings: MountSettings) {
    this.#driver = driver;
    this.#fileSystems = fileSystems;
    this.#settings = settings;
  }

  /** What a container binds. */
  mountpoint(name: string): string {
    return path.join(this.#directory(name), this.#settings.rootPath).replace(/(.)\/$/, "$1");
  }

  /** Names of all volumes that have a mount, whoever made it. */
  async mountedNames(): Promise<string[]> {
    const mounts = await this.#fileSystems.mountsBelow(this.#settings.mountPath);
    return mounts
      .filter(({ mountpoint }) => path.dirname(mountpoint) === this.#settings.mountPath)
      .map(({ mountpoint }) => path.basename(mountpoint));
  }

  /** Mounted means: the driver serves the device, and that very device is mounted at the volume's place. */
  async state(volume: DriverVolume): Promise<{ mounted: true; device: string } | { mounted: false }> {
    const device = await this.#driver.device(volume.id);
    if (device === undefined) return { mounted: false };
    const mounts = await this.#mountsOf(volume.name);
    return mounts.some(({ source }) => source === device) ? { mounted: true, device } : { mounted: false };
  }

  /** Attaches, formats an empty device, mounts. Leaves undoing to the caller. */
  async mount(volume: DriverVolume, { preempt, formatting, remember, signal }: MountRequest): Promise<void> {
    const options = signal === undefined ? {} : { signal };
    await this.clearMounts(volume.name);
    const device = await this.#driver.attach(volume.id, { preempt });
    let type: string = formatting ? "empty" : await this.#fileSystems.probe(device, options);
    if (type === "unknown") {
      throw new SimError(
        "host_failed",
        `volume ${volume.name} holds data that is no file system known here, so it is neither mounted nor formatted: look at ${device}, or remove the volume`,
      );
    }
    if (type === "empty") {
      await remember(true);
      await this.#fileSystems.make(device, volume.fsType as FsType, options);
      await remember(false);
      type = volume.fsType;
    }
    const directory = this.#directory(volume.name);
    await this.#fileSystems.makeDirectory(directory, 0o700, options);
    await this.#fileSystems.mount(device, directory, type, options);
    const mountpoint = this.mountpoint(volume.name);
    if (mountpoint !== directory) await this.#fileSystems.makeDirectory(mountpoint, this.#settings.fileMode, options);
  }

  /**
   * Unmounts and detaches; works from any state. When somebody still uses the file system it is mounted again at the same
   * place (the same superblock, so this is safe) and goes on being served.
   */
  async takeDown(volume: DriverVolume): Promise<{ gone: boolean; heldBy: readonly string[] }> {
    const state = await this.state(volume);
    if (!state.mounted) {
      await this.clearMounts(volume.name);
    } else {
      const directory = this.#directory(volume.name);
      const [mount] = await this.#mountsOf(volume.name);
      try {
        await this.#fileSystems.unmount(directory, { lazy: false });
      } catch (error) {
        if (error instanceof SimError && error.code === "in_use") return { gone: false, heldBy: [`a process inside ${directory}`] };
        throw error;
      }
      if (await this.#fileSystems.busy(state.device)) {
        await this.#fileSystems.mount(state.device, directory, mount?.fsType ?? volume.fsType);
        const holders = await this.#fileSystems.holders(state.device);
        return { gone: false, heldBy: holders.map(({ pid, command }) => `${command} (process ${pid})`) };
      }
    }
    const { released } = await this.#driver.detach(volume.id);
    if (!released) return { gone: false, heldBy: [] };
    await rmdir(this.#directory(volume.name)).catch(() => undefined);
    return { gone: true, heldBy: [] };
  }

  /** Takes away what a dead run left at the volume's place: such a mount answers nothing but errors. */
  async clearMounts(name: string): Promise<void> {
    for (const _ of await this.#mountsOf(name)) await this.#fileSystems.unmount(this.#directory(name), { lazy: true });
  }

  async #mountsOf(name: string) {
    const directory = this.#directory(name);
    return (await this.#fileSystems.mountsBelow(directory)).filter(({ mountpoint }) => mountpoint === directory);
  }

  #directory(name: string): string {
    return path.join(this.#settings.mountPath, name);
  }
}
