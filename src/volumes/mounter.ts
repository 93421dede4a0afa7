import { rmdir } from "node:fs/promises";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { DriverVolume, StorageDriver } from "../drivers/driver.ts";
import type { FsType } from "../host/filesystem.ts";
import { SimError } from "../lib/errors.ts";
import type { FileSystems } from "./file-systems.ts";
import { checkMountPoint, makeMountPoint } from "./mount-point.ts";

/** How long the kernel may take over the mounts of a container that has just ended. */
const SETTLE_MS = 1_000;
/** A namespace that is being made holds copies of all mounts, until its maker lets go of what it does not want. */
const STARTING_MS = 300;
/** What a file system may take to write down what it holds, before it is taken away by force. */
const SYNC_MS = 4_000;
const POLL_MS = 20;

/** Where and how volumes are mounted. */
export interface MountSettings {
  /** Directory of the mount points, one a volume. */
  readonly mountPath: string;
  /** What is added to a mount point for the answer: keeps lost+found out of sight. "" or "/": nothing. */
  readonly rootPath: string;
  /** Mode of that directory when it is made. */
  readonly fileMode: number;
}

/** "safe": a directory keeps the mode that its user has given it. "strict": as upstream, it is set at every mount. */
export type Profile = "safe" | "strict";

/** What the kernel has of a volume. */
export interface MountState {
  /** The device that serves the volume, undefined when there is none or it is dead. */
  readonly device: string | undefined;
  /** That very device is mounted at the volume's place. */
  readonly mounted: boolean;
}

/** What there is to know before a volume is attached. */
export interface AttachRequest {
  /** Take it away from another host. */
  readonly preempt: boolean;
  /** A former mkfs did not end: the device's content is nobody's. */
  readonly formatting: boolean;
  /** The device that a former run had mounted at the volume's place. */
  readonly remembered: string | undefined;
  readonly signal: AbortSignal | undefined;
}

/** An attached device and what to do to mount it. */
export interface Prepared {
  readonly device: string;
  readonly fsType: string;
  /** There is no file system yet. */
  readonly format: boolean;
  /** There is nothing at all yet. */
  readonly blank: boolean;
  /** The volume has become larger than its file system. */
  readonly grow: boolean;
}

/** What came of taking a volume down. */
export interface TakenDown {
  readonly gone: boolean;
  /** Who is in the way, as far as can be seen from here. */
  readonly heldBy: readonly string[];
}

/** Brings a volume from the driver to a mounted file system and back. Counts nothing and remembers nothing. */
export class Mounter {
  readonly #driver: StorageDriver;
  readonly #fileSystems: FileSystems;
  readonly #settings: MountSettings;
  readonly #profile: Profile;

  constructor(driver: StorageDriver, fileSystems: FileSystems, settings: MountSettings, profile: Profile) {
    this.#driver = driver;
    this.#fileSystems = fileSystems;
    this.#settings = settings;
    this.#profile = profile;
  }

