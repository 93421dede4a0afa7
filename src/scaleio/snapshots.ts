import { SimError } from "../lib/errors.ts";
import { syncDirectory } from "../lib/sync-directory.ts";
import { livePlaces } from "./capacity-report.ts";
import { idOf } from "./founding.ts";
import { allLayers, familyOf, layersOf, layerWith, ownLayer } from "./layers.ts";
import { isInDoubt, type Mdm } from "./mdm/mdm.ts";
import {
  CHUNK_BYTES,
  type Device,
  type Id,
  type LayerRef,
  type SystemState,
  type VolumeChange,
  type VolumeRecord,
} from "./model.ts";
import { createRecords, readBooks } from "./sdc/books.ts";
import { flatGroups, Layout } from "./sdc/layout.ts";
import { createVolumeFile } from "./sds/volume-files.ts";

/** A volume and all its snapshots (spec/scaleio.md 1.2). */
const LARGEST_FAMILY = 32;

export interface SnapshotRequest {
  readonly volumeId: Id;
  /** Name of the snapshot, which is a volume. */
  readonly name: string;
  /** Its own limit: those of the source are for who has that mapped. */
  readonly iops?: number;
}

/** Runs a task while nothing is written to the volumes; what was written before is on disk then. */
export type Quiesced = (task: () => Promise<void>) => Promise<void>;

export interface SnapshotsOptions {
  readonly stateDir: string;
  readonly mdm: Mdm;
  readonly nextNumber: () => number;
  /** Devices that can take new files. */
  readonly liveDevices: () => readonly Device[];
  /** Has the volume's engine, if there is one, go over to the volume's own layer; returns when it has. Throws unavailable. */
  readonly follow: (volume: VolumeRecord) => Promise<void>;
  /** Layers of this volume's family have changed: its engines and the repairer are to be told. `member` as it was then. */
  readonly changed: (member: VolumeRecord) => Promise<void>;
  /** Removes what is left of a layer. */
  readonly removeLayer: (id: Id) => Promise<void>;
}

/**
 * Snapshots, and what else is done with layers (model.ts). A volume goes over to a new layer in steps each of which may be
 * the last one: the MDM records the empty layer on top of the old one, which changes nothing that can be read; the engine
 * goes over to it while its file system is frozen, and that is the instant of the snapshot; only then, when the old layer
 * can never change again, does the MDM record the snapshots, all of one call at once. A death in between leaves a volume
 * with one layer more than it needs, and the repairer makes one of the two.
 */
export class Snapshots {
  readonly #options: SnapshotsOptions;
  /** Calls at work: until a snapshot is recorded, nobody seems to need the layer that it is of. */
  #atWork = 0;

  constructor(options: SnapshotsOptions) {
    this.#options = options;
  }

