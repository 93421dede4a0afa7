import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { DriverVolume, StorageDriver } from "../drivers/driver.ts";
import { SimError } from "../lib/errors.ts";
import { KeyedMutex } from "../lib/mutex.ts";
import { EngineLife } from "./engine-life.ts";
import type { FileSystems } from "./file-systems.ts";
import { Mounter, type MountSettings, type Profile, type TakenDown } from "./mounter.ts";
import { checkVolumeName } from "./name.ts";
import { type CreateDefaults, parseCreateOptions } from "./options.ts";
import { Patrol } from "./patrol.ts";
import type { VolumeService, VolumeView } from "./service.ts";
import { total, type UseRecord, Uses } from "./uses.ts";
import { volumeView } from "./view.ts";

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

/** What the service works on. */
export interface VolumesOptions {
  readonly driver: StorageDriver;
  readonly fileSystems: FileSystems;
  readonly config: VolumesConfig;
  /** Default: safe. */
  readonly profile?: Profile;
  /** The records of uses lie below it, in `attachments`. */
  readonly stateDir: string;
  readonly log: (message: string) => void;
  /** Milliseconds now; for tests. */
  readonly now?: () => number;
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
  readonly #mutex = new KeyedMutex();
  /** Volumes whose mount this process has seen; what path, get and list answer from. */
  readonly #mounted = new Set<string>();
  /** Volumes without uses that somebody still holds. */
  readonly #lingering = new Patrol((name) => this.#alone(name, () => this.#retryRelease(name)));
  /** Volumes that may have uses of an engine's former life only. */
  readonly #suspects = new Patrol((name) => this.#alone(name, () => this.#dropStale(name)));
  readonly #engine: EngineLife;