  /** What a container binds. */
  mountpoint(name: string): string {
    return path.join(this.#directory(name), this.#settings.rootPath).replace(/(.)\/$/, "$1");
  }

  async state(volume: DriverVolume): Promise<MountState> {
    const device = await this.#driver.device(volume.id);
    if (device === undefined) return { device, mounted: false };
    const mounts = this.#fileSystems.mountsAt(this.#directory(volume.name));
    return { device, mounted: mounts.some(({ source }) => source === device) };
  }

  /**
   * Attaches and looks what is there. Undoing is for the caller. Throws host_failed when something else is mounted at the
   * volume's place, or when the volume's content is of unknown kind.
   */
  async attach(volume: DriverVolume, { preempt, formatting, remembered, signal }: AttachRequest): Promise<Prepared> {
    await this.clear(volume.name, remembered);
    const directory = this.#directory(volume.name);
    const [other] = this.#fileSystems.mountsAt(directory);
    if (other !== undefined) {
      throw new SimError(
        "host_failed",
        `volume ${volume.name} cannot be mounted: ${directory} is the mount point of something else (${other.source}); \`umount ${directory}\``,
      );
    }
    await checkMountPoint(volume.name, directory);
    const { device, blank } = await this.#driver.attach(volume.id, { preempt });
    // A mkfs that did not end leaves what looks like anything.
    const nothing = { type: "empty", bytes: 0 } as const;
    const found = formatting || blank ? nothing : await this.#fileSystems.probe(device, { signal });
    if (found.type === "unknown") {
      throw new SimError(
        "host_failed",
        `volume ${volume.name} holds data that is no file system known here, so it is neither mounted nor formatted: remove the volume if the data is of no use`,
      );
    }
    const format = found.type === "empty";
    const grow = found.bytes > 0 && found.bytes < volume.sizeBytes;
    return { device, fsType: format ? volume.fsType : found.type, format, blank, grow };
  }

  /** Formats if need be, mounts, makes the root directory. Undoing is for the caller. */
  async mount(
    name: string,
    { device, fsType, format, blank, grow }: Prepared,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const directory = this.#directory(name);
    const mountpoint = this.mountpoint(name);
    if (format) await this.#fileSystems.make(device, fsType as FsType, { signal, blank });
    await makeMountPoint(name, directory);
    await this.#fileSystems.mount(device, directory, fsType, { signal });
    if (grow && !(await this.#fileSystems.grow(device, directory, fsType, { signal }))) {
      // The mount has replayed the journal; now it can be done without the kernel.
      await this.#fileSystems.unmount(directory, { lazy: false });
      await this.#fileSystems.growUnmounted(device, { signal });
      await this.#fileSystems.mount(device, directory, fsType, { signal });
    }
    if (mountpoint === directory) return;
    if (!format) await this.#checkRoot(name, signal);
    await this.#fileSystems.makeDirectory(mountpoint, this.#settings.fileMode, { signal });
    if (this.#profile === "strict") await this.#fileSystems.setMode(mountpoint, this.#settings.fileMode, { signal });
  }

  /** Mounts again what another namespace still has mounted: the same superblock, so this is safe. */
  async mountAgain(volume: DriverVolume, device: string): Promise<void> {
    const directory = this.#directory(volume.name);
    const { type } = await this.#fileSystems.probe(device);
    await makeMountPoint(volume.name, directory);
    await this.#fileSystems.mount(device, directory, type);
  }

  /** Lets the file system of a mounted volume follow the volume's size; one that is not mounted follows when it is. */
  async grow(volume: DriverVolume): Promise<void> {
    const { device, mounted } = await this.state(volume);
    if (device === undefined || !mounted) return;
    const { type } = await this.#fileSystems.probe(device);
    if (await this.#fileSystems.grow(device, this.#directory(volume.name), type)) return;
    throw new SimError(
      "host_failed",
      `volume ${volume.name} is larger now, and its file system will be when it is mounted next: growing a mounted ext4 needs CAP_SYS_RESOURCE, which this process has not`,
    );
  }

  /** Runs a task while nothing is written to these volumes, as far as they are mounted in this namespace, for whichever host. */
  async quiesced(volumes: readonly DriverVolume[], task: () => Promise<void>): Promise<void> {
    // A file system cannot be frozen twice: a volume may be named as often as it is to have snapshots.
    const directories = new Set<string>();
    for (const { id } of volumes) {
      const device = await this.#driver.device(id, { anyHost: true });
      const mount = device === undefined ? undefined : this.#fileSystems.mountsOf(device).at(-1);
      if (mount !== undefined) directories.add(mount.mountpoint);
    }
    await this.#fileSystems.whileFrozen([...directories], task);
  }

  /** A former run may have died while the volume's file system was frozen. */
  async thaw({ name }: DriverVolume): Promise<void> {
    await this.#fileSystems.thaw(this.#directory(name));
  }

  /**
   * Unmounts and detaches; works from any state. What somebody still uses is left mounted or mounted again at the same
   * place, and goes on being served (docker-volume-plugin.md 8.6). With `force` it disappears from this namespace, and is
   * detached when its last user ends.
   */
  async takeDown(volume: DriverVolume, remembered: string | undefined, force: boolean): Promise<TakenDown> {
    const { device } = await this.state(volume);
    if (device === undefined) await this.clear(volume.name, remembered);
    else {
      const kept = await this.#unmount(volume, device, force);
      if (kept !== undefined) return { gone: false, heldBy: kept };
    }
    const { released } = await this.#driver.detach(volume.id);
    if (!released) return { gone: false, heldBy: device === undefined ? [] : ((await this.holders(device)) ?? []) };
    // It stays when it is not empty: not ours to clear.
    await rmdir(this.#directory(volume.name)).catch(() => undefined);
    return { gone: true, heldBy: [] };
  }

  /**
   * Takes away what a dead run left at the volume's place: such a mount answers nothing but errors.
   *
   * @param remembered the device that was ours there; mounts of anything else are somebody's and stay
   */
  async clear(name: string, remembered: string | undefined): Promise<void> {
    const directory = this.#directory(name);
    for (const { source } of this.#fileSystems.mountsAt(directory).toReversed()) {
      if (source !== remembered) return;
      await this.#fileSystems.unmount(directory, { lazy: true });
    }
  }

  /** Whether any namespace has it mounted. */
  busy(device: string): Promise<boolean> {
    return this.#fileSystems.busy(device);
  }

  /** Who in other namespaces has it mounted, for a person; undefined when that cannot be seen from here. */
  async holders(device: string): Promise<string[] | undefined> {
    return (await this.#fileSystems.holders(device))?.map(({ pid, command }) => `${command} (process ${pid})`);
  }

  /** Answers who keeps the file system, undefined when nobody does and it is unmounted. */
  async #unmount(volume: DriverVolume, device: string, force: boolean): Promise<string[] | undefined> {
    const directory = this.#directory(volume.name);
    for (const { source } of this.#fileSystems.mountsAt(directory).toReversed()) {
      if (source !== device) continue;
      try {
        // Who still holds it may lose it at any time.
        if (force) await this.#fileSystems.sync(directory, { timeoutMs: SYNC_MS }).catch(() => undefined);
        await this.#fileSystems.unmount(directory, { lazy: force });
      } catch (error) {
        if (error instanceof SimError && error.code === "in_use") return [`a process that works in ${directory}`];
        throw error;
      }
    }
    if (force) return undefined;
    const began = performance.now();
    while (await this.#fileSystems.busy(device)) {
      const holders = await this.holders(device);
      const limit = holders === undefined || holders.length === 0 ? SETTLE_MS : STARTING_MS;
      if (performance.now() < began + limit) {
        await pause(POLL_MS);
        continue;
      }
      // A file system that has gone read-only cannot be mounted beside itself; its user goes on all the same.
      await this.mountAgain(volume, device).catch(() => undefined);
      return holders ?? [];
    }
    return undefined;
  }

  /**
   * A container that once had all of the volume can have put a symbolic link where the next one is to get a directory. Docker
   * would bind what the link leads to, on this machine.
   */
  async #checkRoot(name: string, signal: AbortSignal | undefined): Promise<void> {
    const [directory, mountpoint] = [this.#directory(name), this.mountpoint(name)];
    const [top = "", root = ""] = await this.#fileSystems.resolve([directory, mountpoint], { signal });
    if (root === path.join(top, path.relative(directory, mountpoint))) return;
    throw new SimError(
      "host_failed",
      `volume ${name} cannot be mounted: ${mountpoint} leads to ${root} by a symbolic link in the volume, which is not followed: remove the link, or give another mount.rootPath`,
    );
  }

  #directory(name: string): string {
    return path.join(this.#settings.mountPath, name);
  }
}
