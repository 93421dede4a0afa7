import { createHash } from "node:crypto";
import { SimError } from "../lib/errors.ts";
import type { NameBook } from "../lib/name-book.ts";
import type { Cluster } from "../scaleio/cluster.ts";
import type { Id, VolumeRecord } from "../scaleio/model.ts";
import type {
  AttachedDevice,
  CreateRequest,
  DriverVolume,
  Quiesced,
  SnapshotRequest,
  StorageDriver,
} from "./driver.ts";

/** The embedded, simulated ScaleIO cluster as a storage driver (spec/rexray.md 9: how REX-Ray reports such volumes). */
export class ScaleioDriver implements StorageDriver {
  readonly name = "scaleio";
  readonly host: string;
  readonly #cluster: Cluster;
  /** Volume names to ids; the MDM's table is by id. Shared by the drivers of all hosts. */
  readonly #byName: Map<string, Id>;
  readonly #book: NameBook;

  /**
   * @param host name of this host among the SDCs
   * @param book is kept up to date: it has a name from before the volume exists until after it is gone
   */
  constructor(cluster: Cluster, host: string, book: NameBook, byName?: Map<string, Id>) {
    this.host = host;
    this.#cluster = cluster;
    this.#book = book;
    this.#byName = byName ?? new Map();
    if (byName === undefined) this.refresh();
  }

  /** The cluster's state is another one. */
  refresh(): void {
    this.#byName.clear();
    for (const { id, name } of this.#cluster.state.volumes.values()) this.#byName.set(name, id);
    // What one member says, which may be old, is no reason to forget a name.
    if (this.isCurrent) this.#book.replace([...this.#byName.keys()]);
  }

  get isCurrent(): boolean {
    return this.#cluster.isCurrent;
  }

  checkCurrent(): void {
    this.#cluster.checkCurrent();
  }

  /** The same cluster as another simulated host sees it. */
  on(host: string): ScaleioDriver {
    return new ScaleioDriver(this.#cluster, host, this.#book, this.#byName);
  }

  list(): DriverVolume[] {
    return [...this.#cluster.state.volumes.values()].map((volume) => this.#view(volume));
  }

  find(name: string): DriverVolume | undefined {
    const id = this.#byName.get(name);
    const volume = id === undefined ? undefined : this.#cluster.state.volumes.get(id);
    return volume === undefined ? undefined : this.#view(volume);
  }

  async create(request: CreateRequest): Promise<DriverVolume> {
    const { pool } = this.#cluster.state;
    if (request.type !== "" && request.type !== pool.name) {
      throw new SimError(
        "invalid_argument",
        `volume ${request.name}: there is no storage pool "${request.type}"; the pool is called ${pool.name}`,
      );
    }
    const [volume] = await this.#naming([request.name], async () => [await this.#cluster.createVolume(request)]);
    return volume as DriverVolume;
  }

  snapshot(requests: readonly SnapshotRequest[], quiesced: Quiesced): Promise<DriverVolume[]> {
    return this.#naming(
      requests.map(({ name }) => name),
      () => this.#cluster.snapshot(requests, quiesced),
    );
  }

  overwrite(id: Id, fromId: Id, quiesced: Quiesced): Promise<void> {
    return this.#cluster.overwrite(id, fromId, quiesced);
  }

  async resize(id: Id, sizeBytes: number): Promise<DriverVolume> {
    return this.#view(await this.#cluster.resize(id, sizeBytes));
  }

  async remove(id: Id): Promise<void> {
    const { name } = this.#cluster.volume(id);
    await this.#cluster.removeVolume(id);
    this.#byName.delete(name);
    this.#book.remove(name);
  }

  attach(id: Id, options: { preempt: boolean }): Promise<AttachedDevice> {
    return this.#cluster.attach(id, this.host, options);
  }

  device(id: Id, { anyHost } = { anyHost: false }): Promise<string | undefined> {
    return this.#cluster.device(id, anyHost ? undefined : this.host);
  }

  detach(id: Id): Promise<{ released: boolean }> {
    return this.#cluster.detach(id, this.host);
  }

  /** The names are reserved before the first wait: two creations of one name must not both find it free. */
  async #naming(names: readonly string[], create: () => Promise<VolumeRecord[]>): Promise<DriverVolume[]> {
    const taken = names.find((name, index) => this.#byName.has(name) || names.indexOf(name) !== index);
    if (taken !== undefined)
      throw new SimError("already_exists", `a volume called ${taken} exists already: choose another name`);
    for (const name of names) this.#byName.set(name, "");
    try {
      for (const name of names) this.#book.add(name);
      const volumes = await create();
      for (const { name, id } of volumes) this.#byName.set(name, id);
      return volumes.map((volume) => this.#view(volume));
    } catch (error) {
      for (const name of names) {
        this.#byName.delete(name);
        this.#book.remove(name);
      }
      throw error;
    }
  }

  #view(volume: VolumeRecord): DriverVolume {
    const { pool, volumes } = this.#cluster.state;
    const ancestor =
      volume.ancestorId === undefined ? {} : { snapshotOf: volumes.get(volume.ancestorId ?? "")?.name ?? "" };
    const old = this.isCurrent ? {} : { mdm: "no quorum: this may be old" };
    return {
      id: volume.id,
      name: volume.name,
      sizeBytes: volume.sizeBytes,
      createdAt: volume.createdAt,
      type: pool.name,
      availabilityZone: pool.protectionDomain,
      iops: volume.iops,
      attachedTo: volume.mappedTo,
      fsType: volume.fsType,
      fields: { scaleioId: volume.id, scaleioName: scaleioName(volume.name), ...ancestor, ...old },
    };
  }
}

/** ScaleIO names have 31 characters (spec/scaleio.md 1.2): a longer one keeps its beginning and gets a hash of the whole. */
const NAME_LENGTH = 31;

function scaleioName(name: string): string {
  if (name.length <= NAME_LENGTH) return name;
  const hash = createHash("sha256").update(name).digest("hex").slice(0, 10);
  return `${name.slice(0, NAME_LENGTH - 11)}-${hash}`;
}
