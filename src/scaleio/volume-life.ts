import { SimError } from "../lib/errors.ts";
import { syncDirectory } from "../lib/sync-directory.ts";
import { livePlaces } from "./capacity-report.ts";
import type { LimitRequest } from "./cluster-api.ts";
import type { DeviceHealth } from "./device-health.ts";
import type { Engines } from "./engines.ts";
import { idOf } from "./founding.ts";
import { familyOf, layersOf, layerWith, ownLayer } from "./layers.ts";
import { isInDoubt, type Mdm } from "./mdm/mdm.ts";
import { liveDevices } from "./membership.ts";
import { CHUNK_BYTES, type Id, type SystemState, type VolumeRecord } from "./model.ts";
import { roundUpToGranularity } from "./pool/capacity.ts";
import type { Promises } from "./promises.ts";
import type { RepairTurns } from "./repair-turns.ts";
import type { Repairer } from "./repairer.ts";
import { createRecords, growRecords, removeRecords } from "./sdc/books.ts";
import { flatGroups, Layout } from "./sdc/layout.ts";
import type { Sdc } from "./sdc/sdc.ts";
import { createVolumeFile, removeVolumeFile, usedBytes } from "./sds/volume-files.ts";
import { type Quiesced, type SnapshotRequest, Snapshots } from "./snapshots.ts";
import type { VolumeLocks } from "./volume-locks.ts";

export interface NewVolume {
  readonly name: string;
  readonly sizeBytes: number;
  readonly fsType: string;
  readonly iops: number;
  readonly thick?: boolean;
}

export interface VolumeLifeOptions {
  readonly stateDir: string;
  readonly granularityBytes: number;
  readonly mdm: Mdm;
  readonly sdc: Sdc;
  readonly engines: Engines;
  readonly promises: Promises;
  readonly locks: VolumeLocks;
  readonly turns: RepairTurns;
  readonly repairer: Pick<Repairer, "forget" | "changed" | "lookAtLayersOf">;
  readonly health: Pick<DeviceHealth, "forget">;
  /** A number for an id that nobody has. */
  readonly nextNumber: () => number;
}

/** How volumes come about, grow, are copied and go. */
export class VolumeLife {
  readonly #options: VolumeLifeOptions;
  readonly #snapshots: Snapshots;

