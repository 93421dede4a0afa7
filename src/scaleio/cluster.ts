import path from "node:path";
import { SimError } from "../lib/errors.ts";
import { KeyedMutex } from "../lib/mutex.ts";
import type { ClusterApi, DeviceRequest, LimitRequest, SdsRequest } from "./cluster-api.ts";
import type { ClusterOptions } from "./cluster-options.ts";
import { Faults } from "./faults/faults.ts";
import { found, idOf } from "./founding.ts";
import { allLayers, familyOf, layersOf, ownLayer } from "./layers.ts";
import { leftovers } from "./leftovers.ts";
import { Mdm } from "./mdm/mdm.ts";
import { findSds, Membership } from "./membership.ts";
import {
  CHUNK_BYTES,
  type ClusterStatus,
  type Device,
  type Id,
  type Sds,
  type SystemEvent,
  type SystemState,
  type VolumeLayout,
  type VolumeRecord,
} from "./model.ts";
import { Mover } from "./mover.ts";
import { type CapacityRequest, checkCapacity, inUseBytes, isCritical, roundUpToGranularity } from "./pool/capacity.ts";
import { Repairer } from "./repairer.ts";
import { clusterStatus, type ReportSources, volumeLayout } from "./report.ts";
import { Scanner, type ScanResult } from "./scanner.ts";
import { createRecords, growRecords, removeRecords } from "./sdc/books.ts";
import { flatGroups, Layout } from "./sdc/layout.ts";
import { type Attached, Sdc } from "./sdc/sdc.ts";
import type { Session } from "./sdc/session.ts";
import { checkLabel } from "./sds/device-label.ts";
import { createVolumeFile, removeVolumeFile, syncDirectory, usedBytes } from "./sds/volume-files.ts";
import { sessionOf } from "./sessions.ts";
import { type Quiesced, type SnapshotRequest, Snapshots } from "./snapshots.ts";
import { EventLog } from "./watch/event-log.ts";
import { Watch } from "./watch/watch.ts";

export interface NewVolume {
  readonly name: string;
  readonly sizeBytes: number;
  readonly fsType: string;
  readonly iops: number;
  readonly thick?: boolean;
}

/**
 * The simulated ScaleIO system of one dev box: MDM, SDSs and this host's SDC behind one door. Decisions are made here and
 * recorded by the MDM; data flows elsewhere, in the engines.
 */
export class Cluster implements ClusterApi {
  readonly #options: ClusterOptions;
  readonly #mdm: Mdm;
  readonly #sdc: Sdc;
  readonly #repairer: Repairer;
  readonly #mover: Mover;
  readonly #membership: Membership;
  readonly #snapshots: Snapshots;
  readonly faults: Faults;
  readonly #events: EventLog;
  readonly #watch: Watch;
  readonly #scanner: Scanner;
  /** One at a time takes a volume up, down or apart. */
  readonly #locks = new KeyedMutex();
  /** Capacity that is promised but not yet recorded. */
  readonly #promised = new Set<CapacityRequest>();
  /** Numbers handed out but not yet recorded. */
  #lastId: number;

