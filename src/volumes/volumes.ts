import path from "node:path";
import type { DriverVolume, StorageDriver } from "../drivers/driver.ts";
import { SimError } from "../lib/errors.ts";
import { KeyedMutex } from "../lib/mutex.ts";
import type { FileSystems } from "./file-systems.ts";
import { Mounter, type MountSettings } from "./mounter.ts";
import { checkVolumeName } from "./name.ts";
import { type CreateDefaults, parseCreateOptions } from "./options.ts";
import type { VolumeService, VolumeView } from "./service.ts";
import { total, type UseRecord, Uses } from "./uses.ts";

/** How often a volume that a foreign namespace holds is tried again. */
const LINGER_MS = 2_000;
const GIB = 1024 ** 3;

/** The part of the configuration that the service reads (REX-Ray's `libstorage.integration.volume.operations`). */
export interface VolumesConfig extends MountSettings {
  readonly createDisable: boolean;
  readonly createImplicit: boolean;
  readonly preempt: boolean;
  readonly retryCount: number;
  readonly retryWaitMs: number;
  readonly ignoreUsedCount: boolean;
  readonly removeDisable: boolean;
  readonly defaults: CreateDefaults;
}

export interface VolumesOptions {
  readonly driver: StorageDriver;
  readonly fileSystems: FileSystems;
  readonly config: VolumesConfig;
  readonly stateDir: string;
  readonly log: (message: string) => void;
}

/** A volume that could not be taken down, and who is in the way. */
export interface Remaining {
  readonly name: string;
  readonly heldBy: readonly string[];
}

/**
 * The volume service. Counts uses by the algorithm of docker-volume-plugin.md 8: per mount id, persisted, checked against
 * the kernel; a volume is taken down only when no namespace has it any more. Calls on one volume wait for each other.
 */
