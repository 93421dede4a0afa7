import type { DriverVolume, StorageDriver } from "../drivers/driver.ts";
import { SimError } from "../lib/errors.ts";
import { KeyedMutex } from "../lib/mutex.ts";
import { type AttachmentSettings, Attachments, cancelled, messageOf, someone } from "./attachments.ts";
import type { FileSystems } from "./file-systems.ts";
import { Mounter, type MountSettings, type Profile } from "./mounter.ts";
import { checkVolumeName } from "./name.ts";
import { type CreateDefaults, type CreateOptions, parseCreateOptions } from "./options.ts";
import type { VolumeService, VolumeView } from "./service.ts";
import { volumeView } from "./view.ts";

/** The part of the configuration that the service reads (REX-Ray's `libstorage.integration.volume.operations`). */
export interface VolumesConfig extends MountSettings, AttachmentSettings {
  readonly createDisable: boolean;
  readonly createImplicit: boolean;
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

/** The volume service. Calls on one volume wait for each other, questions wait for nobody. */
export class Volumes implements VolumeService {
  readonly #driver: StorageDriver;
  readonly #config: VolumesConfig;
  /** Unknown options are taken silently, as upstream. */
  readonly #strict: boolean;
  readonly #log: (message: string) => void;
  readonly #mounter: Mounter;
  readonly #attachments: Attachments;
  readonly #mutex = new KeyedMutex();