  private constructor(options: ClusterOptions, mdm: Mdm) {
    this.#options = options;
    this.#mdm = mdm;
    this.#sdc = new Sdc(options.runDir, options.binDir);
    this.#lastId = mdm.state.lastId;
    this.#events = new EventLog(options.stateDir);
    this.#watch = new Watch(() => clusterStatus(this.#sources(), { background: true }), this.#events, options.log);
    this.faults = new Faults({
      tell: (name, text) => this.#events.emit(name, "warning", text),
      stateDir: options.stateDir,
      state: () => this.state,
      changed: () => this.#pushSessions(),
      revive: (target) => this.#revive(target),
      mdmDown: (members) => mdm.takeDown(members),
      log: options.log,
    });
    this.#repairer = new Repairer({
      faults: this.faults.book,
      policies: { rebuild: options.config.rebuildPolicy, rebalance: options.config.rebalancePolicy },
      stateDir: options.stateDir,
      sdc: this.#sdc,
      mdm,
      deviceFailed: (name, reason) => this.#deviceFailed(name, reason),
      badBlocks: (id, text) =>
        this.#events.emit("FIXED_READ_ERROR", "warning", `volume ${this.state.volumes.get(id)?.name ?? id}: ${text}`),
      absorbed: (layerId, lower) => this.#absorbed(layerId, lower),
      move: () => this.#mover.round(),
      log: options.log,
    });
    const { stateDir, log } = options;
    this.#scanner = new Scanner({
      mdm,
      sdc: this.#sdc,
      repairer: this.#repairer,
      session: (layer) => sessionOf(this.state, stateDir, layer, this.faults.book),
      bytesPerSecond: options.config.scannerBytesPerSecond,
    });
    this.#membership = new Membership({
      stateDir,
      mdm,
      nextNumber: () => ++this.#lastId,
      inUseBytes: async () => inUseBytes(this.state, await this.#watch.thinBytes()),
      log,
    });
    this.#snapshots = new Snapshots({
      stateDir,
      mdm,
      nextNumber: () => ++this.#lastId,
      liveDevices: () => this.#liveDevices().map(({ device }) => device),
      follow: (volume) => this.#follow(volume),
      changed: () => this.#mapChanged(),
      removeLayer: (id) => this.#repairer.without(`layer-${id}`, async () => this.#removeFiles(id)),
    });
    this.#mover = new Mover({
      stateDir,
      mdm,
      sdc: this.#sdc,
      repairer: this.#repairer,
      mayRebalance: async () => !isCritical(this.state, await this.#watch.thinBytes()),
      changed: () => this.#mapChanged(),
      emptied: async (devices) => {
        await this.#membership.finishRemovals(devices);
        await this.#mapChanged();
      },
    });
  }

  /**
   * Opens the cluster of this state directory, or founds it as the configuration says. Devices that cannot be found are
   * reported failed, never made anew. Throws state_corrupt, state_newer, no_quorum (founding only), errno errors.
   */
  static async open(options: ClusterOptions): Promise<Cluster> {
    const mdm = await Mdm.open(
      [1, 2, 3].map((member) => path.join(options.stateDir, "mdm", String(member))),
      { log: options.log },
    );
    if (mdm.state.systemId === "") await found(mdm, options.config);
    await followChecksum(mdm, options);
    const cluster = new Cluster(options, mdm);
    await cluster.#checkDevices();
    // Engines first: none may go by a session that names what is removed then.
    await cluster.faults.apply();
    for (const id of leftovers(cluster.state, options)) cluster.#removeFiles(id);
    cluster.#repairer.start();
    cluster.#sdc.start();
    cluster.#watch.start();
    cluster.#scanner.start();
    return cluster;
  }

  /** Stops looking after the cluster. Attached volumes stay attached and served. */
  async close(): Promise<void> {
    await this.#watch.close();
    await this.#scanner.close();
    await this.#repairer.stop();
    await this.#sdc.close();
    await this.#mdm.close();
  }

  get state(): SystemState {
    return this.#mdm.state;
  }

  volume(id: Id): VolumeRecord {
    const volume = this.state.volumes.get(id);
    if (volume === undefined) throw new SimError("not_found", `no volume has the id ${id}`);
    return volume;
  }

  /**
   * Files and records first, the MDM's word last: a volume exists from that moment on, and what an interrupted creation
   * leaves is swept away at the next start. Throws no_capacity, no_quorum, unavailable.
   */
  async createVolume(request: NewVolume): Promise<VolumeRecord> {
    checkIops(request.iops);
    const sizeBytes = roundUpToGranularity(request.sizeBytes, this.#options.config.granularityBytes);
    const kind = request.thick === true ? { thick: sizeBytes } : { thin: sizeBytes };
    const promise = { ...kind, volumeBytes: sizeBytes, newVolumes: 1 };
    return this.#promising(promise, () => this.#createVolume({ ...request, sizeBytes }));
  }

  async #createVolume({ sizeBytes, ...request }: NewVolume): Promise<VolumeRecord> {
    const { stateDir } = this.#options;
    const devices = this.#liveDevices();
    if (new Set(devices.map(({ sds }) => sds.faultSet)).size < 3) {
      throw new SimError(
        "unavailable",
        `volume ${request.name}: fewer than three fault units of pool ${this.state.pool.name} are up, so that new data could not be kept twice: start the SDSs that are down`,
      );
    }
    const number = ++this.#lastId;
    const id = idOf(this.state.systemId, number);
    const checksum = this.state.pool.checksum === true;
    const firstGroup = (number * 37) % this.state.pool.groups.length;
    try {
      createRecords(stateDir, id, new Layout({ sizeBytes, firstGroup }, flatGroups(this.state.pool.groups)));
      for (const { device } of devices) createVolumeFile(device, id, sizeBytes, { checksum });
      for (const directory of [path.join(stateDir, "sdc"), ...devices.map(({ device }) => device.path)])
        syncDirectory(directory);
      const volume: VolumeRecord = {
        id,
        name: request.name,
        poolId: this.state.pool.id,
        sizeBytes,
        createdAt: new Date().toISOString(),
        fsType: request.fsType,
        iops: request.iops,
        ...(request.thick === true ? { thick: true } : {}),
        firstGroup,
        mappedTo: null,
      };
      await this.#mdm.commit({ type: "volume-created", volume });
      return volume;
    } catch (error) {
      this.#removeFiles(id);
      throw error;
    }
  }

  /** Throws in_use while it is mapped, no_quorum. */
  removeVolume(id: Id): Promise<void> {
    return this.#alone([id], () => this.#removeVolume(id));
  }

  /**
   * Snapshots of these volumes, mapped or not, at one instant; each is a volume that can be mapped and written.
   *
   * @param quiesced is called once, with the step during which nothing may be written
   */
  async snapshot(requests: readonly SnapshotRequest[], quiesced: Quiesced): Promise<VolumeRecord[]> {
    const sources = requests.map(({ volumeId }) => this.volume(volumeId));
    const thin = sources.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    // What a thick volume has written becomes the snapshot's, and all of its size is set aside anew.
    const thick = [...new Set(sources)].reduce(
      (sum, source) => sum + (source.thick === true ? this.#written(source) : 0),
      0,
    );
    return this.#promising({ thin, thick, newVolumes: requests.length }, () =>
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

  /**
   * Maps the volume to a host and makes it a block device. All hosts are simulated on this machine. Pre-emption fences the host
   * that has the volume: it cannot write any more when this returns. Throws in_use, no_quorum, state_corrupt, host_failed.
   */
  attach(id: Id, host: string, { preempt }: { preempt: boolean }): Promise<Attached> {
    return this.#alone([id], () => this.#attach(id, host, preempt));
  }

  /** The block device of a volume that is mapped to this host. */
  async device(id: Id, host: string): Promise<string | undefined> {
    return this.state.volumes.get(id)?.mappedTo === host ? this.#sdc.device(id) : undefined;
  }

  detach(id: Id, host: string): Promise<{ released: boolean }> {
    return this.#alone([id], () => this.#detach(id, host));
  }

  /** A host is lost: what it has mapped stays mapped to it and is not served any more. */
  async loseHost(host: string): Promise<void> {
    for (const { id, mappedTo } of [...this.state.volumes.values()])
      if (mappedTo === host) await this.#alone([id], () => this.#sdc.fence(id));
  }

  async stopSds(name: string): Promise<void> {
    const sds = findSds(this.state, name);
    if (sds.maintenance === true) await this.#mdm.commit({ type: "sds-maintenance", name, on: false });
    if (sds.state !== "stopped") await this.#mdm.commit({ type: "sds-state", name, state: "stopped", since: now() });
    await this.#pushSessions();
  }

  /** A node or device has lost a fault: a device that failed by it is well again. */
  async #revive(target: string): Promise<void> {
    const [sdsName, deviceName] = target.split("/");
    const sds = this.state.sds.find(({ name }) => name === sdsName);
    const failed = sds?.devices.filter(({ name, state }) => state === "failed" && (deviceName ?? name) === name) ?? [];
    if (sds === undefined || sds.state !== "up" || failed.length === 0) return;
    for (const device of failed) this.#checkLabel(sds, device);
    for (const { id } of failed) await this.#mdm.commit({ type: "device-state", id, state: "up", reason: "" });
    await this.#mapChanged();
  }

  async startSds(name: string): Promise<void> {
    const sds = findSds(this.state, name);
    for (const device of sds.devices) this.#checkLabel(sds, device);
    for (const device of sds.devices) {
      if (device.state !== "up")
        await this.#mdm.commit({ type: "device-state", id: device.id, state: "up", reason: "" });
    }
    if (sds.state !== "up") await this.#mdm.commit({ type: "sds-state", name, state: "up", since: now() });
    if (sds.maintenance === true) await this.#mdm.commit({ type: "sds-maintenance", name, on: false });
    await this.#mapChanged();
  }

  async maintainSds(name: string): Promise<void> {
    const sds = findSds(this.state, name);
    if (sds.maintenance === true && sds.state !== "up") return;
    const { health, reasons } = await this.status();
    if (health !== "ok") {
      throw new SimError(
        "unavailable",
        `${name} cannot go into maintenance while the health is ${health} (${reasons.join("; ")}): wait for the rebuild, or mend that first`,
      );
    }
    await this.#mdm.commit({ type: "sds-maintenance", name, on: true });
    await this.#mdm.commit({ type: "sds-state", name, state: "stopped", since: now() });
    await this.#pushSessions();
  }

  async addSds(request: SdsRequest): Promise<void> {
    await this.#membership.addSds(request);
    await this.#mapChanged();
  }

  async removeSds(name: string): Promise<void> {
    await this.#membership.removeSds(name);
    await this.#mapChanged();
  }

  async abortRemoval(name: string): Promise<void> {
    await this.#membership.abortRemoval(name);
    await this.#mapChanged();
  }

  async addDevice(sds: string, request: DeviceRequest): Promise<void> {
    await this.#membership.addDevice(sds, request);
    await this.#mapChanged();
  }

  async resizeDevice(sds: string, device: string, bytes: number): Promise<void> {
    await this.#membership.resizeDevice(sds, device, bytes);
    await this.#mapChanged();
  }

  async removeDevice(sds: string, device: string): Promise<void> {
    await this.#membership.removeDevice(sds, device);
    await this.#mapChanged();
  }

  /** Events after the one with this id; waits for the first one, at most so long. */
  events(after: number, waitMs: number): Promise<readonly SystemEvent[]> {
    return this.#events.next(after, waitMs);
  }

  status(): Promise<ClusterStatus> {
    return clusterStatus(this.#sources(), { background: false });
  }

  async layout(volumeName: string, { chunks }: { chunks: boolean }): Promise<VolumeLayout> {
    return volumeLayout(this.#sources(), this.#named(volumeName), chunks);
  }

  async limit(volumeName: string, { iops, bytesPerSecond }: LimitRequest): Promise<void> {
    const { id } = this.#named(volumeName);
    if (iops !== undefined) checkIops(iops);
    if (bytesPerSecond !== undefined && bytesPerSecond % CHUNK_BYTES !== 0) {
      throw new SimError(
        "invalid_argument",
        `a limit of ${bytesPerSecond} bytes a second is not a multiple of 1 MiB: give whole MB, or 0 for none`,
      );
    }
    const to = { ...(iops === undefined ? {} : { iops }), ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }) };
    await this.#alone([id], async () => {
      await this.#mdm.commit({ type: "volumes-changed", volumes: [{ id, to }], lastId: 0 });
      if ((await this.#sdc.device(id)) !== undefined) await this.#sdc.reload(this.#session(this.volume(id)));
    });
  }

  async scan(volumeName: string): Promise<ScanResult> {
    const volume = this.#named(volumeName);
    const result = await this.#scanner.scan(volume);
    this.#repairer.look(volume.id);
    if (result.fixed > 0)
      this.#events.emit(
        "SCANNER_COMPARE_ERROR",
        "warning",
        `a scan of volume ${volumeName} put ${result.fixed} blocks right`,
      );
    return result;
  }

  #named(volumeName: string): VolumeRecord {
    const volume = [...this.state.volumes.values()].find(({ name }) => name === volumeName);
    if (volume !== undefined) return volume;
    throw new SimError("not_found", `no volume is called "${volumeName}": \`rexray-sim volume ls\` lists them`);
  }

  async #removeVolume(id: Id): Promise<void> {
    const volume = this.#checkUnmapped(id, "removed");
    await this.#mdm.commit({ type: "volume-removed", id });
    this.#repairer.forget(id);
    await this.#snapshots.sweep(layersOf(volume), volume);
    if (volume.lower !== undefined) await this.#mapChanged();
  }

  async #resize(id: Id, bytes: number): Promise<VolumeRecord> {
    const { granularityBytes } = this.#options.config;
    const volume = this.volume(id);
    const sizeBytes = roundUpToGranularity(bytes, granularityBytes);
    if (sizeBytes === volume.sizeBytes) return volume;
    if (sizeBytes < volume.sizeBytes) {
      throw new SimError(
        "invalid_argument",
        `volume ${volume.name} cannot become smaller: it has ${volume.sizeBytes} bytes, and volumes only grow`,
      );
    }
    const more = sizeBytes - volume.sizeBytes;
    const promise = { ...(volume.thick === true ? { thick: more } : { thin: more }), volumeBytes: sizeBytes };
    await this.#promising(promise, () => this.#grow(volume, sizeBytes));
    return this.volume(id);
  }

  async #grow(volume: VolumeRecord, sizeBytes: number): Promise<void> {
    const { id } = volume;
    // The records first: a volume must not have chunks of which they say nothing.
    const larger = { ...volume, sizeBytes };
    if ((await this.#sdc.device(id)) !== undefined) await this.#sdc.reload(this.#session(larger));
    else {
      await this.#sdc.detach(id);
      const layout = new Layout(larger, flatGroups(this.state.pool.groups));
      growRecords(this.#options.stateDir, ownLayer(volume), layout);
    }
    await this.#mdm.commit({ type: "volumes-changed", volumes: [{ id, to: { sizeBytes } }], lastId: 0 });
    await this.#sdc.grow(id, sizeBytes);
  }

  /** For a snapshot: the volume's engine goes over to its new layer. */
  async #follow(volume: VolumeRecord): Promise<void> {
    if ((await this.#sdc.device(volume.id)) === undefined) {
      await this.#sdc.detach(volume.id);
      return;
    }
    const { layerId } = await this.#sdc.reload(this.#session(volume));
    if (layerId !== ownLayer(volume).id)
      throw new SimError(
        "unavailable",
        `the engine of volume ${volume.name} did not go over to the new layer: try again`,
      );
  }

  async #absorbed(layerId: Id, lower: readonly Id[]): Promise<void> {
    const layer = allLayers(this.state.volumes.values()).get(layerId);
    const ids = layer?.volumes.map(({ id }) => id) ?? [];
    await this.#locked(ids, () => this.#snapshots.absorbed(layerId, lower));
  }

  /** Nobody else takes these volumes up, down or apart meanwhile, nor repairs them. */
  #alone<T>(ids: readonly Id[], task: () => Promise<T>): Promise<T> {
    const held = ids.reduceRight<() => Promise<T>>((inner, id) => () => this.#repairer.without(id, inner), task);
    return this.#locked(ids, held);
  }

  /** In order of the ids, so that two calls never wait for each other. */
  #locked<T>(ids: readonly Id[], task: () => Promise<T>): Promise<T> {
    const inOrder = [...new Set(ids)].sort();
    return inOrder.reduceRight<() => Promise<T>>((inner, id) => () => this.#locks.run(id, inner), task)();
  }

  /** Does what takes so much capacity, if it is there; nobody else is promised it meanwhile. Throws no_capacity. */
  async #promising<T>(request: CapacityRequest, task: () => Promise<T>): Promise<T> {
    const thinBytes = await this.#watch.thinBytes();
    checkCapacity(this.state, thinBytes, this.#options.config.granularityBytes, request, this.#promised);
    this.#promised.add(request);
    try {
      return await task();
    } finally {
      this.#promised.delete(request);
    }
  }

  /** Net bytes that a volume has really written since its last snapshot. */
  #written(volume: VolumeRecord): number {
    const { id } = ownLayer(volume);
    return this.state.sds.flatMap(({ devices }) => devices).reduce((sum, device) => sum + usedBytes(device, id), 0) / 2;
  }

  #checkUnmapped(id: Id, what: string): VolumeRecord {
    const volume = this.volume(id);
    if (volume.mappedTo === null) return volume;
    throw new SimError(
      "in_use",
      `volume ${volume.name} cannot be ${what}: it is mapped to ${volume.mappedTo}; unmount it there first`,
    );
  }

  async #attach(id: Id, host: string, preempt: boolean): Promise<Attached> {
    const volume = this.volume(id);
    const { mappedTo } = volume;
    if (mappedTo !== null && mappedTo !== host && !preempt) {
      throw new SimError(
        "in_use",
        `volume ${volume.name} is mapped to host ${mappedTo}: unmount it there, or allow pre-emption`,
      );
    }
    if (mappedTo !== null && mappedTo !== host) await this.#sdc.fence(id);
    if (mappedTo !== host) await this.#mdm.commit({ type: "volume-mapped", id, to: host });
    if (mappedTo !== null && mappedTo !== host) this.#options.preempted?.(mappedTo, volume.name);
    try {
      const session = this.#session(volume);
      const attached = await this.#sdc.attach(session);
      // A node may have gone or come while the engine started, when it could not be told.
      // and a snapshot may have been removed.
      const now = this.#session(this.volume(id));
      const same = now.mapVersion === session.mapVersion && now.absorb === session.absorb;
      if (!same) await this.#sdc.reload(now);
      return attached;
    } catch (error) {
      await this.#detach(id, host).catch((late) => this.#options.log(`volume ${volume.name}: ${late}`));
      throw error;
    }
  }

  async #detach(id: Id, host: string): Promise<{ released: boolean }> {
    const mappedTo = this.state.volumes.get(id)?.mappedTo ?? null;
    // Somebody else has it now: there is nothing of this host's left to take away.
    if (mappedTo !== null && mappedTo !== host) return { released: true };
    const result = await this.#sdc.detach(id);
    if (!result.released) return result;
    this.#repairer.look(id);
    if (mappedTo === host) await this.#mdm.commit({ type: "volume-mapped", id, to: null });
    return result;
  }

  #sources(): ReportSources {
    const { stateDir, config } = this.#options;
    return {
      mdm: this.#mdm,
      sdc: this.#sdc,
      repairer: this.#repairer,
      stateDir,
      granularityBytes: config.granularityBytes,
      secondsLeft: (kind, bytes) => this.#watch.secondsLeft(kind, bytes),
      scans: () => this.#scanner.progress(),
    };
  }

  #session(volume: VolumeRecord): Session {
    const layers = allLayers(familyOf(this.state.volumes.values(), volume));
    const own = layers.get(ownLayer(volume).id);
    if (own === undefined) throw new Error(`volume ${volume.id} is not in its own family`);
    return sessionOf(this.state, this.#options.stateDir, { ...own, sizeBytes: volume.sizeBytes }, this.faults.book);
  }

  async #mapChanged(): Promise<void> {
    await this.#pushSessions();
    this.#repairer.lookAtAll();
  }

  /** Tells every attached volume's engine how things stand. One that does not answer learns it when it is run again. */
  async #pushSessions(): Promise<void> {
    this.#watch.look();
    this.#repairer.changed();
    const attached = this.#sdc.known().flatMap((id) => this.state.volumes.get(id) ?? []);
    await Promise.all(
      attached.map(async (volume) => {
        if (this.#repairer.repairing(volume.id) || (await this.#sdc.device(volume.id)) === undefined) return;
        await this.#sdc
          .reload(this.#session(volume))
          .catch((error) => this.#options.log(`volume ${volume.name}: ${error}`));
      }),
    );
  }

  async #deviceFailed(name: string, reason: string): Promise<void> {
    const found = this.state.sds
      .flatMap((sds) => sds.devices.map((device) => ({ sds, device })))
      .find(({ sds, device }) => `${sds.name}/${device.name}` === name);
    if (found === undefined || found.device.state !== "up" || found.sds.state !== "up") return;
    this.#options.log(`device ${name} failed: ${reason}; mend it, then \`rexray-sim sds start ${found.sds.name}\``);
    await this.#mdm.commit({ type: "device-state", id: found.device.id, state: "failed", reason });
    await this.#pushSessions();
  }

  #checkLabel(sds: Sds, device: Device): void {
    checkLabel(device.path, { systemId: this.state.systemId, sdsName: sds.name, deviceId: device.id });
  }

  /** At start: a device without its label is out; one that is well again comes back. */
  async #checkDevices(): Promise<void> {
    for (const sds of this.state.sds) {
      for (const device of sds.devices) {
        let reason = "";
        try {
          this.#checkLabel(sds, device);
        } catch (error) {
          reason = error instanceof Error ? error.message : String(error);
        }
        const state = reason === "" ? "up" : "failed";
        if (device.state === state) continue;
        if (reason !== "") this.#options.log(`device ${sds.name}/${device.name}: ${reason}`);
        await this.#mdm
          .commit({ type: "device-state", id: device.id, state, reason })
          .catch((error) => this.#options.log(`device ${sds.name}/${device.name}: ${error}`));
      }
    }
  }

  #liveDevices(): { sds: Sds; device: Device }[] {
    return this.state.sds
      .filter((sds) => sds.state === "up")
      .flatMap((sds) => sds.devices.filter((device) => device.state === "up").map((device) => ({ sds, device })));
  }

  #removeFiles(id: Id): void {
    for (const sds of this.state.sds) for (const device of sds.devices) removeVolumeFile(device, id);
    removeRecords(this.#options.stateDir, id);
  }
}

/** Volumes are made with checksums or without: a pool changes that only while it has none. */
async function followChecksum(mdm: Mdm, { config, log }: ClusterOptions): Promise<void> {
  const { pool, volumes } = mdm.state;
  if ((pool.checksum === true) === config.checksum) return;
  if (volumes.size === 0) await mdm.commit({ type: "pool-checksum", on: config.checksum });
  else
    log(
      `simulator.checksum is ${config.checksum} and pool ${pool.name} stays as it was made: remove its volumes to change that`,
    );
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

const now = () => new Date().toISOString();