  constructor(options: VolumeLifeOptions) {
    const { stateDir, mdm, turns, nextNumber } = options;
    this.#options = options;
    this.#snapshots = new Snapshots({
      stateDir,
      mdm,
      nextNumber,
      liveDevices: () => liveDevices(mdm.state).map(({ device }) => device),
      follow: (volume) => this.#follow(volume),
      changed: (member) => this.#layersChanged(member),
      removeLayer: (id) => turns.without(`layer-${id}`, async () => this.removeFiles(id)),
    });
  }

  /** Throws not_found. */
  volume(id: Id): VolumeRecord {
    const volume = this.#state.volumes.get(id);
    if (volume === undefined) throw new SimError("not_found", `no volume has the id ${id}`);
    return volume;
  }

  /** Throws not_found. */
  named(volumeName: string): VolumeRecord {
    const volume = [...this.#state.volumes.values()].find(({ name }) => name === volumeName);
    if (volume !== undefined) return volume;
    throw new SimError("not_found", `no volume is called "${volumeName}": \`rexray-sim volume ls\` lists them`);
  }

  /**
   * Files and records first, the MDM's word last: a volume exists from that moment on, and what an interrupted creation
   * leaves is swept away at the next start. Throws no_capacity, no_quorum, in_doubt, unavailable.
   */
  async create(request: NewVolume): Promise<VolumeRecord> {
    this.#options.mdm.checkCurrent();
    checkIops(request.iops);
    const sizeBytes = roundUpToGranularity(request.sizeBytes, this.#options.granularityBytes);
    const kind = request.thick === true ? { thick: sizeBytes } : { thin: sizeBytes };
    const promise = { ...kind, volumeBytes: sizeBytes, newVolumes: 1 };
    return this.#options.promises.during(promise, () => this.#create({ ...request, sizeBytes }));
  }

  async #create({ sizeBytes, ...request }: NewVolume): Promise<VolumeRecord> {
    const { stateDir, mdm, nextNumber } = this.#options;
    const devices = liveDevices(this.#state);
    if (new Set(devices.map(({ sds }) => sds.faultSet)).size < 3) {
      throw new SimError(
        "unavailable",
        `volume ${request.name}: fewer than three fault units of pool ${this.#state.pool.name} are up, so that new data could not be kept twice: start the SDSs that are down`,
      );
    }
    const number = nextNumber();
    const id = idOf(this.#state.systemId, number);
    const checksum = this.#state.pool.checksum === true;
    const firstGroup = (number * 37) % this.#state.pool.groups.length;
    try {
      const { groups, mapVersion } = this.#state.pool;
      const layout = new Layout({ sizeBytes, firstGroup }, flatGroups(groups));
      createRecords(stateDir, { id, layout, mapVersion, hasFile: livePlaces(this.#state) });
      for (const { device } of devices) createVolumeFile(device, id, sizeBytes, { checksum });
      for (const { device } of devices) syncDirectory(device.path);
      const volume: VolumeRecord = {
        id,
        name: request.name,
        poolId: this.#state.pool.id,
        sizeBytes,
        createdAt: new Date().toISOString(),
        fsType: request.fsType,
        iops: request.iops,
        ...(request.thick === true ? { thick: true } : {}),
        firstGroup,
        mappedTo: null,
      };
      await mdm.commit({ type: "volume-created", volume });
      return volume;
    } catch (error) {
      if (!isInDoubt(error)) this.removeFiles(id);
      throw error;
    }
  }

  /** Throws in_use while it is mapped, no_quorum. */
  remove(id: Id): Promise<void> {
    return this.#alone([id], () => this.#remove(id));
  }

  /**
   * Snapshots of these volumes, mapped or not, at one instant; each is a volume that can be mapped and written.
   *
   * @param quiesced is called once, with the step during which nothing may be written
   */
  async snapshot(requests: readonly SnapshotRequest[], quiesced: Quiesced): Promise<VolumeRecord[]> {
    const sources = requests.map(({ volumeId }) => this.volume(volumeId));
    for (const { iops } of requests) checkIops(iops ?? 0);
    const thin = sources.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    // What a thick volume has written becomes the snapshot's, and all of its size is set aside anew.
    const thick = [...new Set(sources)].reduce(
      (sum, source) => sum + (source.thick === true ? this.#written(source) : 0),
      0,
    );
    return this.#options.promises.during({ thin, thick, newVolumes: requests.length }, () =>
      this.#alone(
        sources.map(({ id }) => id),
        () => this.#snapshots.create(requests, quiesced),
      ),
    );
  }

  /** Gives a volume that is not mapped the content of another one of its family. Throws in_use, invalid_argument. */
  overwrite(targetId: Id, sourceId: Id, quiesced: Quiesced): Promise<void> {
    return this.#alone([targetId, sourceId], async () => {
      this.#checkUnmapped(targetId, "overwritten");
      await this.#snapshots.overwrite(targetId, sourceId, quiesced);
    });
  }

  /**
   * Makes a volume larger; its device grows with it if it has one. The size is rounded up. Throws invalid_argument for a
   * smaller size, no_capacity, unavailable, no_quorum.
   */
  resize(id: Id, bytes: number): Promise<VolumeRecord> {
    return this.#alone([id], () => this.#resize(id, bytes));
  }

  async limit(volumeName: string, { iops, bytesPerSecond }: LimitRequest): Promise<void> {
    const { id } = this.named(volumeName);
    if (iops !== undefined) checkIops(iops);
    if (bytesPerSecond !== undefined && bytesPerSecond % CHUNK_BYTES !== 0) {
      throw new SimError(
        "invalid_argument",
        `a limit of ${bytesPerSecond} bytes a second is not a multiple of 1 MiB: give whole MB, or 0 for none`,
      );
    }
    const to = { ...(iops === undefined ? {} : { iops }), ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }) };
    await this.#alone([id], async () => {
      await this.#options.mdm.commit({ type: "volumes-changed", volumes: [{ id, to }], lastId: 0 });
      if ((await this.#options.sdc.device(id)) !== undefined)
        await this.#options.sdc.reload(this.#options.engines.session(this.volume(id)));
    });
  }

  async #remove(id: Id): Promise<void> {
    const volume = this.#checkUnmapped(id, "removed");
    await this.#options.mdm.commit({ type: "volume-removed", id });
    this.#options.repairer.forget(id);
    await this.#options.health.forget(id);
    await this.#snapshots.sweep(layersOf(volume), volume);
    if (volume.lower !== undefined) await this.#layersChanged(volume);
  }

  async #resize(id: Id, bytes: number): Promise<VolumeRecord> {
    const { granularityBytes, promises } = this.#options;
    const volume = this.volume(id);
    const sizeBytes = roundUpToGranularity(bytes, granularityBytes);
    if (sizeBytes < volume.sizeBytes) {
      throw new SimError(
        "invalid_argument",
        `volume ${volume.name} cannot become smaller: it has ${volume.sizeBytes} bytes, and volumes only grow`,
      );
    }
    const more = sizeBytes - volume.sizeBytes;
    const promise = { ...(volume.thick === true ? { thick: more } : { thin: more }), volumeBytes: sizeBytes };
    await promises.during(promise, () => this.#grow(volume, sizeBytes));
    return this.volume(id);
  }

  async #grow(volume: VolumeRecord, sizeBytes: number): Promise<void> {
    const { stateDir, mdm, sdc, engines } = this.#options;
    const { id } = volume;
    const isAttached = (await sdc.device(id)) !== undefined;
    if (sizeBytes > volume.sizeBytes) {
      // The records first: a volume must not have chunks of which they say nothing.
      const larger = { ...volume, sizeBytes };
      if (isAttached) await sdc.reload(engines.session(larger));
      else {
        await sdc.detach(id);
        const layout = new Layout(larger, flatGroups(this.#state.pool.groups));
        growRecords(stateDir, ownLayer(volume), { layout, hasFile: livePlaces(this.#state) });
      }
      await mdm.commit({ type: "volumes-changed", volumes: [{ id, to: { sizeBytes } }], lastId: 0 });
    }
    if (!isAttached) return;
    // Whoever told the engine something meanwhile told it the former size, by which a new engine would serve it: from the
    // MDM's word on nobody does. The device comes last, so that it never has more than is served.
    await sdc.reload(engines.session(this.volume(id)));
    await sdc.grow(id, sizeBytes);
  }

  /** For a snapshot: the volume's engine goes over to its new layer. */
  async #follow(volume: VolumeRecord): Promise<void> {
    if ((await this.#options.sdc.device(volume.id)) === undefined) {
      await this.#options.sdc.detach(volume.id);
      return;
    }
    const { layerId } = await this.#options.sdc.reload(this.#options.engines.session(volume));
    if (layerId !== ownLayer(volume).id)
      throw new SimError(
        "unavailable",
        `the engine of volume ${volume.name} did not go over to the new layer: try again`,
      );
  }

  /** A layer needs nothing any more of these lower ones. */
  async absorbed(layerId: Id, lower: readonly Id[]): Promise<void> {
    // A snapshot that is made while this waits shares the layers too.
    const ids = () => layerWith(this.#state.volumes.values(), layerId)?.volumes.map(({ id }) => id) ?? [];
    await this.#options.locks.all(ids, () => this.#snapshots.absorbed(layerId, lower));
  }

  /** See SnapshotsOptions: nobody else has anything to do with it, however many volumes there are. */
  async #layersChanged(member: VolumeRecord): Promise<void> {
    const { repairer, engines } = this.#options;
    const { volumes } = this.#state;
    const family = familyOf(volumes.values(), member).flatMap(({ id }) => volumes.get(id) ?? []);
    repairer.changed();
    await engines.tell(family.map(({ id }) => id));
    repairer.lookAtLayersOf(family);
  }

  /** Whatever a layer has on devices within reach, and its records. */
  removeFiles(id: Id): void {
    for (const sds of this.#state.sds) for (const device of sds.devices) removeVolumeFile(device, id);
    removeRecords(this.#options.stateDir, id);
  }

  /** Net bytes that a volume has really written since its last snapshot. */
  #written(volume: VolumeRecord): number {
    const { id } = ownLayer(volume);
    return (
      this.#state.sds.flatMap(({ devices }) => devices).reduce((sum, device) => sum + usedBytes(device, id), 0) / 2
    );
  }

  get #state(): SystemState {
    return this.#options.mdm.state;
  }

  async #alone<T>(ids: readonly Id[], task: () => Promise<T>): Promise<T> {
    this.#options.mdm.checkCurrent();
    return this.#options.locks.alone(ids, task);
  }

  #checkUnmapped(id: Id, what: string): VolumeRecord {
    const volume = this.volume(id);
    if (volume.mappedTo === null) return volume;
    throw new SimError(
      "in_use",
      `volume ${volume.name} cannot be ${what}: it is mapped to ${volume.mappedTo}; unmount it there first`,
    );
  }
}

/** spec/scaleio.md 1.6. */
const LOWEST_IOPS = 11;

function checkIops(iops: number): void {
  if (iops === 0 || iops >= LOWEST_IOPS) return;
  throw new SimError(
    "invalid_argument",
    `a limit of ${iops} IOPS is too low: give ${LOWEST_IOPS} or more, or 0 for none`,
  );
}