  constructor({ driver, fileSystems, config, profile = "safe", stateDir, log, now = Date.now }: VolumesOptions) {
    this.#driver = driver;
    this.#config = config;
    this.#log = log;
    this.#strict = profile === "strict";
    this.#mounter = new Mounter(driver, fileSystems, config, profile);
    const alone = (name: string, task: () => Promise<void>) => this.#alone(name, task);
    this.#attachments = new Attachments({
      driver,
      mounter: this.#mounter,
      settings: config,
      stateDir,
      log,
      now,
      alone,
    });
  }

  async create(name: string, options: Readonly<Record<string, string>>): Promise<void> {
    checkVolumeName(name);
    if (this.#config.createDisable) return;
    const request = parseCreateOptions(options, this.#config.defaults, { strict: this.#strict });
    this.#driver.checkCurrent();
    await this.#mutex.run(name, async () => {
      if (this.#driver.find(name) !== undefined) return;
      if (request.source === undefined) await this.#driver.create({ name, ...request });
      else await this.#createFrom(request.source, name, request);
    });
  }

  async snapshot(requests: readonly { readonly volume: string; readonly name: string }[]): Promise<void> {
    if (requests.length === 0) throw new SimError("invalid_argument", "no volume is named: name one or more");
    for (const { name } of requests) checkVolumeName(name);
    this.#driver.checkCurrent();
    const names = [...new Set(requests.flatMap(({ volume, name }) => [volume, name]))].sort();
    const task = () => this.#snapshot(requests.map(({ volume, name }) => ({ source: this.#existing(volume), name })));
    await names.reduceRight<() => Promise<unknown>>((inner, name) => () => this.#mutex.run(name, inner), task)();
  }

  async overwrite(name: string, from: string): Promise<void> {
    this.#driver.checkCurrent();
    const task = async () => {
      const [volume, source] = [this.#existing(name), this.#existing(from)];
      await this.#driver.overwrite(volume.id, source.id, (step) => this.#mounter.quiesced([source], step));
    };
    const names = [...new Set([name, from])].sort();
    await names.reduceRight<() => Promise<unknown>>((inner, key) => () => this.#mutex.run(key, inner), task)();
  }

  async resize(name: string, sizeBytes: number): Promise<void> {
    this.#driver.checkCurrent();
    await this.#mutex.run(name, async () => {
      const volume = this.#existing(name);
      await this.#mounter.grow(await this.#driver.resize(volume.id, sizeBytes));
    });
  }

  async remove(name: string): Promise<void> {
    checkVolumeName(name);
    if (this.#config.removeDisable) return;
    this.#driver.checkCurrent();
    await this.#mutex.run(name, async () => {
      const volume = this.#driver.find(name);
      if (volume === undefined) return;
      if (this.#attachments.surelyUsed(volume)) {
        throw new SimError("in_use", `volume ${name} is in use at ${this.#mounter.mountpoint(name)}: unmount it first`);
      }
      const { gone, heldBy } = await this.#attachments.takeDown(volume, { force: false });
      if (!gone) throw new SimError("in_use", `volume ${name} is in use by ${someone(heldBy)}: stop that first`);
      await this.#driver.remove(volume.id);
      await this.#attachments.forget(name);
    });
  }

  async mount(name: string, id: string, signal?: AbortSignal): Promise<string> {
    checkVolumeName(name);
    this.#driver.checkCurrent();
    return this.#mutex.run(name, async () => {
      if (signal?.aborted) throw cancelled(name);
      const found = this.#driver.find(name);
      const volume = found ?? (await this.#createImplicitly(name));
      try {
        await this.#attachments.use(volume, id, signal);
      } catch (error) {
        if (found === undefined) await this.#undoCreate(volume);
        throw error;
      }
      return this.#mounter.mountpoint(name);
    });
  }

  async unmount(name: string, id: string): Promise<void> {
    this.#driver.checkCurrent();
    await this.#mutex.run(name, async () => {
      const volume = this.#driver.find(name);
      if (volume !== undefined) await this.#attachments.giveBack(volume, id);
    });
  }

  async path(name: string): Promise<string> {
    return this.#attachments.isMounted(name) ? this.#mounter.mountpoint(name) : "";
  }

  async get(name: string): Promise<VolumeView> {
    const volume = this.#driver.find(name);
    if (volume !== undefined) return this.#view(volume);
    // Docker forgets what is not found.
    this.#driver.checkCurrent();
    throw new SimError("not_found", "resource not found");
  }

  async list(): Promise<VolumeView[]> {
    const views = this.#driver.list().map((volume) => this.#view(volume));
    return views.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async reconcile(): Promise<void> {
    // What an old state does not know need not be nobody's.
    if (!this.#driver.isCurrent) return;
    await Promise.all(
      [...this.#attachments.names()].map((name) => this.#alone(name, () => this.#attachments.reconcile(name))),
    );
  }

  /**
   * An engine has introduced itself (`Plugin.Activate`): it may be a new one, and the uses of its former life are void where
   * no namespace holds the volume (docker-volume-plugin.md 8.7). Returns at once. Other clients introduce themselves too,
   * so a volume that may have been given to somebody a moment ago is looked at later.
   */
  engineRestarted(): void {
    this.#attachments.engineRestarted();
  }

  /** A volume was taken away from this host: what is left of it here goes, in the background. */
  preempted(name: string): void {
    void this.#alone(name, () => this.#attachments.reconcile(name));
  }

  /**
   * Takes down every volume that nobody holds, counted or not; answers the others.
   *
   * @param options.force take also what somebody holds out of this namespace; it is detached when its last user ends
   */
  async shutdown({ force }: { force: boolean }): Promise<Remaining[]> {
    this.close();
    const remaining = await Promise.all(
      [...this.#attachments.names()].map((name) =>
        this.#mutex.run(name, async (): Promise<Remaining[]> => {
          const volume = this.#driver.find(name);
          if (volume === undefined) return [];
          try {
            this.#driver.checkCurrent();
            const { gone, heldBy } = await this.#attachments.takeDown(volume, { force });
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
    this.#attachments.close();
  }

  #existing(name: string): DriverVolume {
    const volume = this.#driver.find(name);
    if (volume !== undefined) return volume;
    throw new SimError("not_found", `no volume is called "${name}": \`rexray-sim volume ls\` lists them`);
  }

  #snapshot(requests: readonly { source: DriverVolume; name: string; iops?: number }[]): Promise<DriverVolume[]> {
    return this.#driver.snapshot(
      requests.map(({ source, ...request }) => ({ volumeId: source.id, ...request })),
      (step) =>
        this.#mounter.quiesced(
          requests.map(({ source }) => source),
          step,
        ),
    );
  }

  /** A volume that begins as another one is now. The source's own lock is not needed: the driver sees to one volume at a time. */
  async #createFrom(from: string, name: string, request: CreateOptions): Promise<void> {
    const source = this.#driver.find(from) ?? this.#driver.list().find(({ id }) => id === from);
    if (source === undefined) {
      throw new SimError(
        "not_found",
        `volume ${name} cannot be made from "${from}": no volume or snapshot has that name or id`,
      );
    }
    if (request.sized && request.sizeBytes < source.sizeBytes) {
      throw new SimError(
        "invalid_argument",
        `volume ${name} cannot be made from ${from} with ${request.sizeBytes} bytes: the source has ${source.sizeBytes}; give no size, or a larger one`,
      );
    }
    if (request.type !== "" && request.type !== source.type) {
      throw new SimError(
        "invalid_argument",
        `volume ${name} cannot be made from ${from} in pool "${request.type}": what is made from a volume is in its pool, ${source.type}`,
      );
    }
    if (request.formatted && request.fsType !== source.fsType) {
      throw new SimError(
        "invalid_argument",
        `volume ${name} cannot be made from ${from} with ${request.fsType}: it begins with the file system of its source, ${source.fsType}; leave the option out`,
      );
    }
    const [volume] = await this.#snapshot([{ source, name, iops: request.iops }]);
    if (!request.sized || volume === undefined) return;
    try {
      await this.#driver.resize(volume.id, request.sizeBytes);
    } catch (error) {
      await this.#undoCreate(volume);
      throw error;
    }
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
      await this.#attachments.forget(name);
    } catch (error) {
      this.#log(`volume ${name}: created for a mount that failed, and not removed: ${messageOf(error)}`);
    }
  }

  /** Background work on one volume: its failure is logged and hurts nobody else. */
  async #alone(name: string, task: () => Promise<void>): Promise<void> {
    await this.#mutex.run(name, task).catch((error) => this.#log(`volume ${name}: ${messageOf(error)}`));
  }

  #view(volume: DriverVolume): VolumeView {
    const mountpoint = this.#attachments.isMounted(volume.name) ? this.#mounter.mountpoint(volume.name) : "";
    return volumeView(volume, this.#driver.name, mountpoint);
  }
}