  /** Snapshots of all these volumes at one instant. Throws no_capacity, unavailable, no_quorum. */
  create(requests: readonly SnapshotRequest[], quiesced: Quiesced): Promise<VolumeRecord[]> {
    for (const { volumeId } of requests) {
      const source = this.#volume(volumeId);
      const family = familyOf(this.#state.volumes.values(), source).length;
      const more = requests.filter((other) => other.volumeId === volumeId).length;
      if (family + more > LARGEST_FAMILY) {
        throw new SimError(
          "no_capacity",
          `volume ${source.name} cannot have another snapshot: it and its snapshots are ${family} volumes, and ${LARGEST_FAMILY} is the limit; remove some`,
        );
      }
    }
    const sources = [...new Set(requests.map(({ volumeId }) => volumeId))];
    return this.#keepingLayers(sources, async () => {
      await this.#freeze(sources, quiesced);
      const consistencyGroupId = this.#id();
      const volumes = requests.map(({ volumeId, name, iops = 0 }): VolumeRecord => {
        // Snapshots are thin.
        const { layerId: _, thick: __, bytesPerSecond: ___, ...source } = this.#volume(volumeId);
        return {
          ...source,
          id: this.#id(),
          name,
          iops,
          createdAt: new Date().toISOString(),
          mappedTo: null,
          ancestorId: source.id,
          vtreeId: source.vtreeId ?? source.id,
          consistencyGroupId,
        };
      });
      await this.#withNewLayers(
        volumes.map((volume) => ({ layer: ownLayer(volume), volume, inheritedBytes: volume.sizeBytes })),
        () =>
          this.#options.mdm.commit({
            type: "snapshots-created",
            volumes,
            lastId: numberOf((volumes.at(-1) ?? { id: "" }).id),
          }),
      );
      return volumes;
    });
  }

  /**
   * A volume takes the content of another one of its family; it must not be mapped (the caller has seen to that). Throws
   * invalid_argument, unavailable, no_quorum.
   */
  overwrite(targetId: Id, sourceId: Id, quiesced: Quiesced): Promise<void> {
    const [target, source] = [this.#volume(targetId), this.#volume(sourceId)];
    if (targetId === sourceId)
      throw new SimError(
        "invalid_argument",
        `volume ${target.name} cannot be overwritten with itself: name another one`,
      );
    if ((target.vtreeId ?? target.id) !== (source.vtreeId ?? source.id)) {
      throw new SimError(
        "invalid_argument",
        `volume ${target.name} cannot be overwritten from ${source.name}: the two do not come from the same volume`,
      );
    }
    return this.#keepingLayers([sourceId], async () => {
      await this.#freeze([sourceId], quiesced);
      const { lower = [], sizeBytes } = this.#volume(sourceId);
      const before = layersOf(target);
      const layer = { id: this.#id(), sizeBytes: Math.max(sizeBytes, target.sizeBytes) };
      await this.#withNewLayers([{ layer, volume: target, inheritedBytes: sizeBytes }], () =>
        this.#change([{ id: targetId, to: { layerId: layer.id, sizeBytes: layer.sizeBytes, lower } }], layer.id),
      );
      await this.#options.changed(target);
      await this.sweep(before, target);
    });
  }

  /** A layer has taken over all it needs of these lower ones. */
  async absorbed(layerId: Id, lower: readonly Id[]): Promise<void> {
    if (this.#atWork > 0) return;
    const layer = layerWith(this.#state.volumes.values(), layerId);
    const going = layer?.lower.slice(0, lower.length) ?? [];
    // What the engine says may be old.
    if (layer === undefined || going.length === 0 || layer.absorb < going.length) return;
    if (going.some(({ id }, index) => id !== lower[index])) return;
    await this.#change(
      layer.volumes.map((volume) => ({
        id: volume.id,
        to: { lower: (volume.lower ?? []).filter(({ id }) => !lower.includes(id)) },
      })),
      layerId,
    );
    const member = layer.volumes[0] as VolumeRecord;
    await this.#options.changed(member);
    await this.sweep(going, member);
  }

  /** Removes those of the layers that no volume of a family needs any more. `member`: one that had them, as it was then. */
  async sweep(layers: readonly LayerRef[], member: VolumeRecord): Promise<void> {
    const { volumes } = this.#state;
    const family = familyOf(volumes.values(), member).flatMap(({ id }) => volumes.get(id) ?? []);
    const needed = allLayers(family);
    for (const { id } of layers) if (!needed.has(id)) await this.#options.removeLayer(id);
  }

  get #state(): SystemState {
    return this.#options.mdm.state;
  }

  /** Every volume gets a new layer on top of the one that took its writes, which never changes again when this returns. */
  async #freeze(ids: readonly Id[], quiesced: Quiesced): Promise<void> {
    const frozen = ids.map((id) => ({ volume: this.#volume(id), layer: ownLayer(this.#volume(id)) }));
    // Those that could not be settled when they were frozen: two engines would compare the copies of one that is shared.
    for (const { volume } of frozen) for (const layer of volume.lower ?? []) this.#checkSettled(volume, layer);
    const onTop = frozen.map(({ volume, layer }) => ({
      volume,
      layer: { id: this.#id(), sizeBytes: volume.sizeBytes },
      inheritedBytes: volume.sizeBytes,
      lower: [layer, ...(volume.lower ?? [])],
    }));
    const changes = onTop.map(({ volume, layer, lower }) => ({ id: volume.id, to: { layerId: layer.id, lower } }));
    await this.#withNewLayers(onTop, () => this.#change(changes, onTop.at(-1)?.layer.id ?? ""));
    await quiesced(async () => {
      await Promise.all(ids.map((id) => this.#options.follow(this.#volume(id))));
    });
    for (const { volume, layer } of frozen) this.#checkSettled(volume, layer);
  }

  /** What an engine had in flight must have been compared: readers of a frozen layer do not do that. */
  #checkSettled(volume: VolumeRecord, layer: LayerRef): void {
    const { unsyncedChunks } = readBooks(
      this.#options.stateDir,
      { id: layer.id, lower: [], absorb: 0 },
      this.#layout(volume, layer.sizeBytes),
      false,
    );
    if (unsyncedChunks === 0) return;
    throw new SimError(
      "unavailable",
      `volume ${volume.name} has ${unsyncedChunks} chunks whose copies have not been compared since a crash: try again when its health is ok`,
    );
  }

  /** Records and files first, the MDM's word last; without it they go again. */
  async #withNewLayers(
    layers: readonly { layer: LayerRef; volume: VolumeRecord; inheritedBytes: number }[],
    commit: () => Promise<void>,
  ): Promise<void> {
    const { stateDir, liveDevices, removeLayer } = this.#options;
    const devices = liveDevices();
    const checksum = this.#state.pool.checksum === true;
    try {
      for (const { layer, volume, inheritedBytes } of layers) {
        const layout = this.#layout(volume, layer.sizeBytes);
        const { mapVersion } = this.#state.pool;
        const hasFile = livePlaces(this.#state);
        createRecords(stateDir, {
          id: layer.id,
          layout,
          mapVersion,
          hasFile,
          inherited: inheritedBytes / CHUNK_BYTES,
        });
        for (const device of devices) createVolumeFile(device, layer.id, layer.sizeBytes, { checksum });
      }
      for (const device of devices) syncDirectory(device.path);
      await commit();
    } catch (error) {
      if (!isInDoubt(error)) for (const { layer } of layers) await removeLayer(layer.id);
      throw error;
    }
  }

  async #change(volumes: readonly { id: Id; to: VolumeChange }[], newestId: Id): Promise<void> {
    await this.#options.mdm.commit({ type: "volumes-changed", volumes, lastId: numberOf(newestId) });
  }

  /** While the task runs, no layer is taken for superfluous; afterwards those of these volumes may be. */
  async #keepingLayers<T>(ids: readonly Id[], task: () => Promise<T>): Promise<T> {
    this.#atWork++;
    try {
      return await task();
    } finally {
      this.#atWork--;
      for (const id of ids) {
        const volume = this.#state.volumes.get(id);
        if (volume !== undefined) await this.#options.changed(volume);
      }
    }
  }

  #layout({ firstGroup }: VolumeRecord, sizeBytes: number): Layout {
    return new Layout({ sizeBytes, firstGroup }, flatGroups(this.#state.pool.groups));
  }

  #volume(id: Id): VolumeRecord {
    const volume = this.#state.volumes.get(id);
    if (volume === undefined) throw new SimError("not_found", `no volume has the id ${id}`);
    return volume;
  }

  #id(): Id {
    return idOf(this.#state.systemId, this.#options.nextNumber());
  }
}

const numberOf = (id: Id) => Number.parseInt(id.slice(8), 16) || 0;