export class Volumes implements VolumeService {
  readonly #driver: StorageDriver;
  readonly #config: VolumesConfig;
  readonly #log: (message: string) => void;
  readonly #uses: Uses;
  readonly #mounter: Mounter;
  readonly #fileSystems: FileSystems;
  readonly #mutex = new KeyedMutex();
  /** Volumes whose mount this process has seen; what get and list answer from. */
  readonly #mounted = new Set<string>();
  /** Volumes without uses that could not be taken down yet. */
  readonly #lingering = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor({ driver, fileSystems, config, stateDir, log }: VolumesOptions) {
    this.#driver = driver;
    this.#config = config;
    this.#log = log;
    this.#fileSystems = fileSystems;
    this.#uses = new Uses(path.join(stateDir, "attachments"));
    this.#mounter = new Mounter(driver, fileSystems, config);
  }

  async create(name: string, options: Readonly<Record<string, string>>): Promise<void> {
    checkVolumeName(name);
    if (this.#config.createDisable) return;
    const request = parseCreateOptions(options, this.#config.defaults);
    await this.#mutex.run(name, async () => {
      if (this.#driver.find(name) === undefined) await this.#driver.create({ name, ...request });
    });
  }

  async remove(name: string): Promise<void> {
    checkVolumeName(name);
    if (this.#config.removeDisable) return;
    await this.#mutex.run(name, async () => {
      const volume = this.#driver.find(name);
      if (volume === undefined) return;
      const record = this.#uses.get(name);
      // Ids of containers may be left over from a dead engine; uses without an id are somebody's who cannot be looked up.
      if ((record?.uses[""] ?? 0) > 0) {
        throw new SimError("in_use", `volume ${name} is in use: it is mounted at ${this.#mounter.mountpoint(name)}; unmount it first`);
      }
      const { gone, heldBy } = await this.#takeDown(volume);
      if (!gone) throw new SimError("in_use", `volume ${name} is in use by ${heldBy.join(", ") || "another mount namespace"}: stop that first`);
      await this.#driver.remove(volume.id);
    });
  }

  async mount(name: string, id: string, signal?: AbortSignal): Promise<string> {
    checkVolumeName(name);
    return this.#mutex.run(name, async () => {
      signal?.throwIfAborted();
      const record = this.#uses.get(name);
      const volume = this.#driver.find(name) ?? (await this.#createImplicitly(name));
      const state = await this.#mounter.state(volume);
      let uses: UseRecord["uses"];
      if (state.mounted) uses = await this.#countAgain(record?.uses ?? {}, id, state.device);
      else {
        await this.#mountAnew(volume, record?.formatting ?? false, signal);
        uses = { [id]: 1 };
      }
      await this.#uses.set(name, { uses, formatting: false });
      this.#mounted.add(name);
      this.#lingering.delete(name);
      if (signal?.aborted) {
        await this.#giveBack(volume, id);
        throw new SimError("cancelled", `mount of ${name}: the caller went away, so it was undone`);
      }
      return this.#mounter.mountpoint(name);
    });
  }

  async unmount(name: string, id: string): Promise<void> {
    await this.#mutex.run(name, async () => {
      const volume = this.#driver.find(name);
      if (volume === undefined) return;
      await this.#giveBack(volume, id);
    });
  }

  async path(name: string): Promise<string> {
    return this.#mounted.has(name) ? this.#mounter.mountpoint(name) : "";
  }

  async get(name: string): Promise<VolumeView> {
    const volume = this.#driver.find(name);
    if (volume === undefined) throw new SimError("not_found", "resource not found");
    return this.#view(volume);
  }

  async list(): Promise<VolumeView[]> {
    return this.#driver.list().map((volume) => this.#view(volume)).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async reconcile(): Promise<void> {
    const names = new Set([...this.#uses.names(), ...(await this.#mounter.mountedNames())]);
    for (const volume of this.#driver.list()) if (volume.attachedTo === this.#driver.host) names.add(volume.name);
    await Promise.all(
      [...names].map((name) =>
        this.#mutex.run(name, () => this.#reconcile(name)).catch((error) => this.#log(`volume ${name}: ${error instanceof Error ? error.message : error}`)),
      ),
    );
  }

  /** The engine has been restarted: container uses that no namespace holds any more are left over from its last life. */
  async engineRestarted(): Promise<void> {
    for (const name of [...this.#mounted]) {
      await this.#mutex
        .run(name, async () => {
          const volume = this.#driver.find(name);
          const record = this.#uses.get(name);
          if (volume === undefined || record === undefined || (record.uses[""] ?? 0) > 0) return;
          const device = await this.#driver.device(volume.id);
          if (device !== undefined && (await this.#fileSystems.holders(device)).length > 0) return;
          await this.#takeDown(volume);
        })
        .catch((error) => this.#log(`volume ${name}: ${error instanceof Error ? error.message : error}`));
    }
  }

  /** Takes down every volume that nobody holds; answers the others. */
  async shutdown(): Promise<Remaining[]> {
    clearInterval(this.#timer);
    const names = new Set([...this.#mounted, ...this.#uses.names()]);
    const remaining = await Promise.all(
      [...names].map((name) =>
        this.#mutex.run(name, async (): Promise<Remaining[]> => {
          const volume = this.#driver.find(name);
          if (volume === undefined) return [];
          const { gone, heldBy } = await this.#takeDown(volume);
          return gone ? [] : [{ name, heldBy }];
        }),
      ),
    );
    return remaining.flat();
  }

  /** Stops the background work; mounted volumes stay mounted. */
  close(): void {
    clearInterval(this.#timer);
  }

  async #createImplicitly(name: string): Promise<DriverVolume> {
    if (!this.#config.createImplicit) throw new SimError("not_found", `volume ${name} does not exist, and implicit creation is off`);
    return this.#driver.create({ name, ...parseCreateOptions({}, this.#config.defaults) });
  }

  /** A same id again is `docker cp` beside a running container, or a use whose end was never told (section 8, rule 4). */
  async #countAgain(uses: UseRecord["uses"], id: string, device: string): Promise<UseRecord["uses"]> {
    const before = uses[id] ?? 0;
    const stale = before > 0 && (await this.#fileSystems.holders(device)).length === 0;
    return { ...uses, [id]: stale ? 1 : before + 1 };
  }

  async #mountAnew(volume: DriverVolume, formatting: boolean, signal: AbortSignal | undefined): Promise<void> {
    const remember = (begun: boolean) => this.#uses.set(volume.name, { uses: {}, formatting: begun });
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#mounter.mount(volume, { preempt: this.#config.preempt, formatting, remember, ...(signal && { signal }) });
      } catch (error) {
        await this.#takeDown(volume).catch((late) => this.#log(`volume ${volume.name}: undoing a failed mount: ${late}`));
        if (attempt >= this.#config.retryCount || signal?.aborted) throw error;
        await new Promise((resolve) => setTimeout(resolve, this.#config.retryWaitMs));
      }
    }
  }

  async #giveBack(volume: DriverVolume, id: string): Promise<void> {
    const record = this.#uses.get(volume.name);
    const uses = { ...record?.uses };
    const count = uses[id] ?? 0;
    if (count === 0 && total(uses) > 0) {
      this.#log(`volume ${volume.name}: unmount of an unknown id ${id || '""'}: nothing to do`);
      return;
    }
    if (count > 1) uses[id] = count - 1;
    else delete uses[id];
    if (total(uses) > 0 && !this.#config.ignoreUsedCount) {
      await this.#uses.set(volume.name, { uses, formatting: false });
      return;
    }
    const { gone, heldBy } = await this.#takeDown(volume);
    if (gone) return;
    this.#log(`volume ${volume.name} stays mounted: it is held by ${heldBy.join(", ") || "another mount namespace"}`);
    await this.#uses.set(volume.name, { uses: {}, formatting: false });
    this.#linger(volume.name);
  }

  /** Unmounts and detaches. What a foreign namespace still uses is left mounted, at the same place, with its uses. */
  async #takeDown(volume: DriverVolume): Promise<{ gone: boolean; heldBy: readonly string[] }> {
    const result = await this.#mounter.takeDown(volume);
    if (!result.gone) return result;
    this.#mounted.delete(volume.name);
    this.#lingering.delete(volume.name);
    const record = this.#uses.get(volume.name);
    // That formatting had begun must outlive the failure.
    if (record?.formatting) await this.#uses.set(volume.name, { uses: {}, formatting: true });
    else await this.#uses.delete(volume.name);
    return result;
  }

  #linger(name: string): void {
    this.#lingering.add(name);
    this.#timer ??= setInterval(() => void this.#retryLingering(), LINGER_MS).unref();
  }

  async #retryLingering(): Promise<void> {
    for (const name of [...this.#lingering]) {
      await this.#mutex
        .run(name, async () => {
          const volume = this.#driver.find(name);
          if (!this.#lingering.has(name)) return;
          if (volume === undefined) this.#lingering.delete(name);
          else await this.#takeDown(volume);
        })
        .catch((error) => this.#log(`volume ${name}: ${error instanceof Error ? error.message : error}`));
    }
  }

  async #reconcile(name: string): Promise<void> {
    const volume = this.#driver.find(name);
    if (volume === undefined) {
      await this.#mounter.clearMounts(name);
      await this.#uses.delete(name);
      return;
    }
    const record = this.#uses.get(name);
    const state = await this.#mounter.state(volume);
    if (state.mounted && record !== undefined) {
      this.#mounted.add(name);
      if (total(record.uses) === 0) this.#linger(name);
      return;
    }
    // Mounted without a record: nobody was told. Not mounted: whoever used it is gone, or the machine was restarted.
    await this.#takeDown(volume);
  }

  #view(volume: DriverVolume): VolumeView {
    const { name, sizeBytes, createdAt, type, availabilityZone, iops, fields, attachedTo, fsType } = volume;
    return {
      name,
      sizeBytes,
      createdAt,
      mountpoint: this.#mounted.has(name) ? this.#mounter.mountpoint(name) : "",
      status: {
        availabilityZone,
        fields: { ...fields, fsType, attachedTo: attachedTo ?? "" },
        iops,
        name,
        server: this.#driver.name,
        service: this.#driver.name,
        size: sizeBytes / GIB,
        type,
      },
    };
  }
}

