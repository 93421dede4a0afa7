import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { DriverVolume, StorageDriver } from "../drivers/driver.ts";
import { SimError } from "../lib/errors.ts";
import { EngineLife } from "./engine-life.ts";
import type { Mounter, TakenDown } from "./mounter.ts";
import { Patrol } from "./patrol.ts";
import { total, type UseRecord, Uses } from "./uses.ts";

/** How volumes are attached and given back (spec/rexray.md 2.3). */
export interface AttachmentSettings {
  /** Take a volume away from another host. */
  readonly preempt: boolean;
  /** How often a mount that fails is tried again, and after how long. */
  readonly retryCount: number;
  readonly retryWaitMs: number;
  /** Every Unmount is real, whoever else has the volume. */
  readonly ignoreUsedCount: boolean;
}

/** What the attachments work on. */
export interface AttachmentsOptions {
  readonly driver: StorageDriver;
  readonly mounter: Mounter;
  readonly settings: AttachmentSettings;
  readonly stateDir: string;
  readonly log: (message: string) => void;
  readonly now: () => number;
  /** Runs background work on a volume when no call is at it; must not throw. */
  readonly alone: (name: string, task: () => Promise<void>) => Promise<void>;
}

/**
 * Who uses which volume, and what follows for mounts and devices: the algorithm of docker-volume-plugin.md 8. Uses are
 * counted per mount id, persisted, checked against the kernel; a volume is detached only when no namespace has it any
 * more. The caller sees to it that one volume is worked on by one call at a time.
 */
export class Attachments {
  readonly #driver: StorageDriver;
  readonly #mounter: Mounter;
  readonly #settings: AttachmentSettings;
  readonly #log: (message: string) => void;
  readonly #engine: EngineLife;
  readonly #uses: Uses;
  /** Volumes whose mount this process has seen. */
  readonly #mounted = new Set<string>();
  /** Volumes without uses that somebody still holds. */
  readonly #lingering: Patrol;
  /** Volumes that may have uses of an engine's former life only. */
  readonly #suspects: Patrol;

  constructor({ driver, mounter, settings, stateDir, log, now, alone }: AttachmentsOptions) {
    this.#driver = driver;
    this.#mounter = mounter;
    this.#settings = settings;
    this.#log = log;
    this.#engine = new EngineLife(now);
    this.#uses = new Uses(path.join(stateDir, "attachments"));
    this.#lingering = new Patrol((name) => alone(name, () => this.#retryRelease(name)));
    this.#suspects = new Patrol((name) => alone(name, () => this.#dropStale(name)));
  }

  /** From memory: never waits. */
  isMounted(name: string): boolean {
    return this.#mounted.has(name);
  }

  /** Names of volumes that are or may be mounted. */
  names(): Set<string> {
    const attached = this.#driver.list().filter((volume) => volume.attachedTo === this.#driver.host);
    return new Set([...this.#mounted, ...this.#uses.names(), ...attached.map((volume) => volume.name)]);
  }

  /** Mounts if need be and counts one use, on disk. Nothing is counted when it throws. */
  async use(volume: DriverVolume, id: string, signal: AbortSignal | undefined): Promise<void> {
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
    await this.giveBack(volume, id);
    throw cancelled(name);
  }

  /** Gives back one use of the id; at the last one the volume is taken down. Surplus calls and unknown ids change nothing. */
  async giveBack(volume: DriverVolume, id: string): Promise<void> {
    const record = this.#uses.get(volume.name, volume.id);
    if (record !== undefined && !this.#settings.ignoreUsedCount) {
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

  /** Unmounts and detaches whatever the counts say. What somebody holds stays as it is, with its uses. */
  async takeDown(volume: DriverVolume, { force }: { force: boolean }): Promise<TakenDown> {
    const { name } = volume;
    const record = this.#uses.find(name);
    const result = await this.#mounter.takeDown(volume, record?.device, force);
    if (!result.gone) return result;
    this.#mounted.delete(name);
    this.#lingering.delete(name);
    this.#suspects.delete(name);
    // That formatting had begun must outlive the failure.
    if (record?.formatting && record.volumeId === volume.id)
      await this.#uses.set(name, { ...record, device: "", uses: new Map() });
    else await this.#uses.delete(name);
    return result;
  }

  /** Brings what is recorded of a volume and what the kernel has of it together. */
  async reconcile(name: string): Promise<void> {
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
    await this.#mounter.thaw(volume);
    this.#mounted.add(name);
  }

  /**
   * Whether a recorded use is surely somebody's. Ids are containers', whose namespaces show (except in the moment before
   * they start): they may be left over from a lost Unmount. Who sends no id works in this namespace and cannot be seen.
   */
  surelyUsed({ name, id }: DriverVolume): boolean {
    const uses = this.#uses.get(name, id)?.uses;
    if (uses === undefined || uses.size === 0) return false;
    return uses.has("") || (this.#engine.givenInThisLife(name) && this.#engine.justGiven(name));
  }

  /** Forgets a volume that is no more. */
  async forget(name: string): Promise<void> {
    await this.#uses.delete(name);
  }

  /** An engine may have begun a new life: uses of its former one are looked for, in the background. */
  engineRestarted(): void {
    this.#engine.restarted();
    for (const name of this.#mounted) this.#suspects.add(name);
  }

  /** Stops the background work. */
  close(): void {
    this.#lingering.stop();
    this.#suspects.stop();
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
    const { preempt, retryCount, retryWaitMs } = this.#settings;
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
      await this.takeDown(volume, { force: false });
    } catch (error) {
      this.#log(`volume ${volume.name}: undoing a failed mount: ${messageOf(error)}`);
    }
  }

  /** Takes a volume down that has no use any more, now or when its last holder lets go. */
  async #release(volume: DriverVolume): Promise<void> {
    const { name, id: volumeId } = volume;
    const { gone, heldBy } = await this.takeDown(volume, { force: false });
    if (gone) return;
    if (!this.#lingering.has(name)) this.#log(`volume ${name} stays mounted: it is held by ${someone(heldBy)}`);
    const { device, mounted } = await this.#mounter.state(volume);
    if (mounted) this.#mounted.add(name);
    else this.#mounted.delete(name);
    const formatting = this.#uses.get(name, volumeId)?.formatting ?? false;
    await this.#uses.set(name, { volumeId, device: device ?? "", uses: new Map(), formatting });
    this.#lingering.add(name);
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
    await this.takeDown(volume, { force: false });
  }

  async #visiblyHeld(volume: DriverVolume): Promise<boolean> {
    const { device } = await this.#mounter.state(volume);
    return device !== undefined && ((await this.#mounter.holders(device)) ?? []).length > 0;
  }
}

/** What a mount ends with whose caller went away. */
export const cancelled = (name: string) =>
  new SimError("cancelled", `mount of volume ${name}: the caller went away, so it was undone`);

/** Those who hold a volume, in words. */
export const someone = (heldBy: readonly string[]) => heldBy.join(", ") || "another mount namespace";

/** The message of anything thrown. */
export const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