  constructor({ driver, fileSystems, config, profile = "safe", stateDir, log, now = Date.now }: VolumesOptions) {
    this.#driver = driver;
    this.#config = config;
    this.#log = log;
    this.#engine = new EngineLife(now);
    this.#uses = new Uses(path.join(stateDir, "attachments"));
    this.#mounter = new Mounter(driver, fileSystems, config, profile);
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
      const record = this.#uses.get(name, volume.id);
      if (record !== undefined && this.#certain(name, record)) {
        throw new SimError("in_use", `volume ${name} is in use at ${this.#mounter.mountpoint(name)}: unmount it first`);
      }
      const { gone, heldBy } = await this.#takeDown(volume, { force: false });
      if (!gone) throw new SimError("in_use", `volume ${name} is in use by ${someone(heldBy)}: stop that first`);
      await this.#driver.remove(volume.id);
      await this.#uses.delete(name);
    });
  }

  async mount(name: string, id: string, signal?: AbortSignal): Promise<string> {
    checkVolumeName(name);
    return this.#mutex.run(name, async () => {
      if (signal?.aborted) throw cancelled(name);
      const found = this.#driver.find(name);
      const volume = found ?? (await this.#createImplicitly(name));
      try {
        await this.#use(volume, id, signal);
      } catch (error) {
        if (found === undefined) await this.#undoCreate(volume);
        throw error;
      }
      return this.#mounter.mountpoint(name);
    });
  }

  async unmount(name: string, id: string): Promise<void> {
    await this.#mutex.run(name, async () => {
      const volume = this.#driver.find(name);
      if (volume !== undefined) await this.#giveBack(volume, id);
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
    const views = this.#driver.list().map((volume) => this.#view(volume));
    return views.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async reconcile(): Promise<void> {
    await Promise.all([...this.#known()].map((name) => this.#alone(name, () => this.#reconcile(name))));
  }

  /**
   * An engine has introduced itself (`Plugin.Activate`): it may be a new one, and the uses of its former life are void where
   * no namespace holds the volume (docker-volume-plugin.md 8.7). Returns at once. Other clients introduce themselves too,
   * so a volume that may have been given to somebody a moment ago is looked at later.
   */
  engineRestarted(): void {
    this.#engine.restarted();
    for (const name of this.#mounted) this.#suspects.add(name);
  }

  /**
   * Takes down every volume that nobody holds, counted or not; answers the others.
   *
   * @param options.force take also what somebody holds out of this namespace; it is detached when its last user ends
   */
  async shutdown({ force }: { force: boolean }): Promise<Remaining[]> {
    this.close();
    const remaining = await Promise.all(
      [...this.#known()].map((name) =>
        this.#mutex.run(name, async (): Promise<Remaining[]> => {
          const volume = this.#driver.find(name);
          if (volume === undefined) return [];
          try {
            const { gone, heldBy } = await this.#takeDown(volume, { force });
            return gone ? [] : [{ name, heldBy }];
          } catch (error) {
            return [{ name, heldBy: [messageOf(error)] }];
          }
        }),
      ),
    );
    return remaining.flat();
  }

  /** Stops the background work; mounted volumes stay mounted. */
  close(): void {
    this.#lingering.stop();
    this.#suspects.stop();
  }

  async #createImplicitly(name: string): Promise<DriverVolume> {
    if (!this.#config.createImplicit) {
      throw new SimError("not_found", `volume ${name} does not exist, and implicit creation is off`);
    }
    return this.#driver.create({ name, ...parseCreateOptions({}, this.#config.defaults) });
  }

  async #undoCreate({ id, name }: DriverVolume): Promise<void> {
    try {
      await this.#driver.remove(id);
      await this.#uses.delete(name);
    } catch (error) {
      this.#log(`volume ${name}: created for a mount that failed, and not removed: ${messageOf(error)}`);
    }
  }

  /** Mounts if need be and counts one use, on disk. Nothing is counted when it throws. */
  async #use(volume: DriverVolume, id: string, signal: AbortSignal | undefined): Promise<void> {
    const { name, id: volumeId } = volume;
    const record = this.#uses.get(name, volumeId);
    const state = await this.#mounter.state(volume);
    const held = state.device !== undefined && (state.mounted || (await this.#mounter.busy(state.device)));
    // Uses of a device that nobody has any more are uses of nothing: the machine was restarted, or the device died.
    const before: UseRecord["uses"] = held ? (record?.uses ?? new Map()) : new Map();
    const device = state.mounted ? (state.device as string) : await this.#mountAnew(volume, before, signal);
    try {
      const uses = await this.#countAgain(before, id, device);
      await this.#uses.set(name, { volumeId, device, uses, formatting: false });
    } catch (error) {
      if (total(before) === 0) await this.#undoMount(volume);
      throw error;
    }
    this.#engine.gave(name);
    this.#mounted.add(name);
    this.#lingering.delete(name);
    if (!signal?.aborted) return;
    await this.#giveBack(volume, id);
    throw cancelled(name);
  }

  /**
   * The same id again is `docker cp` beside a running container, or comes after a use whose end was never told: then no
   * namespace has the volume (docker-volume-plugin.md 8.4). Callers without id are many, so that says nothing about them.
   */
  async #countAgain(uses: UseRecord["uses"], id: string, device: string): Promise<Map<string, number>> {
    const before = uses.get(id) ?? 0;
    const stale = id !== "" && before > 0 && (await this.#mounter.holders(device))?.length === 0;
    return new Map(uses).set(id, stale ? 1 : before + 1);
  }

  /** Answers the device. Undoes what it did before it throws. */
  async #mountAnew(volume: DriverVolume, uses: UseRecord["uses"], signal: AbortSignal | undefined): Promise<string> {
    const { name, id: volumeId } = volume;
    const { preempt, retryCount, retryWaitMs } = this.#config;
    for (let attempt = 0; ; attempt++) {
      try {
        const record = this.#uses.get(name, volumeId);
        const formatting = record?.formatting ?? false;
        const prepared = await this.#mounter.attach(volume, {
          preempt,
          formatting,
          remembered: record?.device,
          signal,
        });
        // What is about to be mounted and formatted must be known to whoever comes after a crash.
        await this.#uses.set(name, { volumeId, device: prepared.device, uses, formatting: prepared.format });
        await this.#mounter.mount(name, prepared, signal);
        return prepared.device;
      } catch (error) {
        await this.#undoMount(volume);
        if (attempt >= retryCount) throw error;
        this.#log(`volume ${name}: mounting it is tried again: ${messageOf(error)}`);
        await pause(retryWaitMs, undefined, { signal }).catch(() => undefined);
        if (signal?.aborted) throw cancelled(name);
      }
    }
  }

  async #undoMount(volume: DriverVolume): Promise<void> {
    try {
      await this.#takeDown(volume, { force: false });
    } catch (error) {
      this.#log(`volume ${volume.name}: undoing a failed mount: ${messageOf(error)}`);
    }
  }

  async #giveBack(volume: DriverVolume, id: string): Promise<void> {
    const record = this.#uses.get(volume.name, volume.id);
    if (record !== undefined && !this.#config.ignoreUsedCount) {
      const uses = new Map(record.uses);
      const count = uses.get(id) ?? 0;
      if (count === 0 && total(uses) > 0) {
        this.#log(`volume ${volume.name}: unmount of an unknown id "${id}": nothing to do`);
        return;
      }
      if (count > 1) uses.set(id, count - 1);
      else uses.delete(id);
      if (uses.size > 0) return this.#uses.set(volume.name, { ...record, uses });
    }
    await this.#release(volume);
  }

  /** Takes a volume down that has no use any more, now or when its last holder lets go. */
  async #release(volume: DriverVolume): Promise<void> {
    const { name, id: volumeId } = volume;
    const { gone, heldBy } = await this.#takeDown(volume, { force: false });
    if (gone) return;
    if (!this.#lingering.has(name)) this.#log(`volume ${name} stays mounted: it is held by ${someone(heldBy)}`);
    const { device, mounted } = await this.#mounter.state(volume);
    if (mounted) this.#mounted.add(name);
    else this.#mounted.delete(name);
    const formatting = this.#uses.find(name)?.formatting ?? false;
    await this.#uses.set(name, { volumeId, device: device ?? "", uses: new Map(), formatting });
    this.#lingering.add(name);
  }

  /** Unmounts and detaches whatever the counts say. What somebody holds stays as it is, with its uses. */
  async #takeDown(volume: DriverVolume, { force }: { force: boolean }): Promise<TakenDown> {
    const { name } = volume;
    const record = this.#uses.find(name);
    const result = await this.#mounter.takeDown(volume, record?.device, force);
    if (!result.gone) return result;
    this.#mounted.delete(name);
    this.#lingering.delete(name);
    this.#suspects.delete(name);
    // That formatting had begun must outlive the failure.
    if (record?.formatting) await this.#uses.set(name, { ...record, device: "", uses: new Map() });
    else await this.#uses.delete(name);
    return result;
  }

  /** Looks first, so that a volume with a visible holder is not unmounted and mounted again all the time. */
  async #retryRelease(name: string): Promise<void> {
    const volume = this.#driver.find(name);
    if (volume === undefined) this.#lingering.delete(name);
    else if (this.#lingering.has(name) && !(await this.#visiblyHeld(volume))) await this.#release(volume);
  }

  async #dropStale(name: string): Promise<void> {
    if (this.#engine.justGiven(name)) return;
    this.#suspects.delete(name);
    const volume = this.#driver.find(name);
    if (volume === undefined || this.#engine.givenInThisLife(name)) return;
    const record = this.#uses.get(name, volume.id);
    if (record === undefined || record.uses.has("") || (await this.#visiblyHeld(volume))) return;
    await this.#takeDown(volume, { force: false });
  }

  async #visiblyHeld(volume: DriverVolume): Promise<boolean> {
    const { device } = await this.#mounter.state(volume);
    return device !== undefined && ((await this.#mounter.holders(device)) ?? []).length > 0;
  }

  /**
   * Whether a recorded use is surely somebody's. Ids are containers', whose namespaces show (except in the moment before
   * they start): they may be left over from a lost Unmount. Who sends no id works in this namespace and cannot be seen.
   */
  #certain(name: string, { uses }: UseRecord): boolean {
    return uses.has("") || (uses.size > 0 && this.#engine.givenInThisLife(name) && this.#engine.justGiven(name));
  }

  async #reconcile(name: string): Promise<void> {
    const volume = this.#driver.find(name);
    if (volume === undefined) {
      await this.#mounter.clear(name, this.#uses.find(name)?.device);
      await this.#uses.delete(name);
      return;
    }
    const record = this.#uses.get(name, volume.id);
    const { device, mounted } = await this.#mounter.state(volume);
    const used = record !== undefined && record.uses.size > 0;
    if (!used || device === undefined || !(mounted || (await this.#mounter.busy(device)))) {
      // Nobody was told of that mount; or who used it is gone, with the machine's last run or with the device.
      return this.#release(volume);
    }
    if (!mounted) await this.#mounter.mountAgain(volume, device);
    this.#mounted.add(name);
  }

  /** Names of volumes that are or may be mounted. */
  #known(): Set<string> {
    const attached = this.#driver.list().filter((volume) => volume.attachedTo === this.#driver.host);
    return new Set([...this.#mounted, ...this.#uses.names(), ...attached.map((volume) => volume.name)]);
  }

  /** Background work on one volume: its failure is logged and hurts nobody else. */
  async #alone(name: string, task: () => Promise<void>): Promise<void> {
    await this.#mutex.run(name, task).catch((error) => this.#log(`volume ${name}: ${messageOf(error)}`));
  }

  #view(volume: DriverVolume): VolumeView {
    const mountpoint = this.#mounted.has(volume.name) ? this.#mounter.mountpoint(volume.name) : "";
    return volumeView(volume, this.#driver.name, mountpoint);
  }
}

const cancelled = (name: string) =>
  new SimError("cancelled", `mount of volume ${name}: the caller went away, so it was undone`);

const someone = (heldBy: readonly string[]) => heldBy.join(", ") || "another mount namespace";

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
