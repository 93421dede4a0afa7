import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { asSimError, SimError } from "../lib/errors.ts";
import type { ClusterApi, DeviceRequest, LimitRequest, SdsRequest } from "./cluster-api.ts";
import type { ClusterOptions } from "./cluster-options.ts";
import { DeviceHealth } from "./device-health.ts";
import { Engines } from "./engines.ts";
import { Faults } from "./faults/faults.ts";
import { followChecksum, found } from "./founding.ts";
import { KeepAlive } from "./keep-alive.ts";
import { leftovers } from "./leftovers.ts";
import { Mappings } from "./mappings.ts";
import { Mdm } from "./mdm/mdm.ts";
import { Membership } from "./membership.ts";
import type { ClusterStatus, Id, SystemEvent, SystemState, VolumeLayout, VolumeRecord } from "./model.ts";
import { Mover } from "./mover.ts";
import { Nodes } from "./nodes.ts";
import { Placements } from "./placements.ts";
import { inUseBytes, isCritical } from "./pool/capacity.ts";
import { Promises } from "./promises.ts";
import { RepairTurns } from "./repair-turns.ts";
import { Repairer } from "./repairer.ts";
import { clusterStatus, type ReportSources, volumeLayout } from "./report.ts";
import { Scanner, type ScanResult } from "./scanner.ts";
import { type Attached, Sdc } from "./sdc/sdc.ts";
import { thisHost } from "./sdc/sdc-host.ts";
import { sessionOf } from "./sessions.ts";
import type { Quiesced, SnapshotRequest } from "./snapshots.ts";
import { type NewVolume, VolumeLife } from "./volume-life.ts";
import { VolumeLocks } from "./volume-locks.ts";
import { EventLog } from "./watch/event-log.ts";
import { Watch } from "./watch/watch.ts";

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
  readonly #engines: Engines;
  readonly #health: DeviceHealth;
  readonly #keepAlive: KeepAlive;
  readonly #nodes: Nodes;
  readonly #life: VolumeLife;
  readonly faults: Faults;
  readonly #events: EventLog;
  readonly #watch: Watch;
  readonly #scanner: Scanner;
  readonly #turns = new RepairTurns();
  readonly #locks = new VolumeLocks(this.#turns);
  readonly #mappings: Mappings;
  readonly #placements: Placements;
  /** Numbers handed out but not yet recorded. */
  #lastId = 0;
  readonly #stop = new AbortController();
  #waiting: Promise<void> | undefined;
  /** Nobody outside acts by the MDM's word before the world here has been made to be as it says: numbers, files, and names that others keep. */
  #isReady = false;

  private constructor(options: ClusterOptions, mdm: Mdm) {
    this.#options = options;
    this.#mdm = mdm;
    this.#sdc = new Sdc(options.runDir, thisHost(options.binDir));
    this.#placements = new Placements(options.stateDir);
    this.#events = new EventLog(options.stateDir);
    this.#watch = new Watch(() => clusterStatus(this.#sources(), { background: true }), this.#events, options.log);
    this.faults = new Faults({
      tell: (name, text) => this.#events.emit(name, "warning", text),
      stateDir: options.stateDir,
      state: () => this.state,
      hosts: options.hosts,
      changed: () => this.#tell(),
      revive: async (target, removed) => {
        if (mdm.isCurrent) await this.#health.revive(target, removed);
      },
      stopSds: (name) => this.stopSds(name),
      startSds: (name) => this.startSds(name),
      mdmDown: (members) => mdm.takeDown(members),
      log: options.log,
    });
    this.#health = new DeviceHealth({
      stateDir: options.stateDir,
      mdm,
      faults: () => this.faults.book,
      changed: () => this.#mapChanged(),
      tell: (id, text) =>
        this.#events.emit("FIXED_READ_ERROR", "warning", `volume ${this.state.volumes.get(id)?.name ?? id}: ${text}`),
      log: options.log,
    });
    this.#keepAlive = new KeepAlive({
      state: () => this.state,
      probe: (sds, device) => this.#health.probe(sds, device),
      changed: (changes) => this.#health.heard(changes),
    });
    this.#repairer = new Repairer({
      faults: this.faults.book,
      policies: { rebuild: options.config.rebuildPolicy, rebalance: options.config.rebalancePolicy },
      stateDir: options.stateDir,
      sdc: this.#sdc,
      mdm,
      turns: this.#turns,
      deviceFailed: (failure, mapVersion) => this.#health.failed(failure, mapVersion),
      badBlocks: (id, status, attached) => this.#health.lied(id, status, attached),
      absorbed: (layerId, lower) => this.#life.absorbed(layerId, lower),
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
    const nextNumber = () => (this.#lastId = Math.max(this.#lastId, this.state.lastId) + 1);
    const [tell, changed] = [() => this.#tell(), () => this.#mapChanged()];
    const thinBytes = () => this.#watch.thinBytes();
    const membership = new Membership({
      ...{ stateDir, mdm, nextNumber, log },
      inUseBytes: async () => inUseBytes(this.state, await thinBytes()),
    });
    this.#engines = new Engines({
      ...{ stateDir, mdm, log, sdc: this.#sdc, turns: this.#turns },
      faults: () => this.faults.book,
    });
    this.#nodes = new Nodes({
      ...{ mdm, membership, tell, changed, health: this.#health },
      moved: () => this.#repairer.moved(),
      faults: () => this.faults.list(),
      status: () => this.status(),
    });
    const promises = new Promises({
      state: () => this.state,
      thinBytes,
      granularityBytes: options.config.granularityBytes,
    });
    this.#mappings = new Mappings({
      mdm,
      sdc: this.#sdc,
      locks: this.#locks,
      session: (volume) => this.#engines.session(volume),
      released: (id) => this.#repairer.look(id),
      preempted: (host, name) => options.preempted?.(host, name),
      log,
    });
    this.#life = new VolumeLife({
      ...{ stateDir, mdm, promises, nextNumber, granularityBytes: options.config.granularityBytes },
      ...{ sdc: this.#sdc, engines: this.#engines, locks: this.#locks, turns: this.#turns },
      ...{ repairer: this.#repairer, health: this.#health },
    });
    this.#mover = new Mover({
      stateDir,
      mdm,
      rebuildGraceMs: options.config.rebuildGraceMs,
      sdc: this.#sdc,
      repairer: this.#repairer,
      hasRoom: async () => !isCritical(this.state, await thinBytes()),
      changed,
      emptied: async (devices) => {
        await membership.finishRemovals(devices);
        await this.#mapChanged();
      },
    });
  }

  /**
   * Opens the cluster of this state directory, or founds it as the configuration says. Devices that cannot be found are
   * reported failed, never made anew. Without a quorum of the MDM it answers questions from what one member knows, and does
   * nothing else until there is one. Throws state_corrupt, state_newer, no_quorum (founding only), errno errors.
   */
  static async open(options: ClusterOptions): Promise<Cluster> {
    const mdm = await Mdm.open(
      [1, 2, 3].map((member) => path.join(options.stateDir, "mdm", String(member))),
      { log: options.log },
    );
    if (mdm.state.systemId === "") await found(mdm, options.config);
    const cluster = new Cluster(options, mdm);
    if (mdm.isCurrent) {
      await cluster.#begin();
      cluster.#isReady = true;
    } else cluster.#waiting = cluster.#waitForQuorum();
    cluster.#sdc.start();
    cluster.#watch.start();
    return cluster;
  }

  /** From now on the world is made to be as the MDM says. */
  async #begin(): Promise<void> {
    await followChecksum(this.#mdm, this.#options.config.checksum, this.#options.log);
    await this.#health.check();
    // Engines first: none may go by a session that names what is removed then.
    await this.#nodes.begin().catch((error) => this.#options.log(`maintenance: ${error}`));
    await this.faults.apply().catch((error) => this.#options.log(`faults: ${error}`));
    for (const id of leftovers(this.state, this.#options)) this.#life.removeFiles(id);
    this.#repairer.start();
    this.#scanner.start();
    this.#keepAlive.start();
  }

  /**
   * What one member says may be old: by an old map engines would read zeros and take good copies for stale ones, and files of
   * volumes would be taken for leftovers. Engines go on by the map they have meanwhile.
   */
  async #waitForQuorum(): Promise<void> {
    const { log } = this.#options;
    let told = "";
    while (!this.#mdm.isCurrent) {
      try {
        this.#mdm.checkCurrent();
      } catch (error) {
        const { message } = asSimError(error);
        if (message !== told) this.#events.emit("MDM_CLUSTER_LOST_CONNECTION", "critical", message);
        if (message !== told) log(message);
        told = message;
      }
      await pause(QUORUM_MS, undefined, { signal: this.#stop.signal }).catch(() => undefined);
      if (this.#stop.signal.aborted) return;
      await this.#mdm.repair().catch((error) => log(asSimError(error).message));
    }
    log("the MDM has a quorum again");
    await this.#begin().catch((error) => log(asSimError(error).message));
    this.#isReady = true;
    this.#options.resumed?.();
  }

  /** Stops looking after the cluster. Attached volumes stay attached and served. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#waiting;
    await this.#keepAlive.close();
    await this.#watch.close();
    await this.#scanner.close();
    await this.#repairer.stop();
    await this.#sdc.close();
    await this.#mdm.close();
  }

  get state(): SystemState {
    return this.#mdm.state;
  }

  /** Whether the state may be acted by: false while there has been no quorum of the MDM since the start. */
  get isCurrent(): boolean {
    return this.#isReady;
  }

  /** Throws no_quorum unless the state is current. */
  checkCurrent(): void {
    this.#mdm.checkCurrent();
    if (this.#isReady) return;
    throw new SimError(
      "no_quorum",
      "the MDM has a quorum again, and what was left here is being brought up to date: try again in a moment",
    );
  }

  volume(id: Id): VolumeRecord {
    return this.#life.volume(id);
  }

  /** See {@link VolumeLife}. */
  createVolume(request: NewVolume): Promise<VolumeRecord> {
    return this.#life.create(request);
  }

  removeVolume(id: Id): Promise<void> {
    return this.#life.remove(id);
  }

  snapshot(requests: readonly SnapshotRequest[], quiesced: Quiesced): Promise<VolumeRecord[]> {
    return this.#life.snapshot(requests, quiesced);
  }

  overwrite(targetId: Id, sourceId: Id, quiesced: Quiesced): Promise<void> {
    return this.#life.overwrite(targetId, sourceId, quiesced);
  }

  resize(id: Id, bytes: number): Promise<VolumeRecord> {
    return this.#life.resize(id, bytes);
  }

  /** See {@link Mappings}. */
  async attach(id: Id, host: string, options: { preempt: boolean }): Promise<Attached> {
    this.checkCurrent();
    return this.#mappings.attach(id, host, options);
  }

  device(id: Id, host: string | undefined): Promise<string | undefined> {
    return this.#mappings.device(id, host);
  }

  async detach(id: Id, host: string): Promise<{ released: boolean }> {
    this.checkCurrent();
    return this.#mappings.detach(id, host);
  }

  loseHost(host: string): Promise<void> {
    return this.#mappings.loseHost(host);
  }

  hostIsBack(host: string): void {
    this.#mappings.hostIsBack(host);
  }

  /** See {@link Nodes}. */
  stopSds(name: string): Promise<void> {
    return this.#nodes.stopSds(name);
  }

  startSds(name: string): Promise<void> {
    return this.#nodes.startSds(name);
  }

  maintainSds(name: string): Promise<void> {
    return this.#nodes.maintainSds(name);
  }

  addSds(request: SdsRequest): Promise<void> {
    return this.#nodes.addSds(request);
  }

  removeSds(name: string): Promise<void> {
    return this.#nodes.removeSds(name);
  }

  abortRemoval(name: string): Promise<void> {
    return this.#nodes.abortRemoval(name);
  }

  addDevice(sds: string, request: DeviceRequest): Promise<void> {
    return this.#nodes.addDevice(sds, request);
  }

  resizeDevice(sds: string, device: string, bytes: number): Promise<void> {
    return this.#nodes.resizeDevice(sds, device, bytes);
  }

  removeDevice(sds: string, device: string): Promise<void> {
    return this.#nodes.removeDevice(sds, device);
  }

  clearDevice(sds: string, device: string): Promise<void> {
    return this.#nodes.clearDevice(sds, device);
  }

  /** Events after the one with this id; waits for the first one, at most so long. */
  events(after: number, waitMs: number): Promise<readonly SystemEvent[]> {
    return this.#events.next(after, waitMs);
  }

  status(): Promise<ClusterStatus> {
    return clusterStatus(this.#sources(), { background: false });
  }

  async layout(volumeName: string, { chunks }: { chunks: boolean }): Promise<VolumeLayout> {
    return volumeLayout(this.#sources(), this.#life.named(volumeName), chunks);
  }

  limit(volumeName: string, limits: LimitRequest): Promise<void> {
    return this.#life.limit(volumeName, limits);
  }

  async scan(volumeName: string): Promise<ScanResult> {
    this.checkCurrent();
    const volume = this.#life.named(volumeName);
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

  #sources(): ReportSources {
    const { stateDir, config } = this.#options;
    return {
      mdm: this.#mdm,
      isCurrent: this.isCurrent,
      sdc: this.#sdc,
      repairer: this.#repairer,
      faults: this.faults.book,
      stateDir,
      placements: this.#placements,
      granularityBytes: config.granularityBytes,
      isSettled: () => this.#mover.isSettled,
      secondsLeft: (kind, bytes) => this.#watch.secondsLeft(kind, bytes),
      scans: () => this.#scanner.progress(),
      badBlocks: (device) => this.#health.badBlocks(device),
    };
  }

  async #mapChanged(): Promise<void> {
    await this.#tell();
    this.#repairer.lookAtAll();
  }

  async #tell(): Promise<void> {
    this.#watch.look();
    this.#repairer.changed();
    await this.#engines.tell(this.#sdc.known());
  }
}

/** How often a quorum is looked for while there is none. */
const QUORUM_MS = 1000;
